//! Publishes a tree or its entries, and takes them back.

use std::ffi::OsStr;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::Tree;
use crate::error::{Error, Kind, Result};
use crate::store::local::directory::{Directory, is_same, meddled};
use crate::store::local::layout::UNFINISHED;
use crate::store::local::rename::{exchange, move_back, rename_without_replacing};
use crate::store::local::temporary::deregister;

impl Tree {
    /// Refuses to publish where another process has put another directory in its place.
    pub(in crate::store::local) fn check_in_place(&self) -> Result<()> {
        self.base.check_in_place()?;
        if self.base.names(&self.name, &self.file) == Ok(true) {
            return Ok(());
        }
        Err(meddled(format!("{} was moved or replaced meanwhile", self.path().display())))
    }

    /// Renames its entry `entry` to the same name in `to`, which must be free there; returns the entry's metadata.
    pub(in crate::store::local) fn publish_entry(&self, entry: &OsStr, to: &Directory) -> Result<Stat> {
        let published = self.look(entry)?;
        let renamed = rename_without_replacing(&self.file, entry, to, entry);
        renamed.map_err(|error| publishing_failed(to, entry, error))?;
        Ok(published)
    }

    /// Takes its entry `entry`, which was `published`, back from the name `name` in `from`. It leaves alone another file
    /// that has got that name, since this tree is going to be removed.
    pub(in crate::store::local) fn take_back(
        &mut self,
        entry: &OsStr,
        from: &Directory,
        name: &OsStr,
        published: &Stat,
    ) -> rustix::io::Result<()> {
        let itself = self.itself()?;
        // Removes nothing in the tree until it is known which file was taken back.
        deregister(&self.name);
        let taken = move_back(from, name, &itself, entry, published);
        let is_ours =
            itself.look(entry).is_ok_and(|found| found.is_none_or(|found| is_same(&found, published)));
        self.register_again(is_ours);
        taken
    }

    /// Exchanges its entry `entry` for the one of that name in `with`, which must be the file `expected`, in one step. Any
    /// other file gets its name back.
    pub(in crate::store::local) fn exchange_entry(
        &mut self,
        entry: &OsStr,
        with: &Directory,
        expected: &Stat,
    ) -> rustix::io::Result<()> {
        let itself = self.itself()?;
        let own = itself.look(entry)?.ok_or(Errno::NOENT)?;
        let holds = |file: &Stat| {
            itself.look(entry).is_ok_and(|found| found.is_some_and(|found| is_same(&found, file)))
        };
        // Removes nothing in the tree until it is known which file came.
        deregister(&self.name);
        let mut exchanged = exchange(&itself, entry, with, entry);
        if exchanged.is_ok() && !holds(expected) {
            exchanged = exchange(&itself, entry, with, entry).and(Err(Errno::STALE));
        }
        self.register_again(holds(expected) || holds(&own));
        exchanged
    }

    /// Registers it for removal at exit again; a tree that holds another user's file is never removed.
    fn register_again(&mut self, is_ours: bool) {
        if !is_ours {
            tracing::warn!("{} stays: it holds what another user has put there", self.path().display());
            self.named = false;
        } else if self.named {
            self.register();
        }
    }

    /// Renames the tree to `to` beside it, which must be free or an empty directory. A process killed just before that
    /// leaves a complete tree under its temporary name, which no later run removes.
    pub(in crate::store::local) fn publish(&mut self, to: &OsStr) -> Result<()> {
        self.mark_finished()?;
        let base = self.base.file();
        let renamed = match rustix::fs::renameat(base, &*self.name, base, to) {
            Err(Errno::NOTEMPTY) => Err(Errno::EXIST),
            other => other,
        };
        renamed.map_err(|error| publishing_failed(&self.base, to, error))?;
        self.forget();
        Ok(())
    }

    /// Takes the tree back from the name `from`, unless another directory has got that name.
    pub(in crate::store::local) fn unpublish(&mut self, from: &OsStr) -> rustix::io::Result<()> {
        let own = rustix::fs::fstat(&self.file)?;
        move_back(&self.base, from, &self.base, &self.name, &own)?;
        self.named = true;
        self.register();
        self.mark_unfinished()
    }

    /// Removes that file durably: from then on the tree is complete.
    fn mark_finished(&self) -> Result<()> {
        let unfinished = OsStr::new(UNFINISHED);
        let failed = |error: Errno| Error::io("remove", self.path().join(unfinished).display(), error.into());
        let itself = self.itself().map_err(failed)?;
        itself.remove(unfinished).map_err(failed)?;
        itself.sync()
    }
}

fn publishing_failed(directory: &Directory, name: &OsStr, error: Errno) -> Error {
    let path = directory.join(name);
    match error {
        Errno::EXIST => Error::new(Kind::DestinationExists, format!("{} exists already", path.display()))
            .with_hint(
                "another program or user has made it meanwhile; look what it is before you run this again",
            ),
        error => Error::io("publish", path.display(), error.into()),
    }
}
