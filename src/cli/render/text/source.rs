//! The source of a restore on one line.

use super::contents::cluster;
use super::units::{age, size};
use crate::cli::render::json::source::SourceReport;
use crate::cli::terminal::printable::sanitize;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::time::Duration;

impl SourceReport {
    /// The source on one line.
    pub(crate) fn text(&self) -> String {
        let mut facts = Vec::new();
        if let Some(description) = &self.description {
            facts.push(cluster(description).unwrap_or_else(|| "a cluster without a name".to_owned()));
        }
        if let Some((what, time)) = &self.time {
            let why = match time.parse::<Timestamp>() {
                Ok(_) => "the clock of this host is behind",
                Err(_) => "this is no time that can be read",
            };
            let old = self.age.map_or_else(
                || format!("its age cannot be told: {why}"),
                |milliseconds| format!("{} old", age(Duration::from_millis(milliseconds))),
            );
            facts.push(format!("{what} {} ({old})", sanitize(time)));
        }
        if let Some(revision) = self.description.as_ref().and_then(|description| description.revision) {
            facts.push(format!("revision {revision}"));
        }
        let mut text = facts.join(", ");
        if let Some(bytes) = self.size {
            let at_least = if self.described_only { "at least " } else { "" };
            let separator = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{separator}{at_least}{}", size(bytes));
        }
        match (self.described_only, &self.description) {
            (true, Some(_)) => format!("{text}, as its description says, which is not opened yet"),
            _ => text,
        }
    }
}
