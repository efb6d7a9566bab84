//! The result of `save`.

use super::Text;
use super::contents::reported;
use super::units::{seconds, size};
use crate::cli::render::json::contents::revision;
use crate::cli::render::json::save::SaveReport;
use crate::cli::terminal::printable::sanitize;
use std::fmt::Write as _;

impl Text for SaveReport {
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
