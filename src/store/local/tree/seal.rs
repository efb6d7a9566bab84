//! Makes a tree durable, and gives it to its owner.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::{Owner, Tree};
use crate::error::{Error, Result};
use crate::store::local::directory::{Directory, is_directory, is_file_name, meddled};

impl Tree {
    /// Makes everything in it durable, from the leaves to the tree, and gives it to its owner: with `whole`, for a tree that
    /// is published itself, the tree too; otherwise only its contents.
    pub(in crate::store::local) fn seal(&self, whole: bool) -> Result<()> {
        let itself = self.itself();
        let itself = itself.map_err(|error| Error::io("sync", self.path().display(), error.into()))?;
        let maker = rustix::fs::fstat(itself.file());
        let maker = maker.map_err(|error| Error::io("look at", self.path().display(), error.into()))?.st_uid;
        seal_entries(&itself, maker, self.owner)?;
        if whole {
            give(itself.file(), self.owner, itself.path())?;
        }
        itself.sync()
    }
}

/// Seals everything in `directory`. It follows no link, and refuses a file that is not `maker`'s own or has a second name:
/// sealing would give that file away.
fn seal_entries(directory: &Directory, maker: u32, owner: Option<Owner>) -> Result<()> {
    let failed = |path: &Path, error: Errno| Error::io("sync", path.display(), error.into());
    let unreadable = |error| failed(directory.path(), error);
    for name in directory.names_in_it().map_err(unreadable)? {
        let name = name.map_err(unreadable)?;
        let name = OsStr::from_bytes(&name);
        let path = directory.join(name);
        match directory.look(name).map_err(unreadable)? {
            Some(stat) if is_file_name(name) && is_directory(&stat) => {
                let directory = directory.enter(name).map_err(|error| failed(&path, error))?;
                check_made_by(maker, directory.file(), &path)?;
                seal_entries(&directory, maker, owner)?;
                give(directory.file(), owner, &path)?;
                directory.sync()?;
            }
            Some(_) if is_file_name(name) => {
                let file = directory.open_for_reading(name).map_err(|error| failed(&path, error))?;
                check_made_by(maker, &file, &path)?;
                give(&file, owner, &path)?;
                file.sync_all().map_err(|error| Error::io("sync", path.display(), error))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what another user has put there, including a second name of another user's file.
fn check_made_by(maker: u32, file: &File, path: &Path) -> Result<()> {
    let stat = rustix::fs::fstat(file);
    let stat = stat.map_err(|error| Error::io("look at", path.display(), error.into()))?;
    if stat.st_uid == maker && (is_directory(&stat) || stat.st_nlink <= 1) {
        return Ok(());
    }
    Err(meddled(format!("{} was put there by another user meanwhile", path.display())))
}

/// Gives the file or directory to `owner`, if there is one.
fn give(file: &File, owner: Option<Owner>, path: &Path) -> Result<()> {
    let Some(Owner { user, group }) = owner else { return Ok(()) };
    let given = rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    given.map_err(|error| {
        let failure = Error::io("change the owner of", path.display(), error.into());
        if error == Errno::PERM { failure.with_hint("`owner` needs root") } else { failure }
    })
}
