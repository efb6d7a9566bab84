//! The report of `restore --data-dir` and `restore --output-dir`.

use super::contents::{Contents, SealedBy};
use super::units::{milliseconds, seconds, size};
use super::verdict::{Proved, Verdict};
use super::{Report, SourceReport, shown};
use crate::archive::manifest::Digest;
use crate::cli::terminal::printable::{quoted, sanitize};
use crate::database;
use crate::database::member::{Member, Membership};
use crate::pipeline::age::Clock;
use crate::pipeline::instructions::{etcd_command, etcd_flags};
use crate::pipeline::member::{INSTRUCTIONS, Restored};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Serialize)]
pub(crate) struct MemberReport {
    #[serde(flatten)]
    verdict: Verdict,
    path: String,
    archive: String,
    duration_ms: u64,
    cluster_id: String,
    initial_cluster: String,
    initial_cluster_token: String,
    members: Vec<MadeMember>,
    database: DatabaseReport,
    snapshot_size: u64,
    digest: Digest,
    #[serde(flatten)]
    source: SourceReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_by: Option<SealedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Contents>,
}

/// The directories of a single member on this host; members of a cluster are still to be copied to their hosts.
pub(crate) struct MemberDirectories {
    /// `--data-dir`, absolute.
    pub(crate) data_dir: PathBuf,
    /// `--wal-dir`, absolute.
    pub(crate) wal_dir: Option<PathBuf>,
}

/// The members that were made.
pub(crate) struct Made<'a> {
    /// The new cluster.
    pub(crate) membership: &'a Membership,
    /// The names of the members, some or all of the cluster.
    pub(crate) names: &'a [String],
    /// The directories of a single member.
    pub(crate) directories: Option<&'a MemberDirectories>,
}

/// A restored member.
#[derive(Serialize)]
struct MadeMember {
    name: String,
    id: String,
    peer_urls: Vec<String>,
    etcd_flags: Vec<String>,
}

impl MadeMember {
    fn new(member: &Member, directories: Option<&MemberDirectories>) -> Self {
        let data_dir = directories.map(|directories| directories.data_dir.as_path());
        let wal_dir = directories.and_then(|directories| directories.wal_dir.as_deref());
        Self {
            name: member.name.clone(),
            id: format!("{:016x}", member.id),
            peer_urls: member.peer_urls.clone(),
            etcd_flags: etcd_flags(member, data_dir, wal_dir),
        }
    }
}

/// The contents of its database.
#[derive(Serialize)]
pub(super) struct DatabaseReport {
    pub(super) revision: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compact_revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bumped_by: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bumped_to: Option<i64>,
    entries: u64,
    pub(super) leases: u64,
    pub(super) users: u64,
    pub(super) roles: u64,
    auth_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downgrade: Option<String>,
    alarms: Vec<String>,
    alarm_count: u64,
    kubernetes: bool,
    encryption_providers: Vec<String>,
}

impl DatabaseReport {
    pub(super) fn new(contents: database::contents::DatabaseContents, raised_to: Option<i64>) -> Self {
        Self {
            revision: contents.revision,
            compact_revision: contents.compacted,
            bumped_by: raised_to.map(|raised| raised - contents.revision),
            bumped_to: raised_to,
            entries: contents.entries,
            leases: contents.leases,
            users: contents.users,
            roles: contents.roles,
            auth_enabled: contents.auth_enabled,
            cluster_version: contents.cluster_version,
            storage_version: contents.storage_version,
            downgrade: contents.downgrade,
            alarms: contents.alarms.iter().map(|alarm| alarm.kind.to_string()).collect(),
            alarm_count: contents.alarm_count,
            kubernetes: contents.kubernetes,
            encryption_providers: contents.encryption_providers.into_iter().collect(),
        }
    }
}

impl MemberReport {
    /// The report on members restored from `archive`.
    #[must_use]
    pub(crate) fn new(
        restored: Restored,
        archive: Option<&Path>,
        made: &Made<'_>,
        clock: Clock,
        took: Duration,
    ) -> Self {
        let Made { membership, names, directories } = made;
        let (verdict, path) =
            Verdict::of_published("restore", Proved::by(restored.digest), Some(restored.published));
        let members = membership.members().iter().filter(|member| names.contains(&member.name));
        let mut members: Vec<MadeMember> =
            members.map(|member| MadeMember::new(member, *directories)).collect();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        let manifest = restored.opened.as_ref().and_then(|opened| opened.manifest.as_ref());
        let description = manifest.map(|manifest| manifest.description.clone());
        Self {
            verdict,
            path,
            archive: shown(archive),
            duration_ms: milliseconds(took),
            source: SourceReport::new(description, Some(restored.snapshot_size), clock),
            sealed_by: restored.opened.is_some().then_some(SealedBy::Unknown),
            cluster_id: format!("{:016x}", membership.cluster_id()),
            initial_cluster: membership.initial_cluster(),
            initial_cluster_token: membership.token().to_owned(),
            members,
            database: DatabaseReport::new(restored.contents, restored.raised_to),
            snapshot_size: restored.snapshot_size,
            digest: restored.digest,
            snapshot: restored.opened.map(Contents::of),
        }
    }
}

/// The line before the command that starts etcd on the member.
const START: &str = "start etcd so, with the client URLs and TLS flags that its configuration has:";

impl Report for MemberReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn text(&self) -> String {
        let mut text = format!("{}: ", sanitize(&self.path));
        let names: Vec<String> =
            self.members.iter().map(|member| format!("{} ({})", quoted(&member.name), member.id)).collect();
        let members = if names.len() == 1 { "member" } else { "members" };
        let _ = write!(text, "{members} {} of the new cluster {}", names.join(", "), self.cluster_id);
        let _ =
            write!(text, ", database of {}, revision {}", size(self.snapshot_size), self.database.revision);
        if let (Some(by), Some(to)) = (self.database.bumped_by, self.database.bumped_to) {
            let _ = write!(text, " raised by {by} to {to}");
        }
        let _ = write!(text, ", {}{}", seconds(self.duration_ms), self.verdict.text());
        let _ = write!(text, "\nfrom {}", self.source.text());
        if let Some(sealed_by) = self.sealed_by {
            let _ = write!(text, "\nsealed by: {}", sealed_by.text());
        }
        match &self.members[..] {
            [member] if member.etcd_flags.first().is_some_and(|flag| flag.starts_with("--data-dir=")) => {
                let command = etcd_command(&member.etcd_flags);
                let _ = write!(text, "\n{START}\n{}", sanitize(&command));
            }
            _ => {
                let _ = write!(text, "\n{INSTRUCTIONS} beside each member says how to go on");
            }
        }
        text
    }
}
