//! What an operator is told of a directory that cannot be used.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Kind};

/// The hint for a permission error.
const PERMISSION_HINT: &str =
    "it needs a directory this user may read and write, on a filesystem mounted for writing";

/// The error for what another user has done in a directory while files are made there.
pub(in crate::store::local) fn meddled(message: String) -> Error {
    Error::new(Kind::Io, message)
        .with_hint("another program or user writes into the same directory: stop that, and run it again")
}

/// The error for a directory that does not exist.
pub(in crate::store) fn missing(path: &Path) -> Error {
    Error::new(Kind::Destination, format!("there is no directory {}", path.display()))
        .with_hint("directories are never created here: is it mounted?")
}

/// The error for a link that another user may have put there.
pub(super) fn foreign_link(link: &Path) -> Error {
    let message = format!(
        "{} is a link in a directory that other users can write, and is not followed",
        link.display()
    );
    Error::new(Kind::Destination, message)
}

/// The error for something else in the place of a directory.
pub(in crate::store) fn not_a_directory(path: &Path) -> Error {
    Error::new(Kind::Destination, format!("{} is not a directory", path.display()))
        .with_hint("name a file in a directory that exists; is its filesystem mounted?")
}

/// Adds a hint only where permissions explain the error.
pub(super) fn refused(action: &str, path: &Path, error: Errno) -> Error {
    let failure = Error::io(action, path.display(), error.into());
    match error {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => failure.with_hint(PERMISSION_HINT),
        _ => failure,
    }
}
