//! The source of a snapshot, as a restore reports it: beforehand from the unauthenticated description, and afterwards from
//! what was sealed.

use super::units::milliseconds;
use crate::archive::manifest::Description;
use crate::pipeline::age::Clock;
use serde::Serialize;
use std::time::Duration;

/// What is known of the source of a restore.
#[derive(Serialize)]
pub(crate) struct SourceReport {
    /// Whether the archive was not opened yet.
    #[serde(skip)]
    pub(crate) described_only: bool,
    #[serde(skip)]
    pub(crate) description: Option<Description>,
    #[serde(skip)]
    pub(crate) size: Option<u64>,
    /// The first known time of the snapshot, and a label for it.
    #[serde(skip)]
    pub(crate) time: Option<(&'static str, String)>,
    /// The time since then; left out where the clock is behind it.
    #[serde(rename = "snapshot_age_ms", skip_serializing_if = "Option::is_none")]
    pub(crate) age: Option<u64>,
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
}
