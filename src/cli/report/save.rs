//! The report of `save`.

use super::Report;
use super::contents::{conditions, reported, revision, without_size};
use super::units::{milliseconds, ratio, seconds, size};
use super::verdict::{Proved, Verdict};
use crate::archive::manifest::{Manifest, Trailer};
use crate::cli::terminal::printable::sanitize;
use crate::pipeline::seal::Sealed;
use crate::store::Published;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

#[derive(Serialize)]
pub(crate) struct SaveReport {
    #[serde(flatten)]
    verdict: Verdict,
    path: String,
    archive_size: u64,
    archive_sha256: String,
    ratio: f64,
    duration_ms: u64,
    #[serde(flatten)]
    manifest: Manifest,
    #[serde(flatten)]
    trailer: Trailer,
}

impl SaveReport {
    /// The report on a new archive; `None` is standard output.
    #[must_use]
    pub(crate) fn new(saved: Sealed, published: Option<Published>, took: Duration) -> Self {
        let proved = proved(&saved.manifest, &saved.trailer);
        let (verdict, path) = Verdict::of_published("save", proved, published);
        let ratio = ratio(saved.trailer.snapshot_size, saved.archive_size);
        Self {
            verdict,
            path,
            archive_size: saved.archive_size,
            archive_sha256: hex::encode(saved.archive_sha256),
            ratio: (ratio * 100.0).round() / 100.0,
            duration_ms: milliseconds(took),
            manifest: without_size(saved.manifest),
            trailer: saved.trailer,
        }
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

    fn text(&self) -> String {
        let recipients = self.manifest.recipients.len();
        let mut text = format!(
            "{}: {} of snapshot in {} (ratio {:.2}), for {recipients} {}",
            sanitize(&self.path),
            size(self.trailer.snapshot_size),
            size(self.archive_size),
            self.ratio,
            if recipients == 1 { "recipient" } else { "recipients" },
        );
        if let Some(revision) = revision(Some(&self.manifest), &self.trailer) {
            let _ = write!(text, ", revision {revision}");
        }
        let _ = write!(text, ", {}", seconds(self.duration_ms));
        if let Some(open) = self.trailer.stream_open_ms {
            let _ = write!(text, ", stream open {}", seconds(open));
        }
        let _ = write!(text, ", sha256 {}", self.archive_sha256);
        text.push_str(&reported(&self.manifest, &self.trailer));
        text + &self.verdict.text()
    }
}
