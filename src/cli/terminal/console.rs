//! Standard error, with its log lines and progress bar, and the state of the standard streams.

use super::printable::{sanitize, without_private_keys};
use super::repeats::Repeats;
use crate::cli::options::with_flags;
use indicatif::ProgressBar;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// The controlling terminal, whatever the standard streams are.
pub(crate) const TTY: &str = "/dev/tty";

/// Standard error, shared by log lines, progress bar, errors and results.
#[derive(Clone, Default)]
pub(crate) struct Console(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    /// The bar on the last line, which is suspended while other lines are written.
    bar: Option<ProgressBar>,
    /// The terminal settings before a question without echo.
    before_question: Option<Termios>,
    /// The warnings shown so far; the call site identifies the kind of a warning.
    repeats: Repeats<Identifier>,
}

impl Console {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `bar`, or none, on the last line.
    pub(crate) fn set_bar(&self, bar: Option<ProgressBar>) {
        self.shared().bar = bar;
    }

    /// Writes whole lines. Failures to write are ignored, as standard error is where they would be reported.
    pub(crate) fn write(&self, lines: &str) {
        let bar = self.shared().bar.clone();
        let lines = without_private_keys(lines);
        let write = || {
            let _ = io::stderr().lock().write_all(lines.as_bytes());
        };
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Reports how many warnings were left out since the last call because there were too many of their kind.
    pub(crate) fn tell_left_out_warnings(&self) {
        let lines = self.shared().repeats.take_left_out();
        if !lines.is_empty() {
            self.write(&lines);
        }
    }

    /// Notes how `tty` is before a question without echo, so that [`Self::restore`] can restore it.
    pub(crate) fn question_begins(&self, tty: &File) {
        self.shared().before_question = tcgetattr(tty).ok();
    }

    /// The question is answered, and the terminal as it was.
    pub(crate) fn question_ends(&self) {
        self.shared().before_question = None;
    }

    /// Restores the terminal's echo and removes the bar, before the process exits.
    pub(crate) fn restore(&self) {
        let (bar, before) = {
            let mut shared = self.shared();
            (shared.bar.take(), shared.before_question.take())
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        if let Some(before) = before
            && let Ok(tty) = File::open(TTY)
        {
            let _ = tcsetattr(&tty, OptionalActions::Now, &before);
            // The cursor is still behind the question.
            self.write("\n");
        }
    }
}

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
pub(crate) fn install_log(console: &Console, verbosity: Verbosity) {
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
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG | Level::TRACE => "debug: ",
        };
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        let text = with_flags(&text);
        let text = sanitize(&text);
        let metadata = event.metadata();
        if *metadata.level() == Level::WARN && !self.0.shared().repeats.shows(metadata.callsite(), &text) {
            return Ok(());
        }
        writeln!(writer, "etcd-seal: {level}{text}")
    }
}

/// Whether standard output is a terminal, which gets no archive and no snapshot.
#[must_use]
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The device number of `/dev/null` on Linux, see `Documentation/admin-guide/devices.txt` of the kernel.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// Whether the program was started with standard output closed. Before `main`, the standard library opens `/dev/null`
/// for reading and writing in its place, so that no file takes its number; a shell opens `>/dev/null` for writing only.
#[must_use]
pub(crate) fn stdout_is_closed() -> bool {
    use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major, minor};
    let stdout = io::stdout();
    let null = fstat(&stdout).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (major(stat.st_rdev), minor(stat.st_rdev)) == NULL_DEVICE
    });
    null && fcntl_getfl(&stdout).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDWR)
}

/// Whether standard error is a terminal.
#[must_use]
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}
