//! Standard error, with its log lines and progress bar, and the state of the standard streams.

use super::printable::without_private_keys;
use super::repeats::Repeats;
use super::style::{Label, Style, is_dumb};
use crate::cli::settings::environment::Environment;
use indicatif::ProgressBar;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::callsite::Identifier;

/// The controlling terminal, whatever the standard streams are.
pub(crate) const TTY: &str = "/dev/tty";

/// Standard error, shared by log lines, progress bar, errors and results, and the styles of both outputs.
#[derive(Clone, Default)]
pub(crate) struct Console {
    shared: Arc<Mutex<Shared>>,
    styles: Styles,
}

/// How the standard streams show what stands out.
#[derive(Clone, Copy, Default)]
struct Styles {
    stdout: Style,
    stderr: Style,
    /// Whether standard error is a terminal on which a bar can be drawn.
    has_bar: bool,
}

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
    /// The console of this process.
    pub(crate) fn of_process(environment: &Environment) -> Self {
        let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let styles = Styles {
            stdout: Style::of(stdout, environment),
            stderr: Style::of(stderr, environment),
            has_bar: stderr && !is_dumb(environment),
        };
        Self { shared: Arc::default(), styles }
    }

    /// The style of standard error.
    pub(crate) fn style(&self) -> Style {
        self.styles.stderr
    }

    /// The style of standard output.
    pub(crate) fn stdout_style(&self) -> Style {
        self.styles.stdout
    }

    /// Whether a progress bar can be drawn.
    pub(crate) fn has_bar(&self) -> bool {
        self.styles.has_bar
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Records a warning with this text; false if too many of its kind were shown already.
    pub(super) fn shows(&self, kind: Identifier, text: &str) -> bool {
        self.shared().repeats.shows(kind, text)
    }

    /// Reports how many warnings were left out since the last call because there were too many of their kind.
    pub(crate) fn tell_left_out_warnings(&self) {
        let lines = self.shared().repeats.take_left_out(&self.style().label(Label::Warning));
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
