//! The output of a command: a file that appears whole or not at all, or standard output.

use super::render;
use super::terminal::console;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::destination::Destination;
use crate::store::name::ArchiveName;
use crate::store::{Existing, Location, Published, Terms, Unpublished};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// A destination that passed all checks that are possible before the first byte is written.
#[derive(Debug)]
pub(crate) struct Place {
    destination: Destination,
    terms: Terms,
}

impl Place {
    /// The place of an archive.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub(crate) fn for_archive(named: &OsStr, force: bool) -> Result<Self> {
        refuse_terminal(Destination::for_archive(named)?, "an archive")
            .and_then(|destination| Self::checked(destination, force, true))
    }

    /// The place of a snapshot.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub(crate) fn for_snapshot(named: &OsStr, force: bool) -> Result<Self> {
        refuse_terminal(Destination::for_snapshot(named)?, "a snapshot")
            .and_then(|destination| Self::checked(destination, force, false))
    }

    /// The place of an identity, which is text and never replaces a file.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::DestinationExists`].
    pub(crate) fn for_key(named: &OsStr) -> Result<Self> {
        Self::checked(Destination::for_key(named)?, false, false)
    }

    /// Refuses, before any question or read, what publishing would refuse at the end.
    fn checked(destination: Destination, force: bool, sidecar: bool) -> Result<Self> {
        let existing = if force { Existing::Replace } else { Existing::Refuse };
        if destination == Destination::Stdout && console::stdout_is_closed() {
            return Err(Error::new(Kind::Destination, "standard output is closed")
                .with_hint("redirect it into a file or a pipe, or name a file"));
        }
        let terms = Terms { existing, sidecar };
        if let Destination::Store { location, name: Some(name) } = &destination {
            location.store().check(name, terms)?;
        }
        Ok(Self { destination, terms })
    }

    /// Bytes that are free there; `None` for standard output, and for a store that does not know.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(crate) fn free_space(&self) -> Result<Option<u64>> {
        match &self.destination {
            Destination::Stdout => Ok(None),
            Destination::Store { location, .. } => location.store().free_space(),
        }
    }

    /// Begins to write. An archive without a given name gets it later, from [`Output::name`].
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Io`] and the other kinds of I/O errors.
    pub(crate) fn begin(&self) -> Result<Output> {
        let Destination::Store { location, name } = &self.destination else {
            return stdout().map(Target::Stdout).map(Output::new);
        };
        let mut content = location.store().begin()?;
        let address = name.as_ref().map(|name| content.name(name, self.terms)).transpose()?;
        let (location, sidecar) = (location.clone(), self.terms.sidecar);
        Ok(Output::new(Target::Object { content, location, sidecar, address }))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.destination {
            Destination::Stdout => formatter.write_str("standard output"),
            Destination::Store { location, name: None } => write!(formatter, "a new file in {location}"),
            Destination::Store { location, name: Some(name) } => {
                formatter.write_str(&render::shown(Some(&location.store().address(name))))
            }
        }
    }
}

/// Refuses a terminal: it would show binary data as noise, or obey it.
fn refuse_terminal(destination: Destination, what: &str) -> Result<Destination> {
    if destination == Destination::Stdout && console::stdout_is_terminal() {
        return Err(Error::new(
            Kind::Destination,
            format!("standard output is a terminal, no place for {what}"),
        )
        .with_hint("name a file, or pipe it into something"));
    }
    Ok(destination)
}

/// Standard output without the line buffer of the standard library, which would split binary data at newlines.
fn stdout() -> Result<File> {
    let descriptor = io::stdout().as_fd().try_clone_to_owned();
    descriptor.map(File::from).map_err(|error| Error::io("open", "standard output", error))
}

/// Syncs standard output if it is a file: a disk that cannot keep the data may report that only now.
fn finish_stdout(file: &File) -> Result<()> {
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    let synced = if is_file { file.sync_all() } else { Ok(()) };
    synced.map_err(|error| Error::io("write", "standard output", error))
}

/// The output that is being written.
pub(crate) struct Output {
    target: Target,
    failed: bool,
}

enum Target {
    Stdout(File),
    Object {
        content: Box<dyn Unpublished>,
        location: Location,
        /// Whether it gets a sidecar.
        sidecar: bool,
        /// Where it is going to be; `None` until the object has its name.
        address: Option<PathBuf>,
    },
}

impl Output {
    fn new(target: Target) -> Self {
        Self { target, failed: false }
    }

    /// Names an object that has no name yet, with a number where that name is taken. Whatever the operator asked for, such a
    /// name replaces nothing: the other archive may be another host's.
    ///
    /// # Errors
    /// [`Kind::Destination`], before anything is written.
    pub(crate) fn name(&mut self, automatic: &ArchiveName) -> Result<()> {
        if let Target::Object { content, sidecar, address: address @ None, .. } = &mut self.target {
            let terms = Terms { existing: Existing::Number, sidecar: *sidecar };
            *address = Some(content.name(OsStr::new(&automatic.to_string()), terms)?);
        }
        Ok(())
    }

    /// Names the output in an error if writing to it failed; otherwise `otherwise` adds the name.
    #[must_use]
    pub(crate) fn explain(&self, error: Error, otherwise: impl FnOnce(Error) -> Error) -> Error {
        match &self.target {
            _ if !self.failed => otherwise(error),
            Target::Stdout(_) => error.within("standard output").with_hint(STDOUT_LOST),
            Target::Object { address: Some(address), .. } => {
                left_nothing(error).within(render::shown(Some(address)))
            }
            Target::Object { location, .. } => left_nothing(error).within(location),
        }
    }

    /// Publishes the object under its name; `sha256` is the digest of all that was written, for its sidecar, if it gets one.
    /// `None` for standard output.
    ///
    /// # Errors
    /// The errors of [`Unpublished::publish`], [`Kind::Io`] for standard output.
    pub(crate) fn publish(
        self,
        sha256: Option<[u8; 32]>,
        interrupt: &Interrupt,
    ) -> Result<Option<Published>> {
        match self.target {
            Target::Stdout(file) => finish_stdout(&file).map(|()| None),
            Target::Object { content, .. } => {
                content.publish(sha256, interrupt).map(Some).map_err(left_nothing)
            }
        }
    }
}

/// Tells a user whose disk is full that there is nothing to clean up.
fn left_nothing(error: Error) -> Error {
    if error.kind() != Kind::NoSpace {
        return error;
    }
    let hint = format!("{}; nothing was left behind", error.hint());
    error.with_hint(hint)
}

/// The hint when the reader of standard output fails.
const STDOUT_LOST: &str =
    "what came out before must be thrown away; look at what reads standard output, and run it again";

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.target {
            Target::Stdout(file) => file.write(bytes),
            Target::Object { content, .. } => content.write(bytes),
        };
        self.failed |= written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout(file) => file.flush(),
            Target::Object { content, .. } => content.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_a_directory_gets_its_name_later() {
        let directory = tempfile::tempdir().unwrap();
        // Even with `--force`, the second one does not replace the first.
        for (force, content, name) in [
            (false, b"first ", "prod-19700101T000000Z-r7.db.zst.age"),
            (true, b"second", "prod-19700101T000000Z-r7.2.db.zst.age"),
        ] {
            let place = Place::for_archive(directory.path().as_os_str(), force).unwrap();
            let mut output = place.begin().unwrap();
            output.name(&automatic()).unwrap();
            output.write_all(content).unwrap();
            let path = output.publish(None, &Interrupt::new()).unwrap().unwrap().path;
            assert_eq!(path, directory.path().join(name));
            assert_eq!(std::fs::read(path).unwrap(), content);
        }
    }

    fn automatic() -> ArchiveName {
        ArchiveName::new("prod", jiff::Timestamp::UNIX_EPOCH, 7)
    }

    #[test]
    fn a_name_that_is_given_stays() {
        let directory = tempfile::tempdir().unwrap();
        let named = directory.path().join("given.age");
        let mut output = Place::for_archive(named.as_os_str(), false).unwrap().begin().unwrap();
        output.name(&automatic()).unwrap();
        assert_eq!(output.publish(None, &Interrupt::new()).unwrap().unwrap().path, named);
    }

    #[test]
    fn an_existing_file_is_refused_before_anything_is_begun() {
        let directory = tempfile::tempdir().unwrap();
        let named = directory.path().join("x.age");
        std::fs::write(&named, "old").unwrap();
        for place in [Place::for_archive(named.as_os_str(), false), Place::for_key(named.as_os_str())] {
            assert_eq!(place.unwrap_err().kind(), Kind::DestinationExists);
        }
        assert!(Place::for_archive(named.as_os_str(), true).is_ok());
    }

    #[test]
    fn only_an_output_that_failed_is_named() {
        let error = || Error::new(Kind::NoSpace, "cannot write");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut output = Output::new(Target::Stdout(full));
        assert_eq!(output.explain(error(), |error| error.within("input")).to_string(), "input: cannot write");
        output.write_all(b"x").unwrap_err();
        let explained = output.explain(error(), |error| error.within("input"));
        assert_eq!(explained.to_string(), "standard output: cannot write");
        assert_eq!(explained.hint(), STDOUT_LOST);
        assert!(!error().hint().contains("left behind"));
        assert!(left_nothing(error()).hint().ends_with("; nothing was left behind"));
    }
}
