//! A directory to work in: private, locked while it is alive, gone when it is dropped.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::Directory;
use super::growing::GrowingFile;
use super::tree::Tree;
use crate::error::{Error, Result};

/// A directory for its owner alone (mode 0700), under a name nobody can guess. It goes with all that is in it when it is
/// dropped; one that a killed process left behind is removed by the next in the same place.
#[derive(Debug)]
pub struct Scratch {
    tree: Tree,
}

impl Scratch {
    /// Creates it in `directory`, which must exist.
    ///
    /// # Errors
    /// [`Kind::Destination`](crate::Kind::Destination) where there is no such directory,
    /// [`Kind::NoSpace`](crate::Kind::NoSpace), [`Kind::Io`](crate::Kind::Io).
    pub fn create(directory: &Path) -> Result<Self> {
        Tree::create(&Arc::new(Directory::open(directory)?), None).map(|tree| Self { tree })
    }

    /// Its absolute path.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::Kind::Io) where the current directory is gone.
    pub fn path(&self) -> Result<PathBuf> {
        let path = self.tree.path();
        std::path::absolute(&path).map_err(|error| Error::io("find", path.display(), error))
    }

    /// A path of it that is short, for this process alone: the path of a socket has room for a hundred bytes.
    #[must_use]
    pub fn short_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.tree.file().as_raw_fd()))
    }

    /// Creates a file at `path` in it, readable and writable, with the directories above.
    ///
    /// # Errors
    /// [`Kind::NoSpace`](crate::Kind::NoSpace), [`Kind::Io`](crate::Kind::Io).
    pub fn create_file(&self, path: &Path) -> Result<GrowingFile> {
        self.tree.create_file(path).map(GrowingFile::new)
    }

    /// Bytes that are free for it.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::Kind::Io).
    pub fn free_space(&self) -> Result<u64> {
        self.tree.free_space()
    }

    /// Removes it with all that is in it; dropping it does the same and can only warn.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::Kind::Io).
    pub fn remove(mut self) -> Result<()> {
        let removed = self.tree.remove();
        removed.map_err(|error| Error::io("remove", self.tree.path().display(), error.into()))
    }
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
        let path = scratch.path().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        let mut file = scratch.create_file(Path::new("a/b")).unwrap();
        file.write_all(b"secret").unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read(scratch.short_path().join("a/b")).unwrap(), b"secret");
        assert!(scratch.free_space().unwrap() > 0);
        scratch.remove().unwrap();
        assert_eq!(place.path().read_dir().unwrap().count(), 0);
        drop(Scratch::create(place.path()).unwrap());
        assert_eq!(place.path().read_dir().unwrap().count(), 0);
    }
}
