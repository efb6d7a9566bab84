//! The fields of the result of `drill`.

use super::Report;
use super::contents::{Contents, SealedBy};
use super::member::DatabaseReport;
use super::units::milliseconds;
use crate::archive::manifest::Digest;
use crate::cli::render::path::shown;
use crate::cli::render::verdict::{Proved, Verdict};
use crate::pipeline::drill::Drilled;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
pub(crate) struct DrillReport {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) archive: String,
    pub(crate) etcd: String,
    pub(crate) etcd_version: String,
    pub(crate) members: usize,
    pub(crate) recovery_ms: u64,
    pub(crate) restore_ms: u64,
    pub(crate) boot_ms: u64,
    pub(crate) check_ms: u64,
    pub(crate) duration_ms: u64,
    pub(crate) hash_kv: String,
    pub(crate) keys: u64,
    pub(crate) database: DatabaseReport,
    pub(crate) remarks: Vec<String>,
    pub(crate) snapshot_size: u64,
    pub(crate) digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealed_by: Option<SealedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<Contents>,
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

    fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }

    fn is_the_answer(&self) -> bool {
        false
    }
}
