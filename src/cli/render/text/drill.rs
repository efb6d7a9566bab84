//! The result of `drill`.

use super::Text;
use super::units::{count, seconds, size};
use crate::archive::contents::Kubernetes;
use crate::cli::render::json::drill::DrillReport;
use crate::cli::terminal::printable::sanitize;

impl Text for DrillReport {
    fn text(&self) -> String {
        let mut lines = vec![
            format!("{}: proved by etcd {}", sanitize(&self.archive), sanitize(&self.etcd_version)),
            self.recovery(),
        ];
        lines.extend(self.compared());
        lines.push(format!(
            "then written to, compacted, defragmented, saved and restarted; {} in all",
            seconds(self.duration_ms)
        ));
        lines.extend(self.verdict.text().strip_prefix("; ").map(str::to_owned));
        lines.extend(self.sealed_by.map(|by| format!("sealed by: {}", by.text())));
        lines.extend(self.database.kubernetes.as_ref().map(Kubernetes::text));
        lines.extend(self.remarks.iter().map(|remark| format!("note: {}", sanitize(remark))));
        lines.join("\n  ")
    }
}

impl DrillReport {
    /// How long it took until etcd served.
    fn recovery(&self) -> String {
        format!(
            "recovery in {}: {} to restore {}, {} until etcd served",
            seconds(self.recovery_ms),
            seconds(self.restore_ms),
            count(self.members as u64, "member"),
            seconds(self.boot_ms),
        )
    }

    /// What etcd serves, which is what the archive holds.
    fn compared(&self) -> [String; 2] {
        let database = &self.database;
        let counts = [
            (self.keys, "key"),
            (database.leases, "lease"),
            (database.users, "user"),
            (database.roles, "role"),
        ];
        [
            format!(
                "served as in the archive: {}, revision {}, HashKV {}",
                size(self.snapshot_size),
                database.revision,
                self.hash_kv
            ),
            counts.map(|(number, what)| count(number, what)).join(", "),
        ]
    }
}
