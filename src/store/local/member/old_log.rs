//! The files of an old log, which are moved aside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::process::{Gid, Uid};

use super::aside::{Aside, Rename, free_name};
use super::part::contents;
use crate::error::{Error, Result};
use crate::store::local::directory::Directory;
use crate::store::local::layout::{LOG_DIRECTORY, MARKER, is_of_log};
use crate::store::local::tree::Tree;

/// The files of an old log, which are moved aside into a directory of their own.
pub(super) struct OldLog {
    base: Arc<Directory>,
    names: Vec<Vec<u8>>,
    pub(super) collected: Arc<Directory>,
}

impl OldLog {
    /// Makes that directory; `None` where there is no log, except a leftover.
    pub(super) fn collect(
        base: &Arc<Directory>,
        of_leftover: impl Fn(&[u8]) -> bool,
        time: &str,
        aside: &mut Aside,
    ) -> Result<Option<Self>> {
        let mut names = contents(base)?;
        names.retain(|name| is_of_log(name) && !of_leftover(name));
        if names.is_empty() {
            return Ok(None);
        }
        let name = free_name(base, OsStr::new(LOG_DIRECTORY), time)?;
        base.create_directory(&name).map_err(|error| base.creation_failed(error))?;
        aside.made = Some((Arc::clone(base), name.clone()));
        let path = base.join(&name);
        let collected = base.open_created(&name);
        let collected = collected.map_err(|error| error.into_error("open", &path, &path))?;
        let collected = Arc::new(Directory::of(path, collected));
        Ok(Some(Self { base: Arc::clone(base), names, collected }))
    }

    /// Moves aside the files that are `wanted`.
    pub(super) fn shift(&mut self, wanted: impl Fn(&[u8]) -> bool, aside: &mut Aside) -> Result<()> {
        for name in self.names.extract_if(.., |name| wanted(name)) {
            let name = OsStr::from_bytes(&name);
            aside.shift(Rename::new(&self.base, name, &self.collected, name))?;
        }
        Ok(())
    }

    /// Gives its directory the owner and the permissions of the directory of the old log, so that the same users can read
    /// it. A user other than root may lack the right to do so, and stays the owner.
    pub(super) fn give_to_owner_of_log(&self) {
        let given = rustix::fs::fstat(self.base.file()).and_then(|from| {
            let collected = self.collected.file();
            let own = rustix::fs::fstat(collected)?;
            if (own.st_uid, own.st_gid) != (from.st_uid, from.st_gid) {
                let (user, group) = (Uid::from_raw(from.st_uid), Gid::from_raw(from.st_gid));
                rustix::fs::fchown(collected, Some(user), Some(group))?;
            }
            rustix::fs::fchmod(collected, Mode::from_raw_mode(from.st_mode & 0o1777))
        });
        if let Err(error) = given {
            tracing::debug!(path = %self.collected.path().display(), %error, "cannot give it to the owner of the log");
        }
    }

    /// Moves the marker of an earlier run aside, if `tree` has received it in exchange for its own.
    pub(super) fn shift_marker(&self, tree: &Tree, aside: &mut Aside) -> Result<()> {
        let name = OsStr::new(MARKER);
        let itself = tree.itself().map_err(|error| Error::io("open", tree.path().display(), error.into()))?;
        match itself.look(name) {
            Ok(None) => Ok(()),
            _ => aside.shift(Rename::new(&Arc::new(itself), name, &self.collected, name)),
        }
    }
}
