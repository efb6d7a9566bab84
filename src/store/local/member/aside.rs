//! The moves aside of what a new member replaces, and how they are undone.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::store::local::directory::Directory;
use crate::store::local::layout::{ASIDE, MARKER};
use crate::store::local::rename::{exchange, move_back, rename_without_replacing};
use crate::store::local::tree::Tree;
use crate::store::shell::shell_word;

/// The moves aside so far, to be undone if a later step fails.
#[derive(Default)]
pub(super) struct Aside {
    steps: Vec<Step>,
    /// The directory made for the moved files: its parent and its name.
    pub(super) made: Option<(Arc<Directory>, OsString)>,
}

/// One rename, by the names before and after it.
pub(super) struct Rename {
    from: Arc<Directory>,
    name: OsString,
    to: Arc<Directory>,
    new_name: OsString,
}

impl Rename {
    pub(super) fn new(from: &Arc<Directory>, name: &OsStr, to: &Arc<Directory>, new_name: &OsStr) -> Self {
        Self {
            from: Arc::clone(from),
            name: name.to_owned(),
            to: Arc::clone(to),
            new_name: new_name.to_owned(),
        }
    }

    /// The path afterwards.
    fn after(&self) -> PathBuf {
        self.to.join(&self.new_name)
    }
}

/// One step that was taken.
struct Step {
    rename: Rename,
    /// The file that was moved.
    moved: Stat,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// The second name was free.
    Renamed,
    /// The two entries exchanged their names.
    Exchanged,
    /// The new entry got the second name, from which it is exchanged.
    Staged,
    /// The marker of this run got its name, which was free.
    Marked,
    /// The marker of this run got the name of an earlier one, which is now in the tree of the log.
    MarkedInExchange,
    /// The same where names cannot be exchanged: the earlier marker is gone.
    MarkedInPlace,
}

impl How {
    fn is_marking(self) -> bool {
        matches!(self, Self::Marked | Self::MarkedInExchange | Self::MarkedInPlace)
    }
}

impl Aside {
    /// Moves one entry aside, to a name made of its own and `time`.
    pub(super) fn rename(&mut self, directory: &Arc<Directory>, name: &OsStr, time: &str) -> Result<()> {
        let new_name = free_name(directory, name, time)?;
        self.shift(Rename::new(directory, name, directory, &new_name))
    }

    /// Gives the entry `name` of `tree` the same name in `to`, and the entry that had it a name with `time`, so that one of
    /// the two has it at every moment. Returns false, with nothing changed, where the filesystem cannot do that.
    pub(super) fn exchange(
        &mut self,
        tree: &mut Tree,
        to: &Arc<Directory>,
        name: &OsStr,
        time: &str,
    ) -> Result<bool> {
        let new_name = &*free_name(to, name, time)?;
        let itself = tree.itself().map_err(|error| Error::io("open", tree.path().display(), error.into()))?;
        let old = to.look(name).and_then(|old| old.ok_or(Errno::NOENT));
        let old = old.map_err(|error| Error::io("look at", to.join(name).display(), error.into()))?;
        // The new entry takes the aside name first, so that the old one is never in a tree, which a later run removes.
        self.step(Rename::new(&Arc::new(itself), name, to, new_name), How::Staged)?;
        match exchange(to, name, to, new_name) {
            Ok(()) => {
                let rename = Rename::new(to, name, to, new_name);
                self.steps.push(Step { rename, moved: old, how: How::Exchanged });
                Ok(true)
            }
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                self.steps
                    .pop()
                    .map_or(Ok(()), |step| step.undo(tree, None))
                    .map_err(|error| Error::io("take back", to.join(new_name).display(), error.into()))?;
                tracing::warn!(
                    "the filesystem of {} cannot exchange two names: for a moment nothing has that name, so let no etcd start \
                     there",
                    to.join(name).display()
                );
                Ok(false)
            }
            Err(error) => Err(cannot_move(&to.join(name), error)),
        }
    }

    /// Gives the marker in `tree` its name, which must be free.
    pub(super) fn mark(&mut self, tree: &Tree) -> Result<()> {
        let (base, marker) = (tree.base(), OsStr::new(MARKER));
        let published = tree.publish_entry(marker, base)?;
        let rename = Rename::new(base, marker, base, marker);
        self.steps.push(Step { rename, moved: published, how: How::Marked });
        Ok(())
    }

    /// Gives the marker in `tree` its name in place of the `earlier` one by one rename, so that there is always one of the
    /// two.
    pub(super) fn mark_in_place_of(&mut self, earlier: &Stat, tree: &mut Tree) -> Result<()> {
        let (base, marker) = (&Arc::clone(tree.base()), OsStr::new(MARKER));
        let own = tree.look(marker)?;
        let (replaced, how) = match tree.exchange_entry(marker, base, earlier) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                let renamed = rustix::fs::renameat(tree.file(), marker, base.file(), marker);
                (renamed, How::MarkedInPlace)
            }
            exchanged => (exchanged, How::MarkedInExchange),
        };
        replaced.map_err(|error| Error::io("replace", base.join(marker).display(), error.into()))?;
        self.steps.push(Step { rename: Rename::new(base, marker, base, marker), moved: own, how });
        Ok(())
    }

    /// Moves one entry to a name that is free.
    pub(super) fn shift(&mut self, rename: Rename) -> Result<()> {
        self.step(rename, How::Renamed)
    }

    fn step(&mut self, rename: Rename, how: How) -> Result<()> {
        let Rename { from, name, to, new_name } = &rename;
        let moved = from.look(name).and_then(|found| found.ok_or(Errno::NOENT));
        let moved = moved.and_then(|moved| {
            rename_without_replacing(from.file(), name, to, new_name)?;
            Ok(moved)
        });
        let moved = moved.map_err(|error| cannot_move(&from.join(name), error))?;
        self.steps.push(Step { rename, moved, how });
        Ok(())
    }

    /// Undoes the steps; entries from the tree of the data or of the log go back there. The marker goes last, and only if
    /// the old log is whole again; `log_is_back` says that the new log is out of its way.
    pub(super) fn take_back(self, data: &mut Tree, mut log: Option<&mut Tree>, log_is_back: bool) {
        let mut is_whole = log_is_back;
        for step in self.steps.into_iter().rev() {
            if step.how.is_marking() && !is_whole {
                tracing::warn!("{} stays, so that no etcd starts there", step.rename.after().display());
                continue;
            }
            if let Err(error) = step.undo(data, log.as_deref_mut()) {
                tracing::warn!("{} could not get its name back: {error}", step.rename.after().display());
                is_whole = false;
            }
        }
        if let Some((directory, name)) = self.made {
            // A directory that is not empty stays.
            let _ = directory.remove_directory(&name);
        }
    }

    /// Logs where everything is now.
    pub(super) fn tell(&self) {
        let in_directory = |directory: &Arc<Directory>| {
            self.made.as_ref().is_some_and(|(base, name)| directory.path() == base.join(name))
        };
        let moved = |step: &&Step| {
            matches!(step.how, How::Renamed | How::Exchanged) && !in_directory(&step.rename.to)
        };
        for step in self.steps.iter().filter(moved) {
            let Rename { from, name, .. } = &step.rename;
            tracing::warn!("{} is now {}", from.join(name).display(), step.rename.after().display());
        }
        if let Some((directory, name)) = &self.made {
            tracing::warn!("the old log is now in {}", directory.join(name).display());
        }
    }
}

impl Step {
    fn undo(&self, data: &mut Tree, log: Option<&mut Tree>) -> rustix::io::Result<()> {
        let Rename { from, name, to, new_name } = &self.rename;
        match (self.how, log) {
            (How::Exchanged, _) => exchange(from, name, to, new_name),
            (How::Renamed, _) => move_back(to, new_name, from, name, &self.moved),
            (How::Staged, _) => data.take_back(name, to, new_name, &self.moved),
            (How::Marked, Some(log)) => log.take_back(name, to, new_name, &self.moved),
            (How::MarkedInExchange, Some(log)) => log.exchange_entry(name, to, &self.moved),
            // A later run finds a marker without a log, and replaces it.
            (How::Marked | How::MarkedInExchange | How::MarkedInPlace, _) => Ok(()),
        }
    }
}

/// The error of a move aside. A mount point cannot be renamed. In an overlay, a directory that came with the image can be
/// changed, but neither renamed nor exchanged.
fn cannot_move(path: &Path, error: Errno) -> Error {
    let failure = Error::io("move aside", path.display(), error.into());
    if error == Errno::BUSY {
        return failure.with_hint(format!(
            "{} is a mount point, which cannot be renamed: restore into a new `data_dir`; or unmount it (umount {}) and run \
             this again",
            path.display(),
            shell_word(path)
        ));
    }
    if error != Errno::XDEV {
        return failure;
    }
    failure.with_hint(format!(
        "it lies in the lower layer of an overlay filesystem, or is a mount point, and cannot be renamed: restore into a \
         volume or a new `data_dir`; or copy it to a directory that only root can write (cp -a {}), remove it, and run \
         this again",
        shell_word(path)
    ))
}

/// `NAME.replaced-TIME`, with a number appended where another run of the same second has taken the name.
pub(super) fn free_name(directory: &Directory, name: &OsStr, time: &str) -> Result<OsString> {
    let mut free = name.to_owned();
    free.push(ASIDE);
    free.push(time);
    let first = free.clone();
    for number in 2.. {
        let found = directory.look(&free);
        if found
            .map_err(|error| Error::io("look at", directory.join(&free).display(), error.into()))?
            .is_none()
        {
            break;
        }
        free.clone_from(&first);
        free.push(format!("-{number}"));
    }
    Ok(free)
}
