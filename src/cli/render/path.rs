//! How paths are shown.

use std::path::Path;

/// Formats a path for results, `-` for a standard stream.
#[must_use]
pub(crate) fn shown(path: Option<&Path>) -> String {
    let Some(path) = path else { return "-".to_owned() };
    // The store returns a bare file name as a file in `.`.
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
