//! The result of `restore --data-dir` and `restore --output-dir`, with how to start etcd on it.

use super::Text;
use super::units::{seconds, size};
use crate::cli::render::json::member::MemberReport;
use crate::cli::terminal::printable::{quoted, sanitize};
use crate::pipeline::instructions::{etcd_command, quota};
use crate::pipeline::member::INSTRUCTIONS;
use std::fmt::Write as _;

/// The line before it where the database is large.
const QUOTA: &str =
    "etcd takes no write beyond its quota, 2 GiB by default: this database needs --quota-backend-bytes";

impl Text for MemberReport {
    fn text(&self) -> String {
        let mut text = format!("{}: ", sanitize(&self.path));
        let names: Vec<String> =
            self.members.iter().map(|member| format!("{} ({})", quoted(&member.name), member.id)).collect();
        let members = if names.len() == 1 { "member" } else { "members" };
        let _ = write!(text, "{members} {} of the new cluster {}", names.join(", "), self.cluster_id);
        let _ =
            write!(text, ", database of {}, revision {}", size(self.snapshot_size), self.database.revision);
        if let (Some(by), Some(to)) = (self.database.bumped_by, self.database.bumped_to) {
            let _ = write!(text, " raised by {by} to {to}");
        }
        let _ = write!(text, ", {}{}", seconds(self.duration_ms), self.verdict.text());
        let _ = write!(text, "\nfrom {}", self.source.text());
        if let Some(directory) = &self.data_directory {
            let _ = write!(text, "\n  {}", directory.text());
        }
        if let Some(sealed_by) = self.sealed_by {
            let _ = write!(text, "\nsealed by: {}", sealed_by.text());
        }
        match &self.members[..] {
            [member] if member.etcd_flags.first().is_some_and(|flag| flag.starts_with("--data-dir=")) => {
                if quota(self.snapshot_size).is_some() {
                    let _ = write!(text, "\n{QUOTA}");
                }
                let command = etcd_command(&member.etcd_flags);
                let release = self.release.map(|release| format!(" {release} or newer")).unwrap_or_default();
                let _ = write!(
                    text,
                    "\nstart etcd{release} so, with the client URLs and TLS flags that its configuration has:\n{}",
                    sanitize(&command)
                );
            }
            _ => {
                let _ = write!(text, "\n{INSTRUCTIONS} beside each member says how to go on");
            }
        }
        text
    }
}
