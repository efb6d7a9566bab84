//! The fields of the result of `restore` into a snapshot.

use super::Report;
use super::contents::{Contents, SealedBy};
use super::units::milliseconds;
use crate::cli::render::path::shown;
use crate::cli::render::verdict::{Proved, Verdict};
use crate::pipeline::open::Opened;
use crate::store::Published;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

#[derive(Serialize)]
pub(crate) struct RestoreReport {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) path: String,
    pub(crate) archive: String,
    pub(crate) archive_size: u64,
    pub(crate) duration_ms: u64,
    pub(crate) sealed_by: SealedBy,
    #[serde(flatten)]
    pub(crate) contents: Contents,
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

    fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }
}
