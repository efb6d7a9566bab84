//! What every store does, whatever is behind it: a directory now, later a bucket.
//!
//! A store holds objects under names, without directories. An object appears whole under its name or not at all, and an
//! archive's sidecar lies beside it under the archive's name and a suffix. No operation renames an object, because no
//! bucket can. `conformance` checks all of this for every implementer.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use jiff::Timestamp;

use super::sidecar::Sidecar;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// What to do when the final name exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Replace an object, as the operator asked for. In a directory, anything but a file is refused all the same. Two
    /// processes that replace the same archive at the same time may leave the sidecar of one beside the file of the other.
    Replace,
    /// Publish an object with an automatic name under the next free [number](super::name::ArchiveName::number). It replaces
    /// nothing, and refuses any other name.
    Number,
}

/// The terms on which an object is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What to do when the name exists.
    pub existing: Existing,
    /// Whether the object gets a sidecar.
    pub sidecar: bool,
}

/// An object that has its final name.
#[derive(Debug)]
#[must_use = "it may have been published with a shortfall"]
#[non_exhaustive]
pub struct Published {
    /// Where it is: a path, or the address of an object in a bucket.
    pub path: PathBuf,
    /// What failed after the commit, as a [`Kind::PartlyPublished`](crate::Kind::PartlyPublished): the object is complete
    /// under its name, but its sidecar is missing or its name may not be durable.
    pub shortfall: Option<Error>,
}

/// What a store knows of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the store.
    pub name: OsString,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, by the clock of the store.
    pub modified: Option<Timestamp>,
}

/// A place that holds objects.
///
/// Every error says which store and which object it is about.
pub trait Store: fmt::Debug + Send + Sync {
    /// The path or address of `name`, as an operator would write it.
    fn address(&self, name: &OsStr) -> PathBuf;

    /// Refuses now what publishing `name` would refuse. Publishing checks again.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`](crate::Kind::DestinationExists) where the name is taken and can be neither replaced nor
    /// numbered, [`Kind::Destination`](crate::Kind::Destination) where no object, or no sidecar, can have that name.
    fn check(&self, name: &OsStr, terms: Terms) -> Result<()>;

    /// Begins an object, and so proves that the store can be written to.
    ///
    /// # Errors
    /// [`Kind::Destination`](crate::Kind::Destination), [`Kind::NoSpace`](crate::Kind::NoSpace),
    /// [`Kind::Io`](crate::Kind::Io).
    fn begin(&self) -> Result<Box<dyn Unpublished>>;

    /// Opens the object `name`.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound), [`Kind::Io`](crate::Kind::Io).
    fn open(&self, name: &OsStr) -> Result<Box<dyn Object>>;

    /// Reads the sidecar of the archive `name`; `None` where there is none.
    ///
    /// # Errors
    /// [`Kind::SidecarMalformed`](crate::Kind::SidecarMalformed), [`Kind::Io`](crate::Kind::Io).
    fn sidecar(&self, name: &OsStr) -> Result<Option<Sidecar>>;

    /// Every published object, sidecars included, in the order of the bytes of their names. A link is no object.
    ///
    /// # Errors
    /// [`Kind::Destination`](crate::Kind::Destination), [`Kind::Io`](crate::Kind::Io).
    fn list(&self) -> Result<Vec<Entry>>;

    /// What [`Self::list`] says of `name`.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound), [`Kind::Io`](crate::Kind::Io).
    fn stat(&self, name: &OsStr) -> Result<Entry>;

    /// Removes the object `name`, and then its sidecar: a sidecar alone misleads no reader, but an archive without its
    /// sidecar looks damaged.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound), [`Kind::Io`](crate::Kind::Io).
    fn remove(&self, name: &OsStr) -> Result<()>;

    /// Free bytes; `None` for a store that does not know its size.
    ///
    /// # Errors
    /// [`Kind::Destination`](crate::Kind::Destination), [`Kind::Io`](crate::Kind::Io).
    fn free_space(&self) -> Result<Option<u64>>;
}

/// An object being written. Nothing lists or reads it before it is published, and dropping it leaves nothing behind.
pub trait Unpublished: Write + Send {
    /// Gives it the name and the terms under which it will be published, and returns the [address](Store::address) of the name
    /// that is free now. This comes before the first byte, because a bucket takes bytes only under a name; a write before it
    /// fails.
    ///
    /// # Errors
    /// The errors of [`Store::check`].
    fn name(&mut self, name: &OsStr, terms: Terms) -> Result<PathBuf>;

    /// Publishes it; with `sha256`, the digest of all that was written, also its sidecar, if its terms say so. The sidecar
    /// never appears before its object, nor does an old sidecar lie beside a new object. Under [`Existing::Number`] it gets
    /// the next free name where another publisher has taken its own meanwhile.
    ///
    /// # Errors
    /// With nothing left behind: the errors of a write and of [`Store::check`],
    /// [`Kind::Interrupted`](crate::Kind::Interrupted) where a stop was requested before the commit.
    fn publish(self: Box<Self>, sha256: Option<[u8; 32]>, interrupt: &Interrupt) -> Result<Published>;
}

/// An open object: [`Read`] reads it in sequence, [`Self::read_at`] any range of it.
pub trait Object: Read + Seek + Send {
    /// Its size in bytes; `None` for what can only be read in sequence, such as a pipe.
    fn size(&self) -> Option<u64>;

    /// When it was last written, by the clock of the store, where that is known.
    fn modified(&self) -> Option<Timestamp>;

    /// Reads at `offset` and moves no position. It fills `buffer`, unless the object ends before; beyond the end it reads
    /// nothing.
    ///
    /// # Errors
    /// The error of the store.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}
