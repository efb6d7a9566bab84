//! Reports the end of a command: the result in one line or as JSON, or the failure and its hint.
//!
//! Both forms of every report are here. Names, notes and all other foreign text go through `sanitize`; JSON keeps every
//! value exactly and escapes the same characters in its own way.

mod contents;
mod drill;
mod failure;
mod info;
mod keygen;
mod member;
mod metrics;
mod path;
mod plan;
mod restore;
mod save;
mod source;
mod units;
mod verdict;
mod verify;

pub(crate) use drill::DrillReport;
pub(crate) use failure::interrupted;
pub(crate) use info::InfoReport;
pub(crate) use keygen::KeygenReport;
pub(crate) use member::{Made, MemberDirectories, MemberReport};
pub(crate) use metrics::DrillMetrics;
pub(crate) use path::shown;
pub(crate) use plan::Plan;
pub(crate) use restore::RestoreReport;
pub(crate) use save::SaveReport;
pub(crate) use source::SourceReport;
pub(crate) use units::{count, rate, ratio, size};
pub(crate) use verify::{SidecarState, VerifyReport};

use crate::cli::exit::Exit;
use crate::cli::terminal::console::{Console, Verbosity};
use crate::cli::terminal::printable::{is_tricky, without_private_keys};
use crate::error::{Error, Result};
use failure::{Failure, failure_text};
use serde::Serialize;
use std::fmt::Write as _;
use std::io;
use std::io::Write as _;
use std::path::Path;
use verdict::Verdict;

/// A result that can be printed as text and as JSON.
pub(crate) trait Report: Serialize {
    /// The text for the user: one line, or several for `info`, without the final newline.
    fn text(&self) -> String;
    /// The first fields of the result.
    fn verdict(&self) -> &Verdict;
    /// Whether the report is what the user asked for, so that even `-q` prints it; others only confirm success.
    fn is_the_answer(&self) -> bool {
        false
    }
}

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
    /// [`Kind::Io`] when standard output fails. A closed pipe is no error: the work is done, and the exit status
    /// says so.
    pub(crate) fn result(&self, report: &impl Report) -> Result<Exit> {
        self.console.tell_left_out_warnings();
        let verdict = report.verdict();
        let quiet = self.verbosity == Verbosity::Quiet;
        if quiet && !self.json && !report.is_the_answer() && verdict.exit_code == Exit::Done {
            return Ok(Exit::Done);
        }
        let told = self.put(&if self.json { json_line(report) } else { report.text() });
        if let Some(error) = verdict.unfinished.as_ref().filter(|_| !self.json) {
            self.console.write(&failure_text(error, self.verbosity == Verbosity::Verbose));
        }
        told.map(|()| verdict.exit_code)
    }

    /// Prints a failure, with the path of the archive where there are several.
    pub(crate) fn failure(&self, error: &Error, exit: Exit, path: Option<&Path>) {
        self.console.tell_left_out_warnings();
        if self.json {
            // Standard output may be what failed, and then nothing can report it.
            let _ = self.put(&json_line(&Failure::new(error, exit, path)));
        } else {
            self.console.write(&failure_text(error, self.verbosity == Verbosity::Verbose));
        }
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
/// [`Kind::Io`].
pub(crate) fn put_on_stdout(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::io("write the result to", "standard output", error))
        }
        _ => Ok(()),
    }
}

/// One line of JSON that is safe on a terminal: the characters that [`sanitize`] escapes occur only in strings, where JSON
/// has its own escapes for them.
fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value)
        .unwrap_or_else(|error| format!("{{\"ok\":false,\"error\":\"cannot be told as JSON: {error}\"}}"));
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if is_tricky(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
    line
}

/// Joins several lines into one.
#[must_use]
pub(crate) fn one_line<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
