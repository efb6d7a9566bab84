//! Temporary directories: private, locked while they are written, removed when they are dropped.
//!
//! A tree lies where a rename can publish it: in the directory that will contain its entries, or beside the directory it
//! will become.

mod publish;
mod seal;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::directory::Directory;
use super::layout::UNFINISHED;
use super::removal::remove_empty;
use super::shape::doubt_of;
use super::space::free_space_of;
use super::stale::{Unfinished, remove_beside, try_lock};
use super::temporary::{ATTEMPTS, deregister, is_random, random_name, register};
use crate::error::{Error, Result};

const PREFIX: &str = ".etcd-seal-restore-";

/// Whether `name` is one that a [`Tree`] has before it is published.
pub(super) fn is_tree_name(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes()).is_some_and(is_random)
}

/// The owner of what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// A locked directory under a temporary name; removed on drop unless published.
#[derive(Debug)]
pub(super) struct Tree {
    /// The directory that contains it.
    base: Arc<Directory>,
    name: OsString,
    /// Shared with the function that removes it when the process must exit.
    file: Arc<File>,
    locked: bool,
    named: bool,
    /// The owner once it is published. What a killed run has left may already belong to this owner.
    owner: Option<Owner>,
}

impl Tree {
    /// Creates it empty in `base`, for this user alone, and removes what killed runs have left there.
    pub(super) fn create(base: &Arc<Directory>, owner: Option<Owner>) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let name = random_name(PREFIX, "")?;
            match base.create_directory(&name) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(base.creation_failed(error)),
            }
            register(base, &name, remove_empty);
            let prepared = base.open_created(&name).map(|file| {
                let (locked, file) = (try_lock(&file).is_ok(), Arc::new(file));
                Self { base: Arc::clone(base), name: name.clone(), file, locked, named: true, owner }
            });
            let tree = prepared.map_err(|error| {
                deregister(&name);
                // This tree is empty; one that is not empty is another user's.
                let _ = base.remove_directory(&name);
                error.into_error("prepare", &base.join(&name), &base.join(&name))
            })?;
            tree.register();
            if base.names(&tree.name, &tree.file) == Ok(true) {
                tree.mark_unfinished().map_err(|error| base.creation_failed(error))?;
                remove_beside(&tree);
                return Ok(tree);
            }
        }
        let message = format!("{ATTEMPTS} directories in a row were taken by others");
        Err(Error::io("create a directory in", base.path().display(), io::Error::other(message)))
    }

    /// Creates the file by which a later run recognises a leftover.
    fn mark_unfinished(&self) -> rustix::io::Result<()> {
        self.itself()?.create_to_read(OsStr::new(UNFINISHED)).map(drop)
    }

    /// The directory that contains it.
    pub(super) fn base(&self) -> &Arc<Directory> {
        &self.base
    }

    /// Its own descriptor.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Its path under its temporary name.
    pub(super) fn path(&self) -> PathBuf {
        self.base.path().join(&self.name)
    }

    /// Creates a file in it, readable and writable, with its parent directories. A user who can rename entries of the base
    /// cannot make it create anything elsewhere, because it uses the descriptor of the tree.
    pub(super) fn create_file(&self, path: &Path) -> Result<File> {
        let failed = |error: Errno| Error::io("create", self.path().join(path).display(), error.into());
        let name = path.file_name().ok_or_else(|| failed(Errno::INVAL))?;
        let mut directory = self.itself().map_err(failed)?;
        for name in path.parent().into_iter().flatten() {
            directory = directory.enter_or_create(name).map_err(|error| {
                error.into_error("create", &self.path().join(path), &directory.join(name))
            })?;
        }
        directory.create_to_read(name).map_err(failed)
    }

    /// The tree as a directory, under its temporary name.
    pub(super) fn itself(&self) -> rustix::io::Result<Directory> {
        self.file
            .try_clone()
            .map(|file| Directory::of(self.path(), file))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// The metadata of its entry `name`.
    pub(super) fn look(&self, name: &OsStr) -> Result<Stat> {
        let looked =
            self.itself().and_then(|itself| itself.look(name)).and_then(|stat| stat.ok_or(Errno::NOENT));
        looked.map_err(|error| Error::io("look at", self.path().join(name).display(), error.into()))
    }

    /// Free bytes on its filesystem; [`u64::MAX`] on one that does not report its size.
    pub(super) fn free_space(&self) -> Result<u64> {
        free_space_of(&self.file, &self.path())
    }

    /// Whether both lie on the same filesystem.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let device = |file: &File| rustix::fs::fstat(file).map(|stat| stat.st_dev).ok();
        device(&self.file) == device(&other.file)
    }

    /// The tree as a directory at `path`, for what was published with it.
    pub(super) fn directory_at(&self, path: PathBuf) -> Result<Directory> {
        let file = self.file.try_clone();
        file.map(|file| Directory::of(path, file))
            .map_err(|error| Error::io("open", self.path().display(), error))
    }

    /// Removes it with its remaining contents, and nothing that has got its name meanwhile.
    pub(super) fn remove(&mut self) -> rustix::io::Result<()> {
        if self.named {
            self.base.remove_tree(&self.name, &self.file)?;
            self.forget();
        }
        Ok(())
    }

    /// Registers it for removal if the process must exit.
    fn register(&self) {
        let file = Arc::clone(&self.file);
        register(&self.base, &self.name, move |base, name| base.remove_tree(name, &file));
    }

    fn forget(&mut self) {
        self.named = false;
        deregister(&self.name);
    }
}

impl Unfinished for Tree {
    const FILE_TYPE: FileType = FileType::Directory;

    fn is_name(name: &[u8]) -> bool {
        is_tree_name(name)
    }

    /// The owner of the parent directory, too: a restore may have been asked to give everything to that user.
    fn owners(&self) -> rustix::io::Result<Vec<u32>> {
        let around = rustix::fs::fstat(self.base.file())?.st_uid;
        Ok(self.owner.map(|owner| owner.user).into_iter().chain([around]).collect())
    }

    fn doubt(&self, name: &OsStr, file: &File) -> rustix::io::Result<Option<String>> {
        let file = file.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        doubt_of(&Directory::of(self.base.join(name), file))
    }

    fn open(directory: &Directory, name: &OsStr) -> rustix::io::Result<File> {
        directory.open_directory(name)
    }

    fn remove(directory: &Directory, name: &OsStr, file: &File) -> rustix::io::Result<()> {
        directory.remove_tree(name, file)
    }

    fn directory(&self) -> &Directory {
        &self.base
    }

    fn name(&self) -> &OsStr {
        &self.name
    }

    fn descriptor(&self) -> &File {
        &self.file
    }

    fn locked(&self) -> bool {
        self.locked
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(path = %self.path().display(), %error, "cannot remove a temporary; a later run will");
            self.forget();
        }
    }
}
