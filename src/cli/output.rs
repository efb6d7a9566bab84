//! Where the bytes of a command go: a file that appears whole or not at all, or standard output.

use super::settings::destination::Destination;
use super::term;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::local::{Existing, Unpublished};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A destination found possible, before anything was written to it.
#[derive(Debug)]
pub struct Place {
    destination: Destination,
    existing: Existing,
}

impl Place {
    /// A place for an archive.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub fn for_archive(named: &OsStr, force: bool) -> Result<Self> {
        Self::checked(Destination::for_archive(named)?, force, Some("an archive"))
    }

    /// A place for a snapshot.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub fn for_snapshot(named: &OsStr, force: bool) -> Result<Self> {
        Self::checked(Destination::for_snapshot(named)?, force, Some("a snapshot"))
    }

    /// A place for an identity, which is text and never replaces anything.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub fn for_key(named: &OsStr) -> Result<Self> {
        Self::checked(Destination::for_snapshot(named)?, false, None)
    }

    /// `binary` is what a terminal would not like to see.
    fn checked(destination: Destination, force: bool, binary: Option<&str>) -> Result<Self> {
        if let Some(what) = binary
            && destination == Destination::Stdout
            && term::stdout_is_terminal()
        {
            return Err(Error::new(
                Kind::Destination,
                format!("standard output is a terminal, no place for {what}"),
            )
            .with_hint("name a file, or pipe it into something"));
        }
        let place = Self { destination, existing: if force { Existing::Replace } else { Existing::Refuse } };
        if let Destination::File { directory, name } = &place.destination {
            place.refuse_existing(directory, name)?;
        }
        Ok(place)
    }

    /// Refuses early what publishing would refuse at the end.
    fn refuse_existing(&self, directory: &Path, name: &OsStr) -> Result<()> {
        let path = directory.join(name);
        if self.existing == Existing::Refuse && path.symlink_metadata().is_ok() {
            return Err(Error::new(Kind::DestinationExists, format!("{} exists already", path.display())));
        }
        Ok(())
    }

    /// Begins to write; `automatic` is the name in a directory.
    ///
    /// # Errors
    /// [`Kind::Io`] and its like, [`Kind::DestinationExists`].
    pub fn begin(self, automatic: impl FnOnce() -> String) -> Result<Output> {
        let (directory, name) = match &self.destination {
            Destination::Stdout => return stdout().map(Output::Stdout),
            Destination::Directory(directory) => (directory, OsString::from(automatic())),
            Destination::File { directory, name } => (directory, name.clone()),
        };
        self.refuse_existing(directory, &name)?;
        let file = Unpublished::create(directory)?;
        Ok(Output::File { file, name, existing: self.existing })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.destination {
            Destination::Stdout => formatter.write_str("standard output"),
            Destination::Directory(directory) => write!(formatter, "a new file in {}", directory.display()),
            Destination::File { directory, name } => write!(formatter, "{}", directory.join(name).display()),
        }
    }
}

/// Standard output without the line buffer of the standard library, which would cut binary data at newlines.
fn stdout() -> Result<File> {
    let descriptor = io::stdout().as_fd().try_clone_to_owned();
    descriptor.map(File::from).map_err(|error| Error::io("open", "standard output", error))
}

/// What is being written.
pub enum Output {
    /// Standard output.
    Stdout(File),
    /// A file without its name yet.
    File {
        /// Its content so far.
        file: Unpublished,
        /// The name it will have.
        name: OsString,
        /// Whether it may take that name from another.
        existing: Existing,
    },
}

impl Output {
    /// Where errors say the bytes were to go.
    #[must_use]
    pub fn writer(&mut self) -> &mut (dyn Write + Send) {
        match self {
            Self::Stdout(file) => file,
            Self::File { file, .. } => file,
        }
    }

    /// Gives the file its name, with a sidecar where there is a digest for one; `None` for standard output.
    ///
    /// # Errors
    /// Those of [`Unpublished::publish`].
    pub fn publish(self, sidecar: Option<[u8; 32]>, interrupt: &Interrupt) -> Result<Option<PathBuf>> {
        let Self::File { file, name, existing } = self else {
            interrupt.check()?;
            return Ok(None);
        };
        let name = name
            .to_str()
            .ok_or_else(|| Error::new(Kind::Destination, format!("{} is not UTF-8", name.display())))?;
        file.publish(name, existing, sidecar, interrupt).map(Some)
    }
}
