//! Parses the destination that the operator named.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::local::{missing, not_a_directory};
use super::location::Location;
use super::name::ARCHIVE_SUFFIX;
use super::remote::{Purpose, elsewhere};
use crate::error::{Error, Kind, Result};

/// Where to write something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A store that is there.
    Store {
        /// Where it is.
        location: Location,
        /// The name of the object in it, which may exist; `None` for an archive with an automatic name.
        name: Option<OsString>,
    },
    /// Standard output.
    Stdout,
}

impl Destination {
    /// Parses the destination of an archive: `-`, an existing directory, or a file ending in `.age`. It never creates a
    /// directory: an unmounted `/backups` must not become a file on the root disk.
    ///
    /// # Errors
    /// [`Kind::Destination`] where it is none of them, [`Kind::Io`] where the program cannot find that out.
    pub fn for_archive(text: impl AsRef<OsStr>) -> Result<Self> {
        let text = text.as_ref();
        if text == "-" {
            return Ok(Self::Stdout);
        }
        Self::local_archive(text).map_err(|error| or_elsewhere(error, text, Purpose::NewArchive))
    }

    fn local_archive(text: &OsStr) -> Result<Self> {
        let path = Path::new(text);
        if means_a_directory(text)? {
            check_directory(path)?;
            return Ok(Self::with_automatic_name(path));
        }
        if is_directory(path)? == Some(true) {
            return Ok(Self::with_automatic_name(path));
        }
        if !text.as_bytes().ends_with(ARCHIVE_SUFFIX) {
            let message = format!("{} is no directory and does not end in .age", path.display());
            return Err(Error::new(Kind::Destination, message).with_hint(
                "a directory must exist (is it mounted?), and the name of an archive ends in .age",
            ));
        }
        Self::file(path)
    }

    /// Parses the destination of a snapshot (`restore -o`): `-`, or a file of any name.
    ///
    /// # Errors
    /// [`Kind::Destination`] for a directory or a file in a missing one, [`Kind::Io`] where the program cannot find that
    /// out.
    pub fn for_snapshot(text: impl AsRef<OsStr>) -> Result<Self> {
        let text = text.as_ref();
        Self::for_file(text, "snapshot.db").map_err(|error| or_elsewhere(error, text, Purpose::NewSnapshot))
    }

    /// Parses the destination of an identity (`keygen -o`): `-`, or a file of any name.
    ///
    /// # Errors
    /// The errors of [`Self::for_snapshot`].
    pub fn for_key(text: impl AsRef<OsStr>) -> Result<Self> {
        Self::for_file(text, "key.txt")
    }

    /// `example` is a possible name for a file in a directory, for the hint.
    fn for_file(text: impl AsRef<OsStr>, example: &str) -> Result<Self> {
        let text = text.as_ref();
        if text == "-" {
            return Ok(Self::Stdout);
        }
        let path = Path::new(text);
        if means_a_directory(text)? || is_directory(path)? == Some(true) {
            let example = path.join(example);
            return Err(Error::new(Kind::Destination, format!("{} is a directory", path.display()))
                .with_hint(format!("name a file, such as {}", example.display())));
        }
        Self::file(path)
    }

    fn with_automatic_name(directory: &Path) -> Self {
        Self::Store { location: Location::parse(directory), name: None }
    }

    fn file(path: &Path) -> Result<Self> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            check_directory(directory)?;
        }
        let Some((location, name)) = Location::of_object(path) else {
            return Err(Error::new(Kind::Destination, format!("{} names no file", path.display())));
        };
        Ok(Self::Store { location, name: Some(name) })
    }
}

/// The error for an address, in place of that of a path. A directory of this host may have any name, so an address is one only
/// where there is none.
fn or_elsewhere(error: Error, text: &OsStr, purpose: Purpose) -> Error {
    match error.kind() {
        Kind::Destination => elsewhere(text, purpose).unwrap_or(error),
        _ => error,
    }
}

/// Whether `text` can only mean a directory: it ends in `/`, `/.` or `..`.
fn means_a_directory(text: &OsStr) -> Result<bool> {
    if text.is_empty() {
        return Err(Error::new(Kind::Destination, "the destination is empty"));
    }
    let bytes = text.as_bytes();
    Ok(bytes.ends_with(b"/") || bytes.ends_with(b"/.") || Path::new(text).file_name().is_none())
}

/// Refuses what is no existing directory.
fn check_directory(path: &Path) -> Result<()> {
    match is_directory(path)? {
        Some(true) => Ok(()),
        Some(false) => Err(not_a_directory(path)),
        None => Err(missing(path)),
    }
}

/// Whether `path` leads to a directory; `None` where nothing is there.
fn is_directory(path: &Path) -> Result<Option<bool>> {
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => Ok(Some(false)),
        Err(Errno::NAMETOOLONG) => Err(Error::new(
            Kind::Destination,
            format!("{} is too long a name for this filesystem", path.display()),
        )),
        Err(error) => Err(Error::io("look at", path.display(), error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn file_in(directory: impl Into<PathBuf>, name: impl Into<OsString>) -> Destination {
        Destination::Store { location: Location::Directory(directory.into()), name: Some(name.into()) }
    }

    fn refusal(result: Result<Destination>) -> Error {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), Kind::Destination, "{error}");
        error
    }

    #[test]
    fn a_dash_is_standard_output() {
        assert_eq!(Destination::for_archive("-").unwrap(), Destination::Stdout);
        assert_eq!(Destination::for_snapshot("-").unwrap(), Destination::Stdout);
        assert_eq!(Destination::for_archive("./-.age").unwrap(), file_in(".", "-.age"));
        assert_eq!(Destination::for_archive("-.age").unwrap(), file_in("", "-.age"));
    }

    #[test]
    fn an_existing_directory_is_one_however_it_is_named() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("backups.age");
        fs::create_dir(&directory).unwrap();
        symlink(&directory, place.path().join("link")).unwrap();
        for name in ["backups.age", "backups.age/", "backups.age/.", "backups.age/..", "link", "link/"] {
            let path = place.path().join(name);
            assert_eq!(Destination::for_archive(&path).unwrap(), Destination::with_automatic_name(&path));
            let error = refusal(Destination::for_snapshot(&path));
            assert!(error.hint().contains("snapshot.db"), "{}", error.hint());
            let error = refusal(Destination::for_key(&path));
            assert!(error.hint().ends_with("/key.txt"), "{}", error.hint());
        }
        for name in [".", "/"] {
            let expected = Destination::with_automatic_name(Path::new(name));
            assert_eq!(Destination::for_archive(name).unwrap(), expected);
        }
    }

    #[test]
    fn a_missing_directory_is_never_taken_for_a_file() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file.age"), "").unwrap();
        for name in
            ["backups", "backups/", "backups.age/", "backups/.", "backups/x.age", "backups/..", "backups.ag"]
        {
            let error = refusal(Destination::for_archive(place.path().join(name)));
            assert!(error.hint().contains("is it mounted?"), "{name}: {}", error.hint());
        }
        for name in ["file.age/", "file.age/x.age", "file.age/."] {
            let error = refusal(Destination::for_archive(place.path().join(name)));
            assert!(error.to_string().contains("is not a directory"), "{name}: {error}");
        }
        let error = refusal(Destination::for_snapshot(place.path().join("backups/snapshot.db")));
        assert!(error.to_string().ends_with("backups"), "{error}");
        assert!(error.hint().contains("is it mounted?"), "{}", error.hint());
    }

    #[test]
    fn an_archive_ends_in_age_and_a_snapshot_as_it_likes() {
        let place = tempfile::tempdir().unwrap();
        let named = |name: &str| file_in(place.path(), name);
        fs::write(place.path().join("old.age"), "").unwrap();
        for name in ["new.age", "old.age"] {
            assert_eq!(Destination::for_archive(place.path().join(name)).unwrap(), named(name));
        }
        for name in ["snapshot.db", "x.age", "old.age"] {
            assert_eq!(Destination::for_snapshot(place.path().join(name)).unwrap(), named(name));
        }
        refusal(Destination::for_archive(place.path().join("new.age.gz")));
        refusal(Destination::for_archive("/dev/null"));
        refusal(Destination::for_archive(""));
        refusal(Destination::for_snapshot(""));
        refusal(Destination::for_archive(place.path().join(format!("{}.age", "x".repeat(300)))));
    }

    #[test]
    fn links_to_nowhere_and_in_circles_are_no_directories() {
        let place = tempfile::tempdir().unwrap();
        symlink("nowhere", place.path().join("a")).unwrap();
        symlink("b", place.path().join("b")).unwrap();
        for name in ["a", "b"] {
            refusal(Destination::for_archive(place.path().join(name)));
            refusal(Destination::for_archive(place.path().join(name).join("x.age")));
        }
    }

    #[test]
    fn names_need_not_be_utf_8() {
        let place = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(b"\xff\xfe.age");
        let destination = Destination::for_archive(place.path().join(name)).unwrap();
        assert_eq!(destination, file_in(place.path(), name));
    }
}
