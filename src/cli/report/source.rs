//! The source of a snapshot, as a restore reports it: beforehand from the unauthenticated description, and afterwards from
//! what was sealed.

use super::contents::cluster;
use super::units::{age, milliseconds, size};
use crate::archive::manifest::Description;
use crate::cli::terminal::printable::sanitize;
use crate::pipeline::age::Clock;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// What is known of the source of a restore.
#[derive(Serialize)]
pub(crate) struct SourceReport {
    /// Whether the archive was not opened yet.
    #[serde(skip)]
    described_only: bool,
    #[serde(skip)]
    description: Option<Description>,
    #[serde(skip)]
    size: Option<u64>,
    /// The first known time of the snapshot, and a label for it.
    #[serde(skip)]
    time: Option<(&'static str, String)>,
    /// The time since then; left out where the clock is behind it.
    #[serde(rename = "snapshot_age_ms", skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
}

impl SourceReport {
    /// The source with `description` and `size` bytes; without a description it has the time of its file.
    #[must_use]
    pub(crate) fn new(description: Option<Description>, size: Option<u64>, clock: Clock) -> Self {
        let time = match &description {
            Some(description) => Some(match &description.snapshot_started_at {
                Some(started) => ("snapshot of", started.clone()),
                None => ("sealed", description.sealed_at.clone()),
            }),
            None => clock.modified.map(|modified| ("file of", modified.to_string())),
        };
        let since = |time: &str| Duration::try_from(clock.now.duration_since(time.parse().ok()?)).ok();
        let age = time.as_ref().and_then(|(_, time)| since(time)).map(milliseconds);
        Self { described_only: false, description, size, time, age }
    }

    /// The same before the archive was opened, when nothing is authenticated.
    #[must_use]
    pub(crate) fn described(description: Option<Description>, size: Option<u64>, clock: Clock) -> Self {
        Self { described_only: true, ..Self::new(description, size, clock) }
    }

    /// The source on one line.
    pub(super) fn text(&self) -> String {
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
