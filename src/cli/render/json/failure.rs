//! The fields of a failure.

use crate::cli::exit::Exit;
use crate::cli::options::{hint, with_flags};
use crate::error::Error;
use serde::Serialize;
use std::borrow::Cow;
use std::path::Path;

/// A failure as JSON.
#[derive(Serialize)]
pub(crate) struct Failure<'a> {
    pub(crate) ok: bool,
    pub(crate) exit_code: Exit,
    pub(crate) kind: &'a str,
    pub(crate) error: String,
    pub(crate) hint: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) damaged_from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) damaged_to: Option<u64>,
}

impl<'a> Failure<'a> {
    pub(crate) fn new(error: &'a Error, exit: Exit, path: Option<&Path>) -> Self {
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
