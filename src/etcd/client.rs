//! A client of one member: it queries what the member serves, and tries the calls an operator makes.

use super::connection::Connection;
use super::dialer::Dialer;
use super::endpoint::Endpoint;
use super::failure;
use super::flow_control::FlowControl;
use super::status::MemberStatus;
use super::wait::unless_interrupted;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, CompactionOptions, GetOptions};
use std::time::Duration;
use tokio::time::timeout;

/// The first possible key: etcd has no empty one.
const FIRST_KEY: &[u8] = &[0];

/// A connection to one member, for examining it.
pub struct Client {
    inner: etcd_client::Client,
    endpoint: Endpoint,
    limit: Duration,
    interrupt: Interrupt,
}

/// etcd's checksum of all keys and values at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// The checksum.
    pub hash: u32,
    /// The revision of the last compaction, on which the checksum depends; `None` where there was none.
    pub compacted: Option<i64>,
    /// The newest revision at that time.
    pub newest: i64,
}

/// A member, as the member list names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedMember {
    /// Its id.
    pub id: u64,
    /// Its name; empty before its first start.
    pub name: String,
    /// The URLs at which other members reach it.
    pub peer_urls: Vec<String>,
}

impl Client {
    /// Connects to the first endpoint of `connection`; every call is bounded by its command timeout. Needs a tokio runtime
    /// with I/O and time.
    ///
    /// # Errors
    /// Every error that keeps it from connecting.
    pub async fn connect(connection: &Connection, interrupt: &Interrupt) -> Result<Self> {
        let endpoint = Endpoint::parse_all(connection)?.swap_remove(0);
        let dialer = Dialer::new(connection)?;
        let prepared = dialer.prepare(endpoint.clone())?;
        let flow_control = FlowControl::open();
        let dialing = Box::pin(dialer.client(&prepared, &flow_control));
        let inner = unless_interrupted(interrupt, dialing).await??;
        Ok(Self { inner, endpoint, limit: connection.command_timeout, interrupt: interrupt.clone() })
    }

    /// The same client, its calls bounded by `limit`.
    #[must_use]
    pub fn bounded_by(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T> {
        unless_interrupted(&self.interrupt, timeout(self.limit, call))
            .await?
            .map_err(|_| failure::calling_too_long(&self.endpoint, what, self.limit))?
            .map_err(|error| failure::calling(&self.endpoint, what, error))
    }

    /// Makes a linearizable read, which a leader has to confirm: a member that answers it serves.
    ///
    /// # Errors
    /// The error that etcd answers instead, and every error of a failed call.
    pub async fn read(&self) -> Result<()> {
        let options = GetOptions::new().with_count_only();
        let mut client = self.inner.kv_client();
        self.call("read", client.get(FIRST_KEY, Some(options))).await.map(drop)
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut client = self.inner.kv_client();
        let answer = self.call("read", client.get(key, None)).await?;
        Ok(answer.kvs().first().map(|pair| pair.value().to_vec()))
    }

    /// The number of keys at `revision`.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn count(&self, revision: i64) -> Result<u64> {
        let options = GetOptions::new().with_all_keys().with_count_only().with_revision(revision);
        let mut client = self.inner.kv_client();
        let answer = self.call("count of keys", client.get(FIRST_KEY, Some(options))).await?;
        u64::try_from(answer.count()).map_err(|_| self.nonsense("count of keys"))
    }

    /// The status that the member reports.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn status(&self) -> Result<MemberStatus> {
        let mut client = self.inner.maintenance_client();
        let answer = self.call("status", client.status()).await?;
        MemberStatus::from_response(&answer).ok_or_else(|| self.nonsense("status"))
    }

    /// The checksum at `revision`.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn hash_kv(&self, revision: i64) -> Result<HashKv> {
        let mut client = self.inner.maintenance_client();
        let answer = self.call("HashKV", client.hash_kv(revision)).await?;
        // etcd sends -1 where nothing was compacted.
        let compacted = Some(answer.compact_version()).filter(|&revision| revision >= 0);
        let newest = answer.header().ok_or_else(|| self.nonsense("HashKV"))?.revision();
        Ok(HashKv { hash: answer.hash(), compacted, newest })
    }

    /// The ids of all leases, ascending; `None` where one answer cannot hold them.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn leases(&self) -> Result<Option<Vec<i64>>> {
        let mut client = self.inner.lease_client();
        let listing = unless_interrupted(&self.interrupt, timeout(self.limit, client.leases())).await?;
        match listing {
            Ok(Ok(answer)) => {
                let mut ids: Vec<i64> = answer.leases().iter().map(etcd_client::LeaseStatus::id).collect();
                ids.sort_unstable();
                Ok(Some(ids))
            }
            Ok(Err(error)) if failure::is_malformed_message(&error) => Ok(None),
            Ok(Err(error)) => Err(failure::calling(&self.endpoint, "list of leases", error)),
            Err(_) => Err(failure::calling_too_long(&self.endpoint, "list of leases", self.limit)),
        }
    }

    /// The number of users.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn users(&self) -> Result<u64> {
        let mut client = self.inner.auth_client();
        Ok(self.call("list of users", client.user_list()).await?.users().len() as u64)
    }

    /// The number of roles.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn roles(&self) -> Result<u64> {
        let mut client = self.inner.auth_client();
        Ok(self.call("list of roles", client.role_list()).await?.roles().len() as u64)
    }

    /// All members, in ascending order of their ids.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn members(&self) -> Result<Vec<ListedMember>> {
        let mut client = self.inner.cluster_client();
        let answer = self.call("list of members", client.member_list()).await?;
        let mut members: Vec<_> = answer
            .members()
            .iter()
            .map(|member| ListedMember {
                id: member.id(),
                name: member.name().to_owned(),
                peer_urls: member.peer_urls().to_vec(),
            })
            .collect();
        members.sort();
        Ok(members)
    }

    /// Puts `value` under `key` and returns the revision of the put.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn put(&self, key: &str, value: &str) -> Result<i64> {
        let mut client = self.inner.kv_client();
        let answer = self.call("put", client.put(key, value, None)).await?;
        let header = answer.header().ok_or_else(|| self.nonsense("put"))?;
        Ok(header.revision())
    }

    /// Deletes `key`; returns the revision of the deletion and the number of deleted keys.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn delete(&self, key: &str) -> Result<(i64, i64)> {
        let mut client = self.inner.kv_client();
        let answer = self.call("deletion", client.delete(key, None)).await?;
        let header = answer.header().ok_or_else(|| self.nonsense("deletion"))?;
        Ok((header.revision(), answer.deleted()))
    }

    /// Compacts up to `revision`, and waits until the compaction is done.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn compact(&self, revision: i64) -> Result<()> {
        let options = CompactionOptions::new().with_physical();
        let mut client = self.inner.kv_client();
        self.call("compaction", client.compact(revision, Some(options))).await.map(drop)
    }

    /// Defragments the member's database.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn defragment(&self) -> Result<()> {
        let mut client = self.inner.maintenance_client();
        self.call("defragmentation", client.defragment()).await.map(drop)
    }

    /// Disarms every raised alarm, and returns how many there were.
    ///
    /// # Errors
    /// The errors of [`Self::read`].
    pub async fn disarm(&self) -> Result<usize> {
        let mut client = self.inner.maintenance_client();
        let listing = client.alarm(AlarmAction::Get, AlarmType::None, None);
        let raised = self.call("list of alarms", listing).await?;
        for alarm in &raised.0.alarms {
            let Ok(kind) = AlarmType::try_from(alarm.alarm) else { continue };
            let mut options = AlarmOptions::new();
            options.with_member(alarm.member_id);
            self.call("disarming of an alarm", client.alarm(AlarmAction::Deactivate, kind, Some(options)))
                .await?;
        }
        Ok(raised.0.alarms.len())
    }

    fn nonsense(&self, what: &str) -> Error {
        Error::new(Kind::EtcdFault, format!("{} answered a {what} that makes no sense", self.endpoint.given))
            .naming(self.endpoint.subject())
    }
}
