//! The fields of the result of `save`.

use super::Report;
use super::contents::{conditions, without_size};
use super::data_directory::DataDirectoryReport;
use super::units::{milliseconds, ratio};
use crate::archive::manifest::{Manifest, Trailer};
use crate::cli::render::verdict::{Proved, Verdict};
use crate::pipeline::salvage::Found;
use crate::pipeline::seal::Sealed;
use crate::store::Published;
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
pub(crate) struct SaveReport {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) path: String,
    pub(crate) archive_size: u64,
    pub(crate) archive_sha256: String,
    pub(crate) ratio: f64,
    pub(crate) duration_ms: u64,
    #[serde(flatten)]
    pub(crate) manifest: Manifest,
    #[serde(flatten)]
    pub(crate) trailer: Trailer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_directory: Option<DataDirectoryReport>,
}

impl SaveReport {
    /// The report on a new archive; `None` is standard output.
    #[must_use]
    pub(crate) fn new(
        saved: Sealed,
        found: Option<&Found>,
        published: Option<Published>,
        took: Duration,
    ) -> Self {
        let proved = match proved(&saved.manifest, &saved.trailer) {
            Proved::AsAsked => found.map_or(Proved::AsAsked, DataDirectoryReport::proved),
            worse => worse,
        };
        let (verdict, path) = Verdict::of_published("save", proved, published);
        let ratio = ratio(saved.trailer.snapshot_size, saved.archive_size);
        Self {
            verdict,
            path,
            archive_size: saved.archive_size,
            archive_sha256: hex::encode(saved.archive_sha256),
            ratio: (ratio * 100.0).round() / 100.0,
            duration_ms: milliseconds(took + found.map_or(Duration::ZERO, |found| found.took)),
            manifest: without_size(saved.manifest),
            trailer: saved.trailer,
            data_directory: found.map(DataDirectoryReport::new),
        }
    }

    /// The newest revision in the snapshot, or otherwise the one that the member reported before it.
    pub(crate) fn revision(&self) -> Option<u64> {
        let contents = self.trailer.contents.as_ref().map(|contents| contents.revision);
        contents.or(self.manifest.description.revision)
    }

    /// The target of a downgrade of etcd that is in progress in the database.
    pub(crate) fn downgrade(&self) -> Option<&str> {
        self.trailer.contents.as_ref()?.downgrade.as_deref()
    }
}

/// A fault of the member takes precedence over a fault of the snapshot.
fn proved(manifest: &Manifest, trailer: &Trailer) -> Proved {
    match Proved::of_member(conditions(manifest, trailer), manifest.description.member_id.as_deref()) {
        Proved::AsAsked => Proved::by(trailer.digest),
        worse => worse,
    }
}

impl Report for SaveReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }
}
