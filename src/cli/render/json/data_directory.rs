//! What was found in a data directory, in the results of `save` and `restore`.

use super::Report;
use super::units::milliseconds;
use crate::archive::manifest::Digest;
use crate::cli::render::path::shown;
use crate::cli::render::verdict::{Proved, Verdict};
use crate::pipeline::salvage::Found;
use crate::store::Published;
use serde::Serialize;
use std::time::Duration;

/// What was found in a data directory.
#[derive(Serialize)]
pub(crate) struct DataDirectoryReport {
    /// Its path.
    pub(crate) path: String,
    /// The newest revision in the database alone.
    pub(crate) database_revision: i64,
    /// The newest revision with the log.
    pub(crate) revision: i64,
    /// The revisions that only the log has.
    pub(crate) revisions_won: i64,
    /// Entries of the log that the member did not know to be committed.
    pub(crate) unconfirmed_entries: u64,
    /// Whether the log ends in the middle of a record.
    pub(crate) log_cut: bool,
    /// Whether there are keys of the v2 API, which are not in the snapshot.
    pub(crate) v2_keys: bool,
    /// The etcd that replayed the log.
    pub(crate) replayed_by: String,
}

impl DataDirectoryReport {
    pub(crate) fn new(found: &Found) -> Self {
        Self {
            path: shown(Some(&found.path)),
            database_revision: found.database_revision,
            revision: found.revision,
            revisions_won: found.won(),
            unconfirmed_entries: found.unconfirmed_entries,
            log_cut: found.log_is_cut,
            v2_keys: found.v2_keys,
            replayed_by: found.etcd_version.clone(),
        }
    }

    /// What the state of the log leaves to prove.
    pub(crate) fn proved(found: &Found) -> Proved {
        if found.log_is_cut { Proved::OfCutLog } else { Proved::AsAsked }
    }
}

/// The result of `restore -o` from a data directory.
#[derive(Serialize)]
pub(crate) struct SalvageReport {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) path: String,
    pub(crate) duration_ms: u64,
    pub(crate) snapshot_size: u64,
    pub(crate) digest: Digest,
    pub(crate) data_directory: DataDirectoryReport,
}

impl SalvageReport {
    /// The report on a snapshot of `size` bytes; `None` is standard output.
    #[must_use]
    pub(crate) fn new(found: &Found, size: u64, published: Option<Published>, took: Duration) -> Self {
        let proved = DataDirectoryReport::proved(found);
        let (verdict, path) = Verdict::of_published("restore", proved, published);
        Self {
            verdict,
            path,
            duration_ms: milliseconds(took + found.took),
            snapshot_size: size,
            digest: Digest::Verified,
            data_directory: DataDirectoryReport::new(found),
        }
    }
}

impl Report for SalvageReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}
