//! The end of a command for Prometheus, in the text format of `node_exporter`'s textfile collector.

use crate::archive::manifest::Description;
use crate::cli::exit::Exit;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a command tells of itself as it goes, however it ends. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Facts>>);

#[derive(Default)]
struct Facts {
    /// The cluster, once it is known.
    cluster: Option<String>,
    gauges: Vec<Gauge>,
}

struct Gauge {
    name: &'static str,
    help: &'static str,
    value: String,
}

impl Told {
    /// Names the cluster of a snapshot and when that was taken. A later description replaces an earlier one.
    pub(crate) fn describe(&self, description: &Description) {
        let Description { cluster_name, cluster_id, snapshot_started_at, .. } = description;
        self.facts().cluster = cluster_name.clone().or_else(|| cluster_id.clone());
        if let Some(started) = snapshot_started_at.as_ref().and_then(|time| time.parse::<Timestamp>().ok()) {
            self.gauge("snapshot_timestamp_seconds", "When the snapshot was taken.", &started.as_second());
        }
    }

    /// Sets a number. The name ends in its unit, and the help ends in a full stop.
    pub(crate) fn gauge(&self, name: &'static str, help: &'static str, value: &dyn std::fmt::Display) {
        let mut facts = self.facts();
        facts.gauges.retain(|gauge| gauge.name != name);
        facts.gauges.push(Gauge { name, help, value: value.to_string() });
    }

    /// Sets a time in seconds.
    pub(crate) fn seconds(&self, name: &'static str, help: &'static str, time: Duration) {
        self.gauge(name, help, &seconds(time));
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content of the file at the end of a run. A failure keeps the last success of the file before it; without that, an
    /// alert on its age would fall silent.
    pub(super) fn text(&self, ended: &Ended, before: Option<&LastSuccess>) -> String {
        let facts = self.facts();
        let done = ended.exit == Exit::Done;
        let labels = facts.cluster.as_deref().map(cluster_label);
        // A command that fails early does not know its cluster. One file tells of one cluster.
        let labels = labels.or_else(|| before.map(|before| before.labels.clone())).unwrap_or_default();
        let mut lines = String::new();
        let mut gauge = |name: &str, help: &str, value: &str| {
            let name = format!("etcd_seal_{}_{name}", ended.command);
            let _ = write!(lines, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}\n");
        };
        let now = ended.at.as_second().to_string();
        gauge("success", "Whether the last run ended with exit code 0.", if done { "1" } else { "0" });
        gauge("exit_code", "The exit code of the last run.", &ended.exit.code().to_string());
        gauge("timestamp_seconds", "When the last run ended.", &now);
        gauge("duration_seconds", "How long the last run took.", &seconds(ended.took));
        let success = if done { Some(now) } else { before.map(|before| before.at.to_string()) };
        if let Some(success) = success {
            gauge(LAST_SUCCESS, "When a run last ended with exit code 0.", &success);
        }
        for Gauge { name, help, value } in &facts.gauges {
            gauge(name, help, value);
        }
        lines
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:03}", duration.as_secs(), duration.subsec_millis())
}

/// How a command ended.
pub(super) struct Ended {
    pub(super) command: &'static str,
    pub(super) at: Timestamp,
    pub(super) took: Duration,
    pub(super) exit: Exit,
}

/// The last success that a file tells of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LastSuccess {
    /// Seconds since the epoch.
    at: i64,
    /// The labels with their braces; empty without any.
    labels: String,
}

const LAST_SUCCESS: &str = "last_success_timestamp_seconds";

/// Finds the last success of `command` in a file that [`Told::text`] made.
pub(super) fn last_success(text: &str, command: &str) -> Option<LastSuccess> {
    let name = format!("etcd_seal_{command}_{LAST_SUCCESS}");
    let sample = text.lines().find_map(|line| line.strip_prefix(&name))?;
    let (labels, value) = sample.rsplit_once(' ')?;
    let at = value.parse().ok()?;
    // Labels are taken over as they are, so only such as this program writes.
    let inner = labels.strip_prefix("{cluster=\"").and_then(|rest| rest.strip_suffix("\"}"));
    let ours = labels.is_empty() || inner.is_some_and(|inner| labels == cluster_label(&unescaped(inner)));
    ours.then(|| LastSuccess { at, labels: labels.to_owned() })
}

fn cluster_label(cluster: &str) -> String {
    format!("{{cluster=\"{}\"}}", escaped(cluster))
}

/// Escapes the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => plain.extend(characters.next().map(|next| if next == 'n' { '\n' } else { next })),
            (character, false) => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit: Exit) -> Ended {
        let at = Timestamp::from_second(1_795_000_000).unwrap();
        Ended { command: "drill", at, took: Duration::from_millis(1_050), exit }
    }

    #[test]
    fn a_failure_is_told_and_the_last_success_stays() {
        let told = Told::default();
        told.facts().cluster = Some("a \"b\" \\ c\n".to_owned());
        told.gauge("keys", "The keys.", &3);
        let good = told.text(&ended(Exit::Done), None);
        assert!(good.contains("\netcd_seal_drill_keys{cluster=\"a \\\"b\\\" \\\\ c\\n\"} 3\n"), "{good}");
        let before = last_success(&good, "drill").unwrap();
        assert_eq!(before.at, 1_795_000_000);
        assert_eq!(last_success(&good, "save"), None);

        let later = Ended { at: Timestamp::from_second(1_795_003_600).unwrap(), ..ended(Exit::Damaged) };
        let bad = Told::default().text(&later, Some(&before));
        assert!(
            bad.contains("etcd_seal_drill_duration_seconds{cluster=\"a \\\"b\\\" \\\\ c\\n\"} 1.050\n"),
            "{bad}"
        );
        for (name, value) in [("success", "0"), ("exit_code", "13"), ("timestamp_seconds", "1795003600")] {
            assert!(bad.contains(&format!("\netcd_seal_drill_{name}{} {value}\n", before.labels)), "{bad}");
        }
        assert_eq!(last_success(&bad, "drill").unwrap(), before);
        assert!(!bad.contains("keys"), "{bad}");
    }

    #[test]
    fn what_this_program_did_not_write_is_not_taken_over() {
        let name = "etcd_seal_save_last_success_timestamp_seconds";
        for foreign in
            ["{cluster=\"a\",b=\"c\"} 1", "{cluster=\"a\"} x", "{cluster=\"a\"} 1 2", "{x} 1", "_other 1", ""]
        {
            assert_eq!(last_success(&format!("{name}{foreign}\n"), "save"), None, "{foreign}");
        }
        assert!(last_success(&format!("{name} 7\n"), "save").is_some_and(|last| last.at == 7));
    }
}
