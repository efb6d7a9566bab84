//! Prints the end of a command to the right stream.

use super::json::failure::Failure;
use super::json::{Report, json_line};
use super::tally::Tally;
use super::text::Text;
use super::text::failure::failure_text;
use crate::cli::exit::Exit;
use crate::cli::terminal::console::Console;
use crate::cli::terminal::log::Verbosity;
use crate::cli::terminal::printable::without_private_keys;
use crate::error::{Error, Result};
use std::io;
use std::io::Write as _;
use std::path::Path;

/// Prints results and failures to the right stream.
#[derive(Clone)]
pub(crate) struct Reporter {
    /// `--json`.
    pub(crate) json: bool,
    /// `-q` and `-v`.
    pub(crate) verbosity: Verbosity,
    /// Whether standard output carries an archive or a snapshot, so that the result goes to standard error.
    pub(crate) stdout_is_taken: bool,
    /// Standard error.
    pub(crate) console: Console,
}

impl Reporter {
    /// Prints a result, and a failure after the commit beside it; returns the exit code.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::error::Kind::Io) when standard output fails. A closed pipe is no error: the work is done, and the exit status
    /// says so.
    pub(crate) fn result(&self, report: &(impl Report + Text)) -> Result<Exit> {
        self.console.tell_left_out_warnings();
        let verdict = report.verdict();
        let quiet = self.verbosity == Verbosity::Quiet;
        if quiet && !self.json && !report.is_the_answer() && verdict.exit_code == Exit::Done {
            return Ok(Exit::Done);
        }
        let told = self.put(&if self.json { json_line(report) } else { self.signed(report) });
        if let Some(error) = verdict.unfinished.as_ref().filter(|_| !self.json) {
            self.tell(error);
        }
        told.map(|()| verdict.exit_code)
    }

    /// Prints how many of several archives passed; neither under `-q` nor as JSON, which has an object for each of them.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::error::Kind::Io) when standard output fails.
    pub(crate) fn tally(&self, tally: Tally) -> Result<()> {
        let wanted = !self.json && self.verbosity != Verbosity::Quiet;
        tally.text().filter(|_| wanted).map_or(Ok(()), |text| self.put(&text))
    }

    /// Prints a failure, with the path of the archive where there are several.
    pub(crate) fn failure(&self, error: &Error, exit: Exit, path: Option<&Path>) {
        self.console.tell_left_out_warnings();
        if self.json {
            // Standard output may be what failed, and then nothing can report it.
            let _ = self.put(&json_line(&Failure::new(error, exit, path)));
        } else {
            self.tell(error);
        }
    }

    fn tell(&self, error: &Error) {
        let verbose = self.verbosity == Verbosity::Verbose;
        self.console.write(&failure_text(error, verbose, self.console.style()));
    }

    /// The text, on a terminal behind a sign of how much was proved.
    fn signed(&self, report: &(impl Report + Text)) -> String {
        let text = report.text();
        if report.is_the_answer() {
            return text;
        }
        let console = &self.console;
        let style = if self.stdout_is_taken { console.style() } else { console.stdout_style() };
        style.sign(report.verdict().exit_code) + &text
    }

    fn put(&self, text: &str) -> Result<()> {
        let lines = format!("{text}\n");
        if self.stdout_is_taken {
            self.console.write(&lines);
            return Ok(());
        }
        put_on_stdout(&without_private_keys(&lines)).map_err(|error| error.with_hint(REPORT_LOST))
    }
}

/// The hint when a report cannot be printed.
const REPORT_LOST: &str =
    "what was asked for was done, only this report of it is lost; look where standard output goes";

/// Writes to standard output; a closed pipe is no error.
///
/// # Errors
/// [`Kind::Io`](crate::error::Kind::Io).
pub(crate) fn put_on_stdout(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("write the result to", "standard output", error))
        }
        _ => Ok(()),
    }
}
