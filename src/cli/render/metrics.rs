//! The result of a drill for Prometheus, in the text format of `node_exporter`'s textfile collector.

use super::verdict::Proved;
use crate::archive::manifest::Description;
use crate::cli::exit::Exit;
use crate::pipeline::drill::Drilled;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::time::Duration;

/// The prefix of every name.
const PREFIX: &str = "etcd_seal_drill_";

/// The facts at the end of a drill.
pub(crate) struct DrillMetrics<'a> {
    /// When the drill ended.
    pub(crate) ended: Timestamp,
    /// How long it took.
    pub(crate) took: Duration,
    /// The archive's description, if it has one.
    pub(crate) description: Option<&'a Description>,
    /// What the drill proved, or the exit code of its failure.
    pub(crate) outcome: Result<&'a Drilled, Exit>,
}

impl DrillMetrics<'_> {
    /// The content of the file.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let mut text = Text { label: self.label(), lines: String::new() };
        let exit = self.outcome.map_or_else(|exit| exit, |drilled| Proved::by(drilled.digest).exit());
        let success = u8::from(self.outcome.is_ok());
        text.gauge("success", "Whether the last drill proved its archive.", &success);
        text.gauge("exit_code", "The exit code of the last drill.", &exit.code());
        text.gauge("timestamp_seconds", "When the last drill ended.", &self.ended.as_second());
        text.gauge("duration_seconds", "How long the last drill took.", &seconds(self.took));
        if let Some(started) = self.snapshot_started() {
            let help = "When the snapshot of the last drill was taken.";
            text.gauge("snapshot_timestamp_seconds", help, &started.as_second());
        }
        let Ok(drilled) = self.outcome else { return text.lines };
        let times = drilled.times;
        text.gauge("recovery_seconds", "The measured time to recovery.", &seconds(times.recovery()));
        text.gauge(
            "restore_seconds",
            "The part of it until members were on the disk.",
            &seconds(times.restore),
        );
        text.gauge("boot_seconds", "The part of it until etcd served.", &seconds(times.boot));
        text.gauge("revision", "The revision in the archive.", &drilled.contents.revision);
        text.gauge("keys", "The keys in the archive.", &drilled.keys.count);
        text.gauge("snapshot_bytes", "The size of the snapshot in the archive.", &drilled.snapshot_size);
        text.lines
    }

    fn snapshot_started(&self) -> Option<Timestamp> {
        self.description?.snapshot_started_at.as_ref()?.parse().ok()
    }

    /// `{cluster="…"}` if the archive names a cluster.
    fn label(&self) -> String {
        let cluster = self
            .description
            .and_then(|description| description.cluster_name.as_ref().or(description.cluster_id.as_ref()));
        cluster.map(|cluster| format!("{{cluster=\"{}\"}}", escaped(cluster))).unwrap_or_default()
    }
}

/// Escapes the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:03}", duration.as_secs(), duration.subsec_millis())
}

struct Text {
    label: String,
    lines: String,
}

impl Text {
    fn gauge(&mut self, name: &str, help: &str, value: &dyn std::fmt::Display) {
        let label = &self.label;
        let _ = write!(
            self.lines,
            "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} gauge\n{PREFIX}{name}{label} {value}\n"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told() {
        let metrics = DrillMetrics {
            ended: Timestamp::from_second(1_795_000_000).unwrap(),
            took: Duration::from_millis(1_050),
            description: None,
            outcome: Err(Exit::Damaged),
        };
        let text = metrics.text();
        assert!(text.contains("\netcd_seal_drill_success 0\n"), "{text}");
        assert!(text.contains("\netcd_seal_drill_exit_code 13\n"), "{text}");
        assert!(text.contains("\netcd_seal_drill_duration_seconds 1.050\n"), "{text}");
        assert!(!text.contains("recovery"), "{text}");
    }

    #[test]
    fn labels_cannot_be_broken_out_of() {
        assert_eq!(escaped("a\"} 1\n\\"), "a\\\"} 1\\n\\\\");
    }
}
