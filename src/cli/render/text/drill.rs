//! The result of `drill`.

use super::Text;
use super::units::{count, seconds, size};
use crate::cli::render::json::drill::DrillReport;
use crate::cli::terminal::printable::sanitize;
use std::fmt::Write as _;

impl Text for DrillReport {
    fn text(&self) -> String {
        let mut text = format!(
            "{}: proved: {} of etcd {} served it {} after the first byte was read ({} to restore, {} to start)",
            sanitize(&self.archive),
            count(self.members as u64, "member"),
            sanitize(&self.etcd_version),
            seconds(self.recovery_ms),
            seconds(self.restore_ms),
            seconds(self.boot_ms),
        );
        let database = &self.database;
        let _ = write!(
            text,
            "; database of {}, revision {}, HashKV {}, {}, {}, {}, {}, all as in the archive; writes, \
             compaction, defragmentation, another save and a restart went well, {}{}",
            size(self.snapshot_size),
            database.revision,
            self.hash_kv,
            count(self.keys, "key"),
            count(database.leases, "lease"),
            count(database.users, "user"),
            count(database.roles, "role"),
            seconds(self.duration_ms),
            self.verdict.text()
        );
        if let Some(sealed_by) = self.sealed_by {
            let _ = write!(text, "\nsealed by: {}", sealed_by.text());
        }
        if let Some(kubernetes) = &self.database.kubernetes {
            let _ = write!(text, "\n{}", kubernetes.text());
        }
        for remark in &self.remarks {
            let _ = write!(text, "\nnote: {}", sanitize(remark));
        }
        text
    }
}
