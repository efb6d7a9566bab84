//! The report of `drill`.

use super::contents::{Contents, SealedBy};
use super::member::DatabaseReport;
use super::units::{count, milliseconds, seconds, size};
use super::verdict::{Proved, Verdict};
use super::{Report, shown};
use crate::archive::manifest::Digest;
use crate::cli::terminal::printable::sanitize;
use crate::pipeline::drill::Drilled;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

#[derive(Serialize)]
pub(crate) struct DrillReport {
    #[serde(flatten)]
    verdict: Verdict,
    archive: String,
    etcd: String,
    etcd_version: String,
    members: usize,
    recovery_ms: u64,
    restore_ms: u64,
    boot_ms: u64,
    check_ms: u64,
    duration_ms: u64,
    hash_kv: String,
    keys: u64,
    database: DatabaseReport,
    remarks: Vec<String>,
    snapshot_size: u64,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_by: Option<SealedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Contents>,
}

impl DrillReport {
    /// The report on `archive` and the etcd that it was drilled with.
    #[must_use]
    pub(crate) fn new(drilled: Drilled, archive: Option<&Path>, etcd: &Path) -> Self {
        let times = drilled.times;
        Self {
            verdict: Verdict::new("drill", Proved::by(drilled.digest)),
            archive: shown(archive),
            etcd: shown(Some(etcd)),
            etcd_version: drilled.etcd_version,
            members: drilled.members,
            recovery_ms: milliseconds(times.recovery()),
            restore_ms: milliseconds(times.restore),
            boot_ms: milliseconds(times.boot),
            check_ms: milliseconds(times.check),
            duration_ms: milliseconds(times.recovery() + times.check),
            hash_kv: format!("{:08x}", drilled.keys.hash),
            keys: drilled.keys.count,
            database: DatabaseReport::new(drilled.contents, None),
            remarks: drilled.remarks,
            snapshot_size: drilled.snapshot_size,
            digest: drilled.digest,
            sealed_by: drilled.opened.is_some().then_some(SealedBy::Unknown),
            snapshot: drilled.opened.map(Contents::of),
        }
    }
}

impl Report for DrillReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn is_the_answer(&self) -> bool {
        false
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}: proved: {} of etcd {} served it {} after the first byte was read ({} to restore, {} to start)",
            sanitize(&self.archive),
            count(self.members as u64, "member"),
            sanitize(&self.etcd_version),
            seconds(self.recovery_ms),
            seconds(self.restore_ms),
            seconds(self.boot_ms),
        );
        let database = &self.database;
        let _ = write!(
            text,
            "; database of {}, revision {}, HashKV {}, {}, {}, {}, {}, all as in the archive; writes, \
             compaction, defragmentation, another save and a restart went well, {}{}",
            size(self.snapshot_size),
            database.revision,
            self.hash_kv,
            count(self.keys, "key"),
            count(database.leases, "lease"),
            count(database.users, "user"),
            count(database.roles, "role"),
            seconds(self.duration_ms),
            self.verdict.text()
        );
        if let Some(sealed_by) = self.sealed_by {
            let _ = write!(text, "\nsealed by: {}", sealed_by.text());
        }
        for remark in &self.remarks {
            let _ = write!(text, "\nnote: {}", sanitize(remark));
        }
        text
    }
}
