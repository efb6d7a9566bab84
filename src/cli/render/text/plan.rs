//! What `--dry-run` would do.

use super::Text;
use crate::cli::render::json::plan::Plan;
use crate::cli::terminal::printable::sanitize;
use std::fmt::Write as _;

impl Text for Plan {
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
