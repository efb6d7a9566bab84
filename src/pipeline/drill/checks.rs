//! The queries to a drilled member, and the writes that test it.

use std::time::{Duration, Instant};

use crate::database::contents::DatabaseContents;
use crate::database::hash_kv::KeysAtRevision;
use crate::database::leases::Lease;
use crate::database::member::Membership;
use crate::error::{Error, Kind, Result};
use crate::etcd::{Client, HashKv, ListedMember};
use crate::pipeline::private_etcd::cluster::Served;

/// Tolerance: etcd counts the seconds of a lease from 1 on and rounds as it likes.
const LEASE_PRECISION: Duration = Duration::from_secs(2);
/// The value that is put, read and deleted.
const VALUE: &str = "written by a drill of etcd-seal";

/// What the data contain, read without etcd.
pub(super) struct Expected<'a> {
    pub(super) contents: &'a DatabaseContents,
    pub(super) keys: KeysAtRevision,
    /// `None` where there are too many to compare.
    pub(super) leases: Option<&'a [Lease]>,
    pub(super) membership: &'a Membership,
}

/// The differences between etcd's answers and the data, and remarks about tolerated ones.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) differences: Vec<String>,
    pub(super) remarks: Vec<String>,
}

impl Findings {
    fn compare<T: PartialEq + std::fmt::Display>(&mut self, what: &str, served: &T, expected: &T) {
        if served != expected {
            self.differences.push(format!("{what} {served} instead of {expected}"));
        }
    }
}

/// Compares the answers of a member, running since `since`, with the data.
pub(super) async fn compare(client: &Client, expected: &Expected<'_>, since: Instant) -> Result<Findings> {
    let mut findings = Findings::default();
    let contents = expected.contents;
    // Leases first, because they expire.
    compare_leases(client, expected.leases, since, &mut findings).await?;
    let status = client.status().await?;
    let revision = match contents.revision_without_unfinished_compaction() {
        Some(revision) if status.revision == revision => {
            let remark = "a compaction was asked for and not done, which this etcd leaves undone: HashKV was not compared";
            findings.remarks.push(remark.to_owned());
            revision
        }
        _ => contents.revision,
    };
    if status.revision < revision || (contents.leases == 0 && status.revision > revision) {
        findings.compare("revision", &status.revision, &revision);
        return Ok(findings);
    }
    if revision == contents.revision {
        compare_hashes(client, expected, &mut findings).await?;
    }
    findings.compare("keys", &client.count(revision).await?, &expected.keys.count);
    findings.compare("users", &client.users().await?, &contents.users);
    findings.compare("roles", &client.roles().await?, &contents.roles);
    if client.members().await? != listed(expected.membership) {
        findings.differences.push("other members than were restored".to_owned());
    }
    Ok(findings)
}

/// Some versions refuse to hash the revision of their last compaction, but not their newest revision, which is 0 in the
/// request.
async fn compare_hashes(client: &Client, expected: &Expected<'_>, findings: &mut Findings) -> Result<()> {
    let contents = expected.contents;
    let of_newest = contents.compacted == Some(contents.revision);
    let served = client.hash_kv(if of_newest { 0 } else { contents.revision }).await?;
    findings.compare("compaction", &revision(served.compacted), &revision(contents.compacted));
    if of_newest && served.newest != contents.revision {
        let remark = "keys went with leases that ran out before HashKV could be compared, so it was not";
        findings.remarks.push(remark.to_owned());
    } else if served.hash != expected.keys.hash {
        let (served, expected) = (served.hash, expected.keys.hash);
        findings.differences.push(format!("HashKV {served:08x} instead of {expected:08x}"));
    }
    Ok(())
}

fn revision(compacted: Option<i64>) -> String {
    compacted.map_or_else(|| "none".to_owned(), |revision| revision.to_string())
}

/// The members as etcd lists them.
fn listed(membership: &Membership) -> Vec<ListedMember> {
    let mut members: Vec<_> = membership
        .members()
        .iter()
        .map(|member| ListedMember {
            id: member.id,
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
        })
        .collect();
    members.sort();
    members
}

async fn compare_leases(
    client: &Client,
    expected: Option<&[Lease]>,
    since: Instant,
    findings: &mut Findings,
) -> Result<()> {
    let served = match expected {
        Some(expected) => client.leases().await?.map(|served| (served, expected)),
        None => None,
    };
    let Some((served, expected)) = served else {
        findings.remarks.push("the leases are too many to be listed, and were not compared".to_owned());
        return Ok(());
    };
    let elapsed = since.elapsed() + LEASE_PRECISION;
    let gone: Vec<&Lease> =
        expected.iter().filter(|lease| served.binary_search(&lease.id).is_err()).collect();
    let has_run_out = |lease: &&&Lease| u64::try_from(lease.granted).unwrap_or(0) <= elapsed.as_secs();
    let run_out = gone.iter().filter(has_run_out).count();
    if run_out > 0 {
        findings.remarks.push(format!("{run_out} leases ran out before they could be compared"));
    }
    if run_out < gone.len() {
        findings.differences.push(format!("leases {} instead of {}", served.len(), expected.len()));
    }
    let known = |id: &&i64| expected.binary_search_by_key(*id, |lease| lease.id).is_ok();
    let unknown = served.iter().filter(|id| !known(id)).count();
    if unknown > 0 {
        findings.differences.push(format!("{unknown} leases that the data do not have"));
    }
    Ok(())
}

/// The state that all members agreed on after the test writes.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    key: String,
    revision: i64,
    hash: HashKv,
}

/// Puts, reads, deletes, compacts and defragments.
pub(super) async fn try_out(served: &Served<'_>, key: String) -> Result<Tried> {
    let [first, ..] = &served.clients[..] else { return Err(failed("there is no member")) };
    let put = first.put(&key, VALUE).await?;
    for client in &served.clients {
        if client.get(&key).await?.as_deref() != Some(VALUE.as_bytes()) {
            return Err(failed("etcd does not give back what was put"));
        }
    }
    let (revision, deleted) = first.delete(&key).await?;
    if deleted != 1 || revision <= put {
        return Err(failed(format!("etcd deleted {deleted} keys instead of the one that was put")));
    }
    first.compact(put).await?;
    for client in &served.clients {
        client.defragment().await?;
    }
    let hash = first.hash_kv(revision).await?;
    let tried = Tried { key, revision, hash };
    agree(&served.clients, &tried).await?;
    Ok(tried)
}

/// Fails unless every member still has the agreed state.
pub(super) async fn agree(clients: &[Client], tried: &Tried) -> Result<()> {
    for client in clients {
        if client.get(&tried.key).await?.is_some() {
            return Err(failed("a key that was deleted is back"));
        }
        let hash = client.hash_kv(tried.revision).await?;
        if (hash.hash, hash.compacted) != (tried.hash.hash, tried.hash.compacted) {
            return Err(failed(format!(
                "HashKV at revision {} is {:08x}, and was {:08x} before",
                tried.revision, hash.hash, tried.hash.hash
            )));
        }
    }
    Ok(())
}

/// The error where etcd or its data are at fault.
pub(super) fn failed(what: impl Into<String>) -> Error {
    Error::new(Kind::DrillFailed, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told() {
        let mut findings = Findings::default();
        findings.compare("keys", &3, &3);
        findings.compare("users", &1, &2);
        assert_eq!(findings.differences, ["users 1 instead of 2"]);
    }

    #[test]
    fn members_are_listed_as_etcd_does() {
        let membership = crate::pipeline::private_etcd::cluster::membership(3).unwrap();
        let ids: Vec<u64> = listed(&membership).iter().map(|member| member.id).collect();
        assert!(ids.is_sorted() && ids.len() == 3);
    }
}
