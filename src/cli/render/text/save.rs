//! The result of `save`.

use super::Text;
use super::contents::{kubernetes, reported, revision_of};
use super::units::{count, seconds, size};
use crate::archive::manifest::{Digest, Manifest};
use crate::cli::render::json::save::SaveReport;
use crate::cli::render::path::shown;
use crate::cli::terminal::printable::{quoted, sanitize};
use std::fmt::Write as _;

impl Text for SaveReport {
    fn text(&self) -> String {
        let digest = match self.trailer.digest {
            Digest::Verified => "verified",
            Digest::Absent => "not verified",
        };
        let mut text = format!("{}: {digest}", sanitize(&self.path));
        if let Some(member) = self.member() {
            let _ = write!(text, ", from {member}");
        }
        let _ = write!(text, "\n  {}{}", self.sizes(), kubernetes(&self.trailer));
        if let Some(directory) = &self.data_directory {
            let _ = write!(text, "\n  {}", directory.text());
        }
        // A sidecar keeps it for later; without one only this text does.
        if !self.has_sidecar() {
            let _ = write!(text, "\n  sha256 {}", self.archive_sha256);
        }
        for remark in [reported(&self.manifest, &self.trailer), self.verdict.text()] {
            if let Some(remark) = remark.strip_prefix("; ") {
                let _ = write!(text, "\n  {remark}");
            }
        }
        text
    }
}

impl SaveReport {
    /// The member that served the snapshot: its name or, where that is unknown, its endpoint.
    fn member(&self) -> Option<String> {
        let Manifest { member_name, endpoint, .. } = &self.manifest;
        let name = member_name.as_deref().filter(|name| !name.is_empty()).map(quoted);
        name.or_else(|| endpoint.as_deref().map(|endpoint| sanitize(endpoint).into_owned()))
    }

    /// `revision 574, 189.7 MiB in 32.5 MiB, 1 recipient, 2.4 s (stream 2.3 s)`, which fits 80 columns. A revision that has to
    /// be explained is on a line of its own.
    fn sizes(&self) -> String {
        let mut text = String::new();
        let revision = revision_of(Some(&self.manifest), &self.trailer);
        if let (Some(revision), None) = (revision, &self.data_directory) {
            let separator = if revision.contains('(') { "\n  " } else { ", " };
            let _ = write!(text, "revision {revision}{separator}");
        }
        let _ = write!(
            text,
            "{} in {}, {}, {}",
            size(self.trailer.snapshot_size),
            size(self.archive_size),
            count(self.manifest.recipients.len() as u64, "recipient"),
            seconds(self.duration_ms),
        );
        if let Some(open) = self.trailer.stream_open_ms {
            let _ = write!(text, " (stream {})", seconds(open));
        }
        text
    }

    /// Whether a sidecar beside the archive has its digest.
    fn has_sidecar(&self) -> bool {
        self.path != shown(None) && self.verdict.unfinished.is_none()
    }
}
