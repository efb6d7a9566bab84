//! The log of the process: warnings and, under `-v`, what else it tells, as sentences on standard error.

use super::console::Console;
use super::printable::sanitize;
use super::style::Label;
use crate::cli::options::with_flags;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// One formatted log event.
pub(crate) struct ConsoleWriter(Console);

impl Write for ConsoleWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An event that was only counted is formatted as no bytes.
        if !bytes.is_empty() {
            self.0.write(&String::from_utf8_lossy(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = ConsoleWriter;

    fn make_writer(&'a self) -> Self::Writer {
        ConsoleWriter(self.clone())
    }
}

/// The verbosity of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// `-q`.
    Quiet,
    /// Neither `-q` nor `-v`.
    Normal,
    /// `-v`.
    Verbose,
}

/// Installs the log of the process, which writes to `console`.
pub(crate) fn install(console: &Console, verbosity: Verbosity) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::{Layer, SubscriberExt};
    use tracing_subscriber::util::SubscriberInitExt;
    let (ours, others) = match verbosity {
        Verbosity::Quiet => (LevelFilter::WARN, LevelFilter::OFF),
        Verbosity::Normal => (LevelFilter::INFO, LevelFilter::OFF),
        Verbosity::Verbose => (LevelFilter::DEBUG, LevelFilter::INFO),
    };
    let filter = Targets::new().with_target("etcd_seal", ours).with_default(others);
    let lines =
        tracing_subscriber::fmt::layer().event_format(Lines(console.clone())).with_writer(console.clone());
    // This fails only if a log is installed already, which then stays in use.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// The fields of an event, which become one sentence.
#[derive(Default)]
struct Sentence {
    subject: Option<String>,
    message: String,
    error: Option<String>,
    others: String,
}

impl Sentence {
    /// `subject: message: error (other fields)`.
    fn text(self) -> String {
        let Self { subject, message, error, others } = self;
        let parts: Vec<String> = [subject, Some(message), error].into_iter().flatten().collect();
        parts.join(": ") + &others
    }
}

impl Visit for Sentence {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" => self.error = Some(format!("{value:?}")),
            "endpoint" | "path" => self.subject = Some(format!("{value:?}")),
            other => {
                let _ = write!(self.others, " ({other} {value:?})");
            }
        }
    }
}

/// Formats `etcd-seal: warning: …` in lower case, without the time, which cron and the journal add. If there are too many
/// warnings of one kind, it only counts them on this console.
struct Lines(Console);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let style = self.0.style();
        let label = match *event.metadata().level() {
            Level::ERROR => style.label(Label::Error),
            Level::WARN => style.label(Label::Warning),
            Level::INFO => "etcd-seal: ".to_owned(),
            Level::DEBUG | Level::TRACE => style.label(Label::Debug),
        };
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        let text = sentence.text();
        let text = with_flags(&text);
        let text = sanitize(&text);
        let metadata = event.metadata();
        if *metadata.level() == Level::WARN && !self.0.shows(metadata.callsite(), &text) {
            return Ok(());
        }
        writeln!(writer, "{label}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_an_event_are_a_sentence() {
        let sentence = |subject: Option<&str>, error: Option<&str>, others: &str| {
            let (subject, error) = (subject.map(str::to_owned), error.map(str::to_owned));
            Sentence { subject, message: "cannot lock".to_owned(), error, others: others.to_owned() }.text()
        };
        assert_eq!(sentence(None, None, ""), "cannot lock");
        assert_eq!(sentence(Some("/x"), Some("no"), " (mode 0)"), "/x: cannot lock: no (mode 0)");
    }
}
