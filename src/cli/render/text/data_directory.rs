//! What was found in a data directory, on one line.

use super::Text;
use super::units::{seconds, size};
use crate::cli::render::json::data_directory::{DataDirectoryReport, SalvageReport};
use crate::cli::terminal::printable::sanitize;

impl DataDirectoryReport {
    /// `revision 48213, 17 more than the db file alone, replayed by etcd 3.5.30`
    pub(crate) fn text(&self) -> String {
        let won = match self.revisions_won {
            0 => "as in the db file alone".to_owned(),
            more => format!("{more} more than the db file alone"),
        };
        format!("revision {}, {won}, replayed by etcd {}", self.revision, sanitize(&self.replayed_by))
    }
}

impl Text for SalvageReport {
    fn text(&self) -> String {
        format!(
            "{}: snapshot of {}, {}{}\n  from {}: {}",
            sanitize(&self.path),
            size(self.snapshot_size),
            seconds(self.duration_ms),
            self.verdict.text(),
            sanitize(&self.data_directory.path),
            self.data_directory.text(),
        )
    }
}
