//! The report of `restore` into a snapshot.

use super::contents::{Contents, SealedBy};
use super::units::{milliseconds, seconds};
use super::verdict::{Proved, Verdict};
use super::{Report, shown};
use crate::cli::terminal::printable::sanitize;
use crate::pipeline::open::Opened;
use crate::store::Published;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

#[derive(Serialize)]
pub(crate) struct RestoreReport {
    #[serde(flatten)]
    verdict: Verdict,
    path: String,
    archive: String,
    archive_size: u64,
    duration_ms: u64,
    sealed_by: SealedBy,
    #[serde(flatten)]
    contents: Contents,
}

impl RestoreReport {
    /// The report on a snapshot restored from `archive`; `None` is a standard stream.
    #[must_use]
    pub(crate) fn new(
        opened: Opened,
        archive: Option<&Path>,
        published: Option<Published>,
        took: Duration,
    ) -> Self {
        let (verdict, path) = Verdict::of_published("restore", Proved::by(opened.digest), published);
        Self {
            verdict,
            path,
            archive: shown(archive),
            archive_size: opened.visible.archive_size,
            duration_ms: milliseconds(took),
            sealed_by: SealedBy::Unknown,
            contents: Contents::of(opened),
        }
    }
}

impl Report for RestoreReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn text(&self) -> String {
        let (path, took) = (sanitize(&self.path), seconds(self.duration_ms));
        let sealed_by = self.sealed_by.text();
        format!("{path}: {}, {took}{}; sealed by: {sealed_by}", self.contents.text(), self.verdict.text())
    }
}
