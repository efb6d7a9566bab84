//! A stand-in for `store::destination`, of the same shape.

use crate::error::{Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A place to write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An existing directory, for an archive with an automatic name.
    Directory(PathBuf),
    /// A file, existing or not, in an existing directory.
    File {
        /// The directory.
        directory: PathBuf,
        /// The file's name in it.
        name: OsString,
    },
    /// Standard output.
    Stdout,
}

impl Destination {
    /// The destination of an archive.
    ///
    /// # Errors
    /// [`Kind::Destination`].
    pub fn for_archive(text: &OsStr) -> Result<Self> {
        if Path::new(text).is_dir() {
            return Ok(Self::Directory(text.into()));
        }
        Self::for_snapshot(text)
    }

    /// The destination of a snapshot.
    ///
    /// # Errors
    /// [`Kind::Destination`].
    pub fn for_snapshot(text: &OsStr) -> Result<Self> {
        if text == "-" {
            return Ok(Self::Stdout);
        }
        let path = Path::new(text);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match path.file_name() {
            Some(name) if parent.is_dir() => Ok(Self::File { directory: parent.into(), name: name.into() }),
            _ => Err(Error::new(Kind::Destination, format!("there is no directory {}", parent.display()))),
        }
    }
}
