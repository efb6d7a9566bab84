//! The report of `--dry-run`.

use super::verdict::{Proved, Verdict};
use super::{Report, SourceReport};
use crate::archive::manifest::Description;
use crate::cli::terminal::printable::sanitize;
use crate::pipeline::age::Clock;
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Serialize)]
pub(crate) struct Plan {
    #[serde(flatten)]
    verdict: Verdict,
    dry_run: bool,
    source: String,
    destination: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<String>,
    /// What is known of the snapshot.
    #[serde(flatten)]
    snapshot: Option<SourceReport>,
    /// The description, which is not authenticated.
    #[serde(rename = "description", skip_serializing_if = "Option::is_none")]
    description: Option<Description>,
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

    fn is_the_answer(&self) -> bool {
        true
    }

    fn text(&self) -> String {
        let mut text = format!("would {} {} to {}", self.verdict.command, self.source, self.destination);
        if !self.recipients.is_empty() {
            let _ = write!(text, ", for {}", self.recipients.join(", "));
        }
        let mut text = sanitize(&text).into_owned();
        if let Some(snapshot) = &self.snapshot {
            let _ = write!(text, "\nfrom {}", snapshot.text());
        }
        text
    }
}
