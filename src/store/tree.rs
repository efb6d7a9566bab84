//! Directories in the making: private, locked while they are alive, gone when they are dropped.
//!
//! A tree lies where a rename can publish it: in the directory its entries will be in, or beside the one it will become.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, RenameFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::directory::Directory;
use super::stale::{Unfinished, remove_beside, try_lock};
use super::temporary::{ATTEMPTS, deregister, is_random, random_name, register};
use crate::error::{Error, Kind, Result};

const PREFIX: &str = ".etcd-seal-restore-";

/// Whether `name` is one that a [`Tree`] has before it is published.
pub(super) fn is_tree_name(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes()).is_some_and(is_random)
}

/// Who is to own what is published.
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
    /// Where it lies.
    base: Arc<Directory>,
    name: OsString,
    file: File,
    locked: bool,
    named: bool,
}

impl Tree {
    /// Creates it empty in `base`, for its owner alone, and removes what killed runs have left there.
    pub(super) fn create(base: &Arc<Directory>) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let name = random_name(PREFIX, "")?;
            match base.create_directory(&name) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(base.creation_failed(error)),
            }
            register::<Self>(base, &name);
            let prepared = base.open_directory(&name).and_then(|file| {
                // A umask may have taken away the owner's own permissions.
                rustix::fs::fchmod(&file, rustix::fs::Mode::RWXU)?;
                let locked = try_lock(&file).is_ok();
                Ok(Self { base: Arc::clone(base), name: name.clone(), file, locked, named: true })
            });
            let tree = prepared.map_err(|error| {
                deregister(&name);
                Error::io("prepare", base.join(&name).display(), error.into())
            })?;
            if base.names(&tree.name, &tree.file) == Ok(true) {
                remove_beside(&tree);
                return Ok(tree);
            }
        }
        let message = format!("{ATTEMPTS} directories in a row were taken by others");
        Err(Error::io("create a directory in", base.path().display(), io::Error::other(message)))
    }

    /// Where it lies.
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

    /// Creates a file in it, readable and writable, with the directories above it.
    pub(super) fn create_file(&self, path: &Path) -> Result<File> {
        let mut directory = self.path();
        for name in path.parent().into_iter().flatten() {
            directory.push(name);
            create_directory(&directory).map_err(|error| Error::io("create", directory.display(), error))?;
        }
        let path = self.path().join(path);
        let failed = |error| Error::io("create", path.display(), error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(file)
    }

    /// Makes everything in it durable, from the leaves to itself, and gives it to `owner`.
    pub(super) fn seal(&self, owner: Option<Owner>) -> Result<()> {
        seal(&self.path(), owner)
    }

    /// Gives one of its entries the same name in `to`, where that must be free.
    pub(super) fn publish_entry(&self, entry: &OsStr, to: &Directory) -> Result<()> {
        let renamed = rename_without_replacing(&self.file, entry, to, entry);
        renamed.map_err(|error| publishing_failed(to, entry, error))
    }

    /// Takes an entry back.
    pub(super) fn take_back(&self, entry: &OsStr, from: &Directory) -> rustix::io::Result<()> {
        rustix::fs::renameat(from.file(), entry, &self.file, entry)
    }

    /// Gives the tree itself the name `to` beside it: one that is free, or an empty directory's.
    pub(super) fn publish(&mut self, to: &OsStr) -> Result<()> {
        let base = self.base.file();
        let renamed = match rustix::fs::renameat(base, &*self.name, base, to) {
            Err(Errno::NOTEMPTY) => Err(Errno::EXIST),
            other => other,
        };
        renamed.map_err(|error| publishing_failed(&self.base, to, error))?;
        self.forget();
        Ok(())
    }

    /// Takes the tree itself back from the name `from`.
    pub(super) fn unpublish(&mut self, from: &OsStr) -> rustix::io::Result<()> {
        let base = self.base.file();
        rustix::fs::renameat(base, from, base, &*self.name)?;
        self.named = true;
        register::<Self>(&self.base, &self.name);
        Ok(())
    }

    /// Removes it with all that is still in it.
    pub(super) fn remove(&mut self) -> rustix::io::Result<()> {
        if self.named {
            self.base.remove_tree(&self.name)?;
            self.forget();
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.named = false;
        deregister(&self.name);
    }
}

/// Renames from one directory into another, where the name must be free.
pub(super) fn rename_without_replacing(
    from: &File,
    name: &OsStr,
    to: &Directory,
    new_name: &OsStr,
) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, name, to.file(), new_name, RenameFlags::NOREPLACE) {
        // A filesystem that knows no flags: only an empty directory or a file could be replaced, and there was none.
        Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => match to.look(new_name)? {
            None => rustix::fs::renameat(from, name, to.file(), new_name),
            Some(_) => Err(Errno::EXIST),
        },
        other => other,
    }
}

fn publishing_failed(directory: &Directory, name: &OsStr, error: Errno) -> Error {
    let path = directory.join(name);
    match error {
        Errno::EXIST => Error::new(Kind::DestinationExists, format!("{} exists already", path.display())),
        error => Error::io("publish", path.display(), error.into()),
    }
}

/// For its owner alone, whatever the umask takes away; one that exists is fine.
fn create_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(0o700)),
    }
}

fn seal(path: &Path, owner: Option<Owner>) -> Result<()> {
    let failed = |error: io::Error| Error::io("sync", path.display(), error);
    let metadata = path.symlink_metadata().map_err(failed)?;
    if metadata.is_dir() {
        for entry in path.read_dir().map_err(failed)? {
            seal(&entry.map_err(failed)?.path(), owner)?;
        }
    }
    if let Some(Owner { user, group }) = owner
        && (metadata.uid(), metadata.gid()) != (user, group)
    {
        let chown = rustix::fs::chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        chown.map_err(|error| {
            let failure = Error::io("change the owner of", path.display(), error.into());
            if error == Errno::PERM { failure.with_hint("--owner needs root") } else { failure }
        })?;
    }
    if metadata.is_dir() {
        Directory::open(path)?.sync()
    } else {
        File::open(path).and_then(|file| file.sync_all()).map_err(failed)
    }
}

impl Unfinished for Tree {
    const FILE_TYPE: FileType = FileType::Directory;

    fn is_name(name: &[u8]) -> bool {
        is_tree_name(name)
    }

    fn open(directory: &Directory, name: &OsStr) -> rustix::io::Result<File> {
        directory.open_directory(name)
    }

    fn remove(directory: &Directory, name: &OsStr) -> rustix::io::Result<()> {
        directory.remove_tree(name)
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
