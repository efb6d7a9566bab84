//! Where archives are kept.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::contract::Store;
use super::local::LocalDirectory;

/// A place for archives, as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A directory of a local filesystem; an empty path is the working directory.
    Directory(PathBuf),
}

impl Location {
    /// Parses what an operator wrote: every text is a directory.
    #[must_use]
    pub fn parse(text: impl Into<PathBuf>) -> Self {
        Self::Directory(text.into())
    }

    /// Splits the path of an object, as an operator wrote it, into its location and its name. `None` for what only a directory
    /// can have: a path that ends in `/`, `.` or `..`, or is empty.
    #[must_use]
    pub fn of_object(path: &Path) -> Option<(Self, OsString)> {
        let (directory, name) = (path.parent()?, path.file_name()?);
        let is_at_the_end = path.as_os_str().as_bytes().ends_with(name.as_bytes());
        is_at_the_end.then(|| (Self::Directory(directory.to_owned()), name.to_owned()))
    }

    /// The store at this location. This touches nothing yet.
    #[must_use]
    pub fn store(&self) -> Box<dyn Store> {
        match self {
            Self::Directory(path) => Box::new(LocalDirectory::new(path)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) if path.as_os_str().is_empty() => formatter.write_str("."),
            Self::Directory(path) => path.display().fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_object_is_split_and_that_of_a_directory_is_not() {
        for (path, directory, name) in [
            ("x.age", "", "x.age"),
            ("./x.age", ".", "x.age"),
            ("/x.age", "/", "x.age"),
            ("../b/x.age", "../b", "x.age"),
            ("-", "", "-"),
        ] {
            let expected = (Location::Directory(directory.into()), name.into());
            assert_eq!(Location::of_object(Path::new(path)), Some(expected), "{path}");
        }
        for path in ["", "/", ".", "..", "b/", "b/.", "b/..", "x.age/"] {
            assert_eq!(Location::of_object(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn the_working_directory_is_shown() {
        assert_eq!(Location::parse("").to_string(), ".");
        assert_eq!(Location::parse("/b/").to_string(), "/b/");
    }
}
