//! Rules for Prometheus on the metrics of `save` and `drill`.

use std::time::Duration;

/// What a run may be late by, beside a second interval.
const SLACK: Duration = Duration::from_secs(10 * 60);
/// How long a rule waits where no metric says when the last run was.
const WAIT: Duration = Duration::from_secs(15 * 60);

/// The rules for backups that are made, and drilled, at these intervals.
#[must_use]
pub(super) fn rules(every: Duration, drill_every: Duration) -> String {
    let late = |every: Duration| (every * 2 + SLACK).as_secs();
    include_str!("alerts.yml")
        .replace("BACKUP_SECONDS", &late(every).to_string())
        .replace("DRILL_SECONDS", &late(drill_every).to_string())
        .replace("WAIT", &format!("{}m", WAIT.as_secs() / 60))
}
