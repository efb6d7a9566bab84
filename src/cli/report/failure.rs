//! The report of a failure, with its hint.

use crate::cli::exit::Exit;
use crate::cli::options::{hint, with_flags};
use crate::cli::terminal::printable::sanitize;
use crate::error::{Error, Kind};
use serde::Serialize;
use std::borrow::Cow;
use std::error::Error as _;
use std::fmt::Write as _;
use std::path::Path;

/// `etcd-seal: error: …`, `etcd-seal: hint: …`, and under `-v` the causes.
pub(super) fn failure_text(error: &Error, verbose: bool) -> String {
    let message = with_flags(&error.to_string()).into_owned();
    let mut text = format!("etcd-seal: error: {}\n", sanitize(&message));
    if verbose {
        let mut said = message;
        let mut cause = error.source();
        while let Some(source) = cause {
            let told = with_flags(&source.to_string()).into_owned();
            // Many errors contain the text of their cause.
            if !said.contains(&told) {
                let _ = writeln!(text, "etcd-seal: cause: {}", sanitize(&told));
            }
            said = told;
            cause = source.source();
        }
    }
    let _ = writeln!(text, "etcd-seal: hint: {}", sanitize(&hint(error)));
    text
}

/// A failure as JSON.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    pub(super) ok: bool,
    pub(super) exit_code: Exit,
    pub(super) kind: &'a str,
    pub(super) error: String,
    pub(super) hint: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damaged_from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damaged_to: Option<u64>,
}

impl<'a> Failure<'a> {
    pub(super) fn new(error: &'a Error, exit: Exit, path: Option<&Path>) -> Self {
        let damaged = error.damaged();
        Self {
            ok: false,
            exit_code: exit,
            kind: error.kind().name(),
            error: with_flags(&error.to_string()).into_owned(),
            hint: hint(error),
            path: path.map(|path| path.display().to_string()),
            damaged_from: damaged.as_ref().map(|range| range.start),
            damaged_to: damaged.as_ref().map(|range| range.end),
        }
    }
}

/// The error of an interrupted command.
#[must_use]
pub(crate) fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}
