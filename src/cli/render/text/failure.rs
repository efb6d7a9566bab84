//! A failure, with its hint.

use crate::cli::options::{hint, with_flags};
use crate::cli::terminal::printable::sanitize;
use crate::cli::terminal::style::{Label, Style};
use crate::error::Error;
use std::error::Error as _;
use std::fmt::Write as _;

/// `etcd-seal: error: …`, `etcd-seal: hint: …`, and under `-v` the causes.
pub(crate) fn failure_text(error: &Error, verbose: bool, style: Style) -> String {
    let message = with_flags(&error.to_string()).into_owned();
    let mut text = format!("{}{}\n", style.label(Label::Error), sanitize(&message));
    if verbose {
        let mut said = message;
        let mut cause = error.source();
        while let Some(source) = cause {
            let told = with_flags(&source.to_string()).into_owned();
            // Many errors contain the text of their cause.
            if !said.contains(&told) {
                let _ = writeln!(text, "{}{}", style.label(Label::Cause), sanitize(&told));
            }
            said = told;
            cause = source.source();
        }
    }
    let _ = writeln!(text, "{}{}", style.label(Label::Hint), sanitize(&hint(error)));
    text
}
