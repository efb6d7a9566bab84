//! One directory that is published with a member: where it goes, and what is there already.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;

use crate::error::{Error, Kind, Result};
use crate::store::local::directory::{Directory, is_file_name, is_link, is_same, parent, parent_of};
use crate::store::local::layout::{ASIDE, MARKER, MEMBER};
use crate::store::local::tree::{Owner, Tree, is_tree_name};

/// A directory that every filesystem of the ext family has in its root.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// One directory to be published.
pub(super) struct Part {
    /// The directory itself, or the one that will contain it.
    pub(super) base: Arc<Directory>,
    pub(super) placement: Placement,
}

/// How it is published.
#[derive(Clone, Debug)]
pub(super) enum Placement {
    /// It exists: the entries are renamed into it.
    Inside,
    /// It is renamed to this name in `base`.
    Beside(OsString),
}

impl Part {
    pub(super) fn find(path: &Path) -> Result<Self> {
        let missing = match Directory::open_if_there(path)? {
            Some(base) => return Ok(Self { base: Arc::new(base), placement: Placement::Inside }),
            None => path.file_name(),
        };
        let Some(name) = missing else {
            return Err(Error::new(Kind::Destination, format!("{} names no directory", path.display())));
        };
        let base = Directory::open(parent_of(path))?;
        let there = base.look(name);
        let there = there.map_err(|error| Error::io("look at", path.display(), error.into()))?;
        if there.is_some_and(|stat| is_link(&stat)) {
            let message = format!("{} is a link that leads to no directory", path.display());
            return Err(Error::new(Kind::Destination, message).with_hint(
                "is what it leads to mounted? else remove the link, or name the directory itself",
            ));
        }
        Ok(Self { base: Arc::new(base), placement: Placement::Beside(name.to_owned()) })
    }

    /// Whether `other` is, or will be, this directory or one above it.
    pub(super) fn is_within(&self, other: &Self) -> Result<bool> {
        match (&self.placement, &other.placement) {
            (Placement::Beside(name), Placement::Beside(other_name)) if name == other_name => {
                self.base.is(&other.base)
            }
            (_, Placement::Beside(_)) => Ok(false),
            (_, Placement::Inside) => is_among(&other.base, &ancestors(&self.base)?),
        }
    }

    /// Whether both are, or will be, on the same filesystem.
    pub(super) fn is_beside(&self, other: &Self) -> Result<bool> {
        let device = |directory: &Directory| {
            let stat = rustix::fs::fstat(directory.file());
            stat.map(|stat| stat.st_dev)
                .map_err(|error| Error::io("look at", directory.path().display(), error.into()))
        };
        Ok(device(&self.base)? == device(&other.base)?)
    }

    /// Whether this directory is, or will be, in the `member` of `data`.
    pub(super) fn is_within_member_of(&self, data: &Self) -> Result<bool> {
        let Placement::Inside = data.placement else { return Ok(false) };
        if let Placement::Beside(name) = &self.placement
            && name == MEMBER
            && self.base.is(&data.base)?
        {
            return Ok(true);
        }
        let member = data.base.look(OsStr::new(MEMBER)).ok().flatten();
        let Some(member) = member else { return Ok(false) };
        Ok(ancestors(&self.base)?.iter().any(|above| is_same(above, &member)))
    }

    /// Whether it holds the marker of an unfinished restore.
    pub(super) fn has_marker(&self) -> bool {
        matches!(self.placement, Placement::Inside)
            && self.base.look(OsStr::new(MARKER)).is_ok_and(|found| found.is_some())
    }

    /// Whether it is the entry `name` of `directory`.
    pub(super) fn is_entry_of(&self, directory: &Directory, name: &OsStr) -> bool {
        matches!(self.placement, Placement::Inside) && directory.names(name, self.base.file()) == Ok(true)
    }

    /// The first of its entries that belongs neither to this program, nor to the filesystem, and is not `expected`.
    pub(super) fn content(&self, expected: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
        Ok(contents(&self.base)?.into_iter().find(|name| !expected(name)))
    }

    pub(super) fn begin(self, owner: Option<Owner>) -> Result<UnpublishedPart> {
        let tree = Tree::create(&self.base, owner)?;
        Ok(UnpublishedPart { tree, placement: self.placement, published: Vec::new() })
    }
}

/// `directory` and all directories above it, up to the root.
fn ancestors(directory: &Directory) -> Result<Vec<Stat>> {
    let failed =
        |error: Errno| Error::io("look at the directories above", directory.path().display(), error.into());
    let mut at = directory.itself().map_err(failed)?;
    let mut found: Vec<Stat> = Vec::new();
    loop {
        let stat = rustix::fs::fstat(&at).map_err(failed)?;
        // The parent of the root is the root.
        if found.last().is_some_and(|below| is_same(below, &stat)) {
            return Ok(found);
        }
        found.push(stat);
        at = parent(&at).map_err(failed)?;
    }
}

fn is_among(directory: &Directory, others: &[Stat]) -> Result<bool> {
    let stat = rustix::fs::fstat(directory.file());
    let stat = stat.map_err(|error| Error::io("look at", directory.path().display(), error.into()))?;
    Ok(others.iter().any(|other| is_same(other, &stat)))
}

/// Its entries that belong neither to this program nor to the filesystem.
pub(super) fn contents(directory: &Directory) -> Result<Vec<Vec<u8>>> {
    let mut names = names_in(directory)?;
    names.retain(|name| !is_tree_name(name) && !is_aside(name) && name != LOST_AND_FOUND);
    Ok(names)
}

fn names_in(directory: &Directory) -> Result<Vec<Vec<u8>>> {
    let failed = |error: Errno| Error::io("read the directory", directory.path().display(), error.into());
    let mut names = Vec::new();
    for name in directory.names_in_it().map_err(failed)? {
        let name = name.map_err(failed)?;
        if is_file_name(OsStr::from_bytes(&name)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether `name` is that of something moved aside.
fn is_aside(name: &[u8]) -> bool {
    name.windows(ASIDE.len()).any(|window| window == ASIDE.as_bytes())
}

pub(super) fn not_empty(directory: &Directory, other: &[u8], what: &str) -> Error {
    let path = directory.path().display();
    let other = String::from_utf8_lossy(other);
    Error::new(Kind::DestinationExists, format!("{what} {path} is not empty: there is {other:?} in it"))
        .with_hint(
            "name a new or an empty directory; or pass `replace`: it moves aside a member and its log, nothing else",
        )
}

/// One directory being made.
#[derive(Debug)]
pub(super) struct UnpublishedPart {
    pub(super) tree: Tree,
    pub(super) placement: Placement,
    /// The names that were published, and the files that have them, to be taken back if a later step fails.
    published: Vec<(OsString, Option<Stat>)>,
}

impl UnpublishedPart {
    /// Gives all its entries their names.
    pub(super) fn publish(&mut self, entries: &[&str]) -> Result<()> {
        match &self.placement {
            Placement::Beside(name) => {
                self.tree.publish(name)?;
                self.published.push((name.clone(), None));
            }
            Placement::Inside => {
                for entry in entries.iter().map(OsStr::new) {
                    let published = self.tree.publish_entry(entry, self.tree.base())?;
                    self.published.push((entry.to_owned(), Some(published)));
                }
            }
        }
        Ok(())
    }

    /// The same directory as a [`Part`], to check again what is there now.
    pub(super) fn part(&self) -> Part {
        Part { base: Arc::clone(self.tree.base()), placement: self.placement.clone() }
    }

    pub(super) fn seal(&self) -> Result<()> {
        self.tree.seal(matches!(self.placement, Placement::Beside(_)))
    }

    /// Takes back what was published; false where that fails.
    pub(super) fn take_back(&mut self) -> bool {
        let base = Arc::clone(self.tree.base());
        let taken =
            std::mem::take(&mut self.published).iter().rev().try_for_each(|(name, entry)| match entry {
                None => self.tree.unpublish(name),
                Some(entry) => self.tree.take_back(name, &base, name, entry),
            });
        if let Err(error) = &taken {
            tracing::warn!(path = %self.tree.path().display(), %error, "cannot take back what was published");
        }
        taken.is_ok()
    }

    pub(super) fn path(&self) -> PathBuf {
        match &self.placement {
            Placement::Inside => self.tree.base().path().to_owned(),
            Placement::Beside(name) => self.tree.base().join(name),
        }
    }
}
