//! What a database holds, as far as a restore needs to know.

use super::alarm::Alarm;
use super::bolt::Value;
use super::bolt::{Database, Walked, missing_bucket};
use super::kubernetes::{Census, KEY_SIZE_MAX, Kubernetes, Record, VALUE_BEGINNING};
use super::mvcc::{KeyValue, Revision};
use super::protobuf::{Fault, MessageSource};
use super::refusal::refusal;
use super::schema::{
    CLUSTER_BUCKET, CLUSTER_VERSION, DOWNGRADE, FINISHED_COMPACTION, KEY_BUCKET, META_BUCKET,
    SCHEDULED_COMPACTION, downgrade_target,
};
use super::startup;
use super::versions::{DataVersions, Release, VERSION_SIZE_MAX};
use crate::error::Result;
use crate::interrupt::Interrupt;

/// The most records that are counted for Kubernetes: 16 MiB.
const RECORDS_MAX: usize = 2 << 20;
/// The most alarms that are listed; further ones are only counted.
const ALARMS_MAX: usize = 10;

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseContents {
    /// The newest revision: that of the last write, or of a compaction if that is newer. 1 in an empty etcd.
    pub revision: i64,
    /// The revision of the last write; 0 where there is none.
    pub last_write: i64,
    /// Entries in the bucket `key`: every write that was not compacted away.
    pub entries: u64,
    /// Entries that are deletions.
    pub deletions: u64,
    /// The last compaction, done or requested.
    pub compacted: Option<i64>,
    /// The last compaction that was completed.
    pub compaction_finished: Option<i64>,
    /// Leases.
    pub leases: u64,
    /// Users of etcd's own authentication.
    pub users: u64,
    /// Roles of etcd's own authentication.
    pub roles: u64,
    /// Whether etcd's own authentication is on.
    pub auth_enabled: bool,
    /// The raised alarms: the first ten.
    pub alarms: Vec<Alarm>,
    /// The number of raised alarms.
    pub alarm_count: u64,
    /// The version that the members had agreed on, such as `3.5.0`.
    pub cluster_version: Option<String>,
    /// The version of the data itself, which etcd stores since 3.6.
    pub storage_version: Option<String>,
    /// The target version of a downgrade in progress.
    pub downgrade: Option<String>,
    /// What it holds of Kubernetes.
    pub kubernetes: Option<Kubernetes>,
    /// The raft index of the last change in it.
    pub consistent_index: Option<u64>,
    /// The result of the walk over bbolt's pages.
    pub pages: Option<Walked>,
}

impl DatabaseContents {
    /// Reads all of `database`, and checks every page of it, and every value that etcd needs to start.
    ///
    /// # Errors
    /// The errors of [`Database::walk`], and [`Kind::DatabaseDamaged`](crate::Kind::DatabaseDamaged) for keys and values
    /// that etcd could not have written and would not start on.
    pub fn read(database: &Database<'_>, interrupt: &Interrupt) -> Result<Self> {
        let mut contents = Self::default();
        let mut found = Found::default();
        let walked = database
            .walk(interrupt, &mut |bucket, key, value| contents.take(bucket, key, value, &mut found))?;
        let buckets = database.buckets(interrupt)?;
        for name in [KEY_BUCKET, META_BUCKET] {
            if !buckets.iter().any(|bucket| bucket.name == name) {
                return Err(missing_bucket(name));
            }
        }
        contents.compacted = found.scheduled.max(found.finished);
        contents.compaction_finished = found.finished;
        let last = found.last.map(|last| last.main);
        contents.last_write = last.unwrap_or(0);
        contents.revision = last.max(contents.compacted).unwrap_or(0).max(1);
        contents.kubernetes = found.kubernetes();
        contents.pages = Some(walked);
        Ok(contents)
    }

    /// The versions in it, which decide on the releases of etcd that start on it.
    #[must_use]
    pub fn versions(&self) -> DataVersions {
        let release = |version: &Option<String>| version.as_deref().and_then(Release::of);
        DataVersions {
            storage: release(&self.storage_version),
            cluster: release(&self.cluster_version),
            downgrade: release(&self.downgrade),
        }
    }

    /// The newest revision as etcd 3.4 counts it, where that is an older one: it ignores a requested but unfinished
    /// compaction above the last write, and never performs it (`restore` in `mvcc/kvstore.go`).
    #[must_use]
    pub fn revision_without_unfinished_compaction(&self) -> Option<i64> {
        let revision = self.last_write.max(self.compaction_finished.unwrap_or(0)).max(1);
        (revision < self.revision).then_some(revision)
    }

    /// The number of raised alarms that are not in [`Self::alarms`].
    #[must_use]
    pub fn unnamed_alarms(&self) -> u64 {
        self.alarm_count - self.alarms.len() as u64
    }

    fn take(&mut self, bucket: &[u8], key: &[u8], value: Value<'_>, found: &mut Found) -> Result<()> {
        if bucket == KEY_BUCKET {
            return match value {
                Value::Whole(bytes) => self.take_key(key, bytes, found),
                Value::Long(stretch) => self.take_key(key, stretch, found),
            };
        }
        startup::check(bucket, key, value)?;
        let short = value.whole().unwrap_or_default();
        match bucket {
            META_BUCKET => self.take_meta(key, short, found),
            b"lease" => self.leases += 1,
            b"authUsers" => self.users += 1,
            b"authRoles" => self.roles += 1,
            b"auth" if key == b"authEnabled" => self.auth_enabled = short == [1],
            b"alarm" => self.take_alarm(Alarm::parse(key).ok().flatten()),
            CLUSTER_BUCKET if key == CLUSTER_VERSION => self.cluster_version = text(short),
            CLUSTER_BUCKET if key == DOWNGRADE => self.downgrade = downgrade_target(short),
            _ => {}
        }
        Ok(())
    }

    fn take_key<S: MessageSource>(&mut self, key: &[u8], value: S, found: &mut Found) -> Result<()> {
        let (revision, deletion) = Revision::parse(key)
            .ok_or_else(|| refusal(key, Fault::Malformed("the key is no revision".to_owned())))?;
        let pair = KeyValue::parse(value).map_err(|fault| refusal(key, fault))?;
        if found.last.is_some_and(|last| last >= revision) {
            return Err(refusal(key, Fault::Malformed("the revision is there twice".to_owned())));
        }
        found.last = Some(revision);
        self.entries += 1;
        self.deletions += u64::from(deletion);
        found.add(&pair, deletion)?;
        Ok(())
    }

    fn take_meta(&mut self, key: &[u8], value: &[u8], found: &mut Found) {
        let compaction = || Revision::parse(value).map(|(revision, _)| revision.main);
        match key {
            SCHEDULED_COMPACTION => found.scheduled = compaction(),
            FINISHED_COMPACTION => found.finished = compaction(),
            b"consistent_index" => self.consistent_index = value.try_into().ok().map(u64::from_be_bytes),
            b"storageVersion" => {
                self.storage_version = text(value).filter(|text| text.len() <= VERSION_SIZE_MAX);
            }
            _ => {}
        }
    }

    fn take_alarm(&mut self, alarm: Option<Alarm>) {
        let Some(alarm) = alarm else { return };
        self.alarm_count += 1;
        if self.alarms.len() < ALARMS_MAX {
            self.alarms.push(alarm);
        }
    }
}

/// What is only complete at the end of the walk.
#[derive(Default)]
struct Found {
    last: Option<Revision>,
    scheduled: Option<i64>,
    finished: Option<i64>,
    census: Census,
    /// What may be of Kubernetes, the oldest record first, up to one more than [`RECORDS_MAX`].
    records: Vec<Record>,
    buffers: Box<Buffers>,
}

/// For the beginnings of long keys and values.
struct Buffers {
    key: [u8; KEY_SIZE_MAX],
    value: [u8; VALUE_BEGINNING],
}

impl Default for Buffers {
    fn default() -> Self {
        Self { key: [0; KEY_SIZE_MAX], value: [0; VALUE_BEGINNING] }
    }
}

impl Found {
    /// Adds a record of a key.
    fn add<S: MessageSource>(&mut self, pair: &KeyValue<S>, deletion: bool) -> Result<()> {
        let Some(key) = pair.key.as_ref().filter(|key| key.size() <= KEY_SIZE_MAX as u64) else {
            return Ok(());
        };
        let Buffers { key: of_key, value: of_value } = &mut *self.buffers;
        let key = key.beginning(of_key)?;
        let value = pair.value.as_ref().map_or(Ok(&[][..]), |value| value.beginning(of_value))?;
        if self.records.len() <= RECORDS_MAX {
            self.records.extend(self.census.record(key, value, deletion));
        }
        Ok(())
    }

    fn kubernetes(&self) -> Option<Kubernetes> {
        let count = self.census.count(&self.records.iter().rev().copied());
        count.map(|count| if self.records.len() > RECORDS_MAX { Kubernetes::Uncounted } else { count })
    }
}

fn text(value: &[u8]) -> Option<String> {
    std::str::from_utf8(value).ok().map(str::to_owned)
}
