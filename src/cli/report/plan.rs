//! Of `--dry-run`.

use super::Report;
use super::verdict::{Proved, Verdict};
use crate::cli::term::sanitize;
use serde::Serialize;
use std::fmt::Write as _;

/// Of `--dry-run`.
#[derive(Serialize)]
pub(crate) struct Plan {
    #[serde(flatten)]
    verdict: Verdict,
    dry_run: bool,
    source: String,
    destination: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<String>,
}

impl Plan {
    /// What `command` would do.
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
        }
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
        sanitize(&text).into_owned()
    }
}
