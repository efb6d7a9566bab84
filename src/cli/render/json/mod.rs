//! Results and failures as JSON: the fields are those of the structs here, and a line that is safe on a terminal.

pub(crate) mod contents;
pub(crate) mod data_directory;
pub(crate) mod drill;
pub(crate) mod failure;
pub(crate) mod info;
pub(crate) mod keygen;
pub(crate) mod member;
pub(crate) mod plan;
pub(crate) mod restore;
pub(crate) mod save;
pub(crate) mod source;
mod units;
pub(crate) mod verify;

pub(crate) use units::ratio;

use super::verdict::Verdict;
use crate::cli::terminal::printable::is_tricky;
use serde::Serialize;
use std::fmt::Write as _;

/// A result, whose fields are what `--json` prints.
pub(crate) trait Report: Serialize {
    /// The first fields of the result.
    fn verdict(&self) -> &Verdict;
    /// Whether the report is what the user asked for, so that even `-q` prints it; others only confirm success.
    fn is_the_answer(&self) -> bool {
        false
    }
}

/// One line of JSON that is safe on a terminal: the characters that [`sanitize`](crate::cli::terminal::printable::sanitize) escapes occur only in strings, where JSON
/// has its own escapes for them.
pub(crate) fn json_line(value: &impl Serialize) -> String {
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
