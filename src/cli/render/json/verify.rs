//! The fields of the result of `verify`.

use super::Report;
use super::contents::{Contents, SealedBy, VisibleReport};
use super::units::milliseconds;
use crate::cli::render::path::shown;
use crate::cli::render::verdict::{Proved, Verdict};
use crate::pipeline::open::{Opened, Visible};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// The result of comparing an archive with the sidecar beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SidecarState {
    /// There is no sidecar.
    Absent,
    /// The digest is equal.
    Equal,
    /// The digest is equal, but the sidecar names another file.
    EqualUnderAnotherName,
}

/// The findings of `verify`.
#[derive(Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack of one command")]
pub(crate) enum Proof {
    Opened(Contents),
    Seen(VisibleReport),
}

#[derive(Serialize)]
pub(crate) struct VerifyReport {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) path: String,
    pub(crate) proved: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sealed_by: Option<SealedBy>,
    pub(crate) sidecar: SidecarState,
    pub(crate) archive_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) archive_sha256: Option<String>,
    pub(crate) duration_ms: u64,
    #[serde(flatten)]
    pub(crate) proof: Proof,
}

impl VerifyReport {
    /// The report on an archive read to its end with a key.
    #[must_use]
    pub(crate) fn opened(opened: Opened, path: Option<&Path>, sidecar: SidecarState, took: Duration) -> Self {
        Self {
            verdict: Verdict::new("verify", Proved::by(opened.digest)),
            path: shown(path),
            proved: "content",
            sealed_by: Some(SealedBy::Unknown),
            sidecar,
            archive_size: opened.visible.archive_size,
            archive_sha256: opened.visible.archive_sha256.map(hex::encode),
            duration_ms: milliseconds(took),
            proof: Proof::Opened(Contents::of(opened)),
        }
    }

    /// The report on an archive read to its end without a key.
    #[must_use]
    pub(crate) fn seen(visible: Visible, path: Option<&Path>, sidecar: SidecarState, took: Duration) -> Self {
        let (proved, what) = match sidecar {
            SidecarState::Absent => (Proved::StructureOnly, "structure"),
            SidecarState::Equal | SidecarState::EqualUnderAnotherName => (Proved::AsAsked, "sidecar"),
        };
        Self {
            verdict: Verdict::new("verify", proved),
            path: shown(path),
            proved: what,
            sealed_by: None,
            sidecar,
            archive_size: visible.archive_size,
            archive_sha256: visible.archive_sha256.map(hex::encode),
            duration_ms: milliseconds(took),
            proof: Proof::Seen(VisibleReport::new(visible)),
        }
    }
}

impl Report for VerifyReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }
}
