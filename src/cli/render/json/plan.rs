//! The fields of what `--dry-run` would do.

use super::Report;
use super::source::SourceReport;
use crate::archive::manifest::Description;
use crate::cli::render::verdict::{Proved, Verdict};
use crate::pipeline::age::Clock;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Plan {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) dry_run: bool,
    pub(crate) source: String,
    pub(crate) destination: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) recipients: Vec<String>,
    /// What is known of the snapshot.
    #[serde(flatten)]
    pub(crate) snapshot: Option<SourceReport>,
    /// The description, which is not authenticated.
    #[serde(rename = "description", skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<Description>,
}

impl Plan {
    /// The plan of `command`.
    #[must_use]
    pub(crate) fn new(
        command: &'static str,
        source: String,
        destination: String,
        recipients: Vec<String>,
    ) -> Self {
        Self {
            verdict: Verdict::new(command, Proved::AsAsked),
            dry_run: true,
            source,
            destination,
            recipients,
            snapshot: None,
            description: None,
        }
    }

    /// Adds what is known of the snapshot without opening the archive.
    #[must_use]
    pub(crate) fn of_snapshot(
        mut self,
        description: Option<Description>,
        size: Option<u64>,
        clock: Clock,
    ) -> Self {
        self.snapshot = Some(SourceReport::described(description.clone(), size, clock));
        self.description = description;
        self
    }
}

impl Report for Plan {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }

    fn is_the_answer(&self) -> bool {
        true
    }
}
