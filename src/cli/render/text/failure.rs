//! A failure, with its hint.

use crate::cli::options::{hint, with_flags};
use crate::cli::terminal::printable::sanitize;
use crate::error::Error;
use std::error::Error as _;
use std::fmt::Write as _;

/// `etcd-seal: error: …`, `etcd-seal: hint: …`, and under `-v` the causes.
pub(crate) fn failure_text(error: &Error, verbose: bool) -> String {
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
