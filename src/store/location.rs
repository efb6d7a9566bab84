//! Where archives are kept.

use std::path::PathBuf;

use super::contract::Store;
use super::local::LocalDirectory;

/// A place for archives, as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A directory of a local filesystem.
    Directory(PathBuf),
}

impl Location {
    /// Parses what an operator wrote: every text is a directory.
    #[must_use]
    pub fn parse(text: impl Into<PathBuf>) -> Self {
        Self::Directory(text.into())
    }

    /// The store at this location. This touches nothing yet.
    #[must_use]
    pub fn store(&self) -> Box<dyn Store> {
        match self {
            Self::Directory(path) => Box::new(LocalDirectory::new(path)),
        }
    }
}
