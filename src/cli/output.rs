//! Where the bytes of a command go: a file that appears whole or not at all, or standard output.

use super::{report, term};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::destination::Destination;
use crate::store::local::{self, Existing, Unpublished};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// A destination found possible, before anything was written to it.
#[derive(Debug)]
pub struct Place {
    destination: Destination,
    existing: Existing,
    /// Whether a sidecar will lie beside the file.
    sidecar: bool,
}

impl Place {
    /// A place for an archive.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub fn for_archive(named: &OsStr, force: bool) -> Result<Self> {
        refuse_terminal(Destination::for_archive(named)?, "an archive")
            .and_then(|destination| Self::checked(destination, force, true))
    }

    /// A place for a snapshot.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub fn for_snapshot(named: &OsStr, force: bool) -> Result<Self> {
        refuse_terminal(Destination::for_snapshot(named)?, "a snapshot")
            .and_then(|destination| Self::checked(destination, force, false))
    }

    /// A place for an identity, which is text and never replaces anything.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub fn for_key(named: &OsStr) -> Result<Self> {
        Self::checked(Destination::for_snapshot(named)?, false, false)
    }

    /// Refuses before anything is asked or read what publishing would refuse at the end.
    fn checked(destination: Destination, force: bool, sidecar: bool) -> Result<Self> {
        let existing = if force { Existing::Replace } else { Existing::Refuse };
        if destination == Destination::Stdout && term::stdout_is_closed() {
            return Err(Error::new(Kind::Destination, "standard output is closed")
                .with_hint("redirect it into a file or a pipe, or name a file"));
        }
        if let Destination::File { directory, name } = &destination {
            local::check(directory, name, existing, sidecar)?;
        }
        Ok(Self { destination, existing, sidecar })
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
        local::check(directory, &name, self.existing, self.sidecar)?;
        let file = Unpublished::create(directory)?;
        Ok(Output::File { file, name, existing: self.existing })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.destination {
            Destination::Stdout => formatter.write_str("standard output"),
            Destination::Directory(directory) => write!(formatter, "a new file in {}", directory.display()),
            Destination::File { directory, name } => {
                formatter.write_str(&report::shown(Some(&directory.join(name))))
            }
        }
    }
}

/// A terminal would show binary data as noise, or obey it.
fn refuse_terminal(destination: Destination, what: &str) -> Result<Destination> {
    if destination == Destination::Stdout && term::stdout_is_terminal() {
        return Err(Error::new(
            Kind::Destination,
            format!("standard output is a terminal, no place for {what}"),
        )
        .with_hint("name a file, or pipe it into something"));
    }
    Ok(destination)
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
        file.publish(name, existing, sidecar, interrupt).map(Some)
    }
}
