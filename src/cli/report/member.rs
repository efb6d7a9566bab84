//! Of `restore --data-dir` and `restore --output-dir`.

use super::contents::Contents;
use super::units::{milliseconds, seconds, size};
use super::verdict::{Proved, Verdict};
use super::{Report, shown};
use crate::archive::manifest::Digest;
use crate::cli::term::sanitize;
use crate::database;
use crate::database::membership::{Member, Membership};
use crate::pipeline::instructions::etcd_flags;
use crate::pipeline::member::Restored;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Of `restore --data-dir` and `restore --output-dir`.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Contents>,
}

/// One member that was made.
#[derive(Serialize)]
struct MadeMember {
    name: String,
    id: String,
    peer_urls: Vec<String>,
    etcd_flags: Vec<String>,
}

impl MadeMember {
    fn new(membership: &Membership, member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            id: format!("{:016x}", member.id),
            peer_urls: member.peer_urls.clone(),
            etcd_flags: etcd_flags(membership, member),
        }
    }
}

/// What its database holds.
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
    kubernetes: bool,
    encryption_providers: Vec<String>,
}

impl DatabaseReport {
    pub(super) fn new(contents: database::contents::Contents, raised_to: Option<i64>) -> Self {
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
            kubernetes: contents.kubernetes,
            encryption_providers: contents.encryption_providers.into_iter().collect(),
        }
    }
}

impl MemberReport {
    /// What came of `archive`: the members `names`.
    #[must_use]
    pub(crate) fn new(
        restored: Restored,
        archive: Option<&Path>,
        membership: &Membership,
        names: &[String],
        took: Duration,
    ) -> Self {
        let (verdict, path) =
            Verdict::of_published("restore", Proved::by(restored.digest), Some(restored.published));
        let members = membership.members().iter().filter(|member| names.contains(&member.name));
        let mut members: Vec<MadeMember> =
            members.map(|member| MadeMember::new(membership, member)).collect();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            verdict,
            path,
            archive: shown(archive),
            duration_ms: milliseconds(took),
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

impl Report for MemberReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn text(&self) -> String {
        let mut text = format!("{}: ", sanitize(&self.path));
        let names: Vec<String> =
            self.members.iter().map(|member| format!("{} ({})", member.name, member.id)).collect();
        let members = if names.len() == 1 { "member" } else { "members" };
        let _ = write!(text, "{members} {} of the new cluster {}", names.join(", "), self.cluster_id);
        let _ =
            write!(text, ", database of {}, revision {}", size(self.snapshot_size), self.database.revision);
        if let (Some(by), Some(to)) = (self.database.bumped_by, self.database.bumped_to) {
            let _ = write!(text, " raised by {by} to {to}");
        }
        let _ = write!(text, ", {}{}", seconds(self.duration_ms), self.verdict.text());
        if let [member] = &self.members[..] {
            let _ = write!(text, "\nstart etcd with: {}", sanitize(&member.etcd_flags.join(" ")));
        }
        text
    }
}
