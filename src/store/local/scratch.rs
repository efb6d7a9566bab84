//! A temporary working directory: private, locked while it is in use, removed when it is dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::directory::Directory;
use super::growing::GrowingFile;
use super::rename::rename_without_replacing;
use super::tree::Tree;
use crate::error::{Error, Kind, Result};

/// A directory for its owner alone (mode 0700), under a random name that cannot be guessed. Dropping it removes it with
/// everything in it; the next run in the same place removes one that a killed process has left.
#[derive(Debug)]
pub struct Scratch {
    tree: Tree,
}

impl Scratch {
    /// Creates it in `directory`, which must exist and in which no other user may rename it.
    ///
    /// # Errors
    /// [`Kind::Destination`] where there is no such directory or another user can write it, [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create(directory: &Path) -> Result<Self> {
        Tree::create(&Arc::new(open(directory)?), None).map(|tree| Self { tree })
    }

    /// Refuses what [`Self::create`] would refuse.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::Io`].
    pub fn check(directory: &Path) -> Result<()> {
        open(directory).map(drop)
    }

    /// A path to it that no rename can change, valid for this process and for a child before its exec. It is short, too: the
    /// path of a socket has room for about a hundred bytes.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.tree.file().as_raw_fd()))
    }

    /// Creates a file at `path` in it, readable and writable, with its parent directories.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create_file(&self, path: &Path) -> Result<GrowingFile> {
        self.tree.create_file(path).map(GrowingFile::new)
    }

    /// Creates the file `name` in it for a log, in place of an earlier one.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create_log(&self, name: &str) -> Result<File> {
        self.remove_file(name)?;
        self.tree.create_file(Path::new(name))
    }

    /// Opens the regular file at `path` in it for reading and writing; follows no link.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn open_file(&self, path: &Path) -> Result<File> {
        let open = || {
            let mut directory = self.tree.itself()?;
            for name in path.parent().into_iter().flatten() {
                directory = directory.enter(name)?;
            }
            directory.open_to_change(path.file_name().ok_or(Errno::INVAL)?)
        };
        open().map_err(|error| self.failed("open", path, error))
    }

    /// Gives the entry `from` the name `to`, which must be free.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let renamed = self.tree.itself().and_then(|itself| {
            rename_without_replacing(itself.file(), OsStr::new(from), &itself, OsStr::new(to))
        });
        renamed.map_err(|error| self.failed("move aside", Path::new(from), error))
    }

    /// Removes the file `name`; a missing one is no error.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn remove_file(&self, name: &str) -> Result<()> {
        let removed = self.tree.itself().and_then(|itself| itself.remove(OsStr::new(name)));
        removed.map_err(|error| self.failed("remove", Path::new(name), error))
    }

    fn failed(&self, what: &str, path: &Path, error: Errno) -> Error {
        Error::io(what, self.tree.path().join(path).display(), error.into())
    }

    /// Free bytes on its filesystem.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn free_space(&self) -> Result<u64> {
        self.tree.free_space()
    }

    /// Removes it with everything in it. Dropping it does the same, but can only warn of a failure.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn remove(mut self) -> Result<()> {
        let removed = self.tree.remove();
        removed.map_err(|error| Error::io("remove", self.tree.path().display(), error.into()))
    }
}

/// Opens the directory that will contain it.
fn open(directory: &Path) -> Result<Directory> {
    let opened = Directory::open(directory)?;
    let protects = opened.protects_names();
    if protects.map_err(|error| Error::io("look at", directory.display(), error.into()))? {
        return Ok(opened);
    }
    let message = format!("{} can be written by other users, and is not sticky", directory.display());
    Err(Error::new(Kind::Destination, message).with_hint(
        "they could put something else in the place of the scratch directory: name one that only you can write with \
         `scratch`, or one like /var/tmp (chmod +t)",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_private_and_goes() {
        let place = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(place.path()).unwrap();
        let path = scratch.path();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        let mut file = scratch.create_file(Path::new("a/b")).unwrap();
        file.write_all(b"secret").unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read(path.join("a/b")).unwrap(), b"secret");
        assert!(scratch.free_space().unwrap() > 0);
        scratch.remove().unwrap();
        assert_eq!(place.path().read_dir().unwrap().count(), 0);
        drop(Scratch::create(place.path()).unwrap());
        assert_eq!(place.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_place_where_others_could_swap_it_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let allowed = |mode: u32| {
            std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let created = Scratch::create(place.path()).map(drop);
            assert_eq!(Scratch::check(place.path()).is_ok(), created.is_ok());
            created.map_err(|error| (error.kind(), error.hint().contains("chmod +t")))
        };
        assert_eq!(allowed(0o700), Ok(()));
        assert_eq!(allowed(0o755), Ok(()));
        assert_eq!(allowed(0o1777), Ok(()));
        assert_eq!(allowed(0o777), Err((Kind::Destination, true)));
        assert_eq!(allowed(0o757), Err((Kind::Destination, true)));
    }

    #[test]
    fn a_log_begins_anew_and_no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let precious = place.path().join("precious");
        std::fs::write(&precious, "mine").unwrap();
        let scratch = Scratch::create(place.path()).unwrap();
        for _ in 0..2 {
            scratch.create_log("m1.log").unwrap().write_all(b"words").unwrap();
            assert_eq!(std::fs::read(scratch.path().join("m1.log")).unwrap(), b"words");
        }
        std::os::unix::fs::symlink(&precious, scratch.path().join("m2.log")).unwrap();
        assert!(scratch.open_file(Path::new("m2.log")).is_err());
        drop(scratch.create_log("m2.log").unwrap());
        assert_eq!(std::fs::read(&precious).unwrap(), b"mine");
        scratch.rename("m2.log", "m3.log").unwrap();
        assert!(scratch.rename("m1.log", "m3.log").is_err());
        drop(scratch.open_file(Path::new("m3.log")).unwrap());
    }
}
