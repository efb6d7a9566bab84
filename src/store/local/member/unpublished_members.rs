//! Several members in one directory, which is published whole or not at all.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::part::{Part, Placement, not_empty};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::contract::Published;
use crate::store::local::directory::{Directory, parent_of};
use crate::store::local::growing::GrowingFile;
use crate::store::local::tree::{Owner, Tree};

/// Several members in one directory, which is published whole; it did not exist before, or was empty.
#[derive(Debug)]
pub struct UnpublishedMembers {
    tree: Tree,
    name: OsString,
}

impl UnpublishedMembers {
    /// Refuses what [`Self::begin`] would refuse.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Destination`], [`Kind::Io`].
    pub fn check(directory: &Path) -> Result<()> {
        Self::base(directory).map(drop)
    }

    fn base(directory: &Path) -> Result<(Arc<Directory>, OsString)> {
        let refused = |message: String| {
            Err(Error::new(Kind::Destination, message).with_hint("name a new directory in an existing one"))
        };
        let Some(name) = directory.file_name() else {
            return refused(format!("{} names no new directory", directory.display()));
        };
        let part = Part::find(directory)?;
        if let Placement::Beside(_) = part.placement {
            return Ok((part.base, name.to_owned()));
        }
        if let Some(other) = part.content(|_| false)? {
            return Err(
                not_empty(&part.base, &other, "the directory").with_hint("name a new or an empty directory")
            );
        }
        let base = Directory::open(parent_of(directory))?;
        let device = |directory: &Directory| rustix::fs::fstat(directory.file()).map(|stat| stat.st_dev);
        if base.names(name, part.base.file()) != Ok(true) || device(&base) != device(&part.base) {
            return refused(format!(
                "{} is a mount point or a link, which no directory can replace",
                directory.display()
            ));
        }
        Ok((Arc::new(base), name.to_owned()))
    }

    /// Begins to write the members.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Destination`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn begin(directory: &Path, owner: Option<Owner>) -> Result<Self> {
        let (base, name) = Self::base(directory)?;
        Ok(Self { tree: Tree::create(&base, owner)?, name })
    }

    /// Free bytes where the directory goes.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn free_space(&self) -> Result<u64> {
        self.tree.free_space()
    }

    /// Creates a file at `path` in it, with its parent directories.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create(&self, path: &Path) -> Result<GrowingFile> {
        self.tree.create_file(path).map(GrowingFile::new)
    }

    /// Publishes all of it by one rename.
    ///
    /// # Errors
    /// With nothing left behind: [`Kind::DestinationExists`], [`Kind::Interrupted`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn publish(mut self, interrupt: &Interrupt) -> Result<Published> {
        self.tree.seal(true)?;
        self.tree.check_in_place()?;
        interrupt.begin_commit()?;
        self.tree.publish(&self.name)?;
        let path = self.tree.base().join(&self.name);
        let shortfall = self.tree.base().sync().err().map(|error| {
            Error::new(Kind::PartlyPublished, format!("{} is complete, but {error}", path.display()))
        });
        Ok(Published { path, shortfall })
    }
}
