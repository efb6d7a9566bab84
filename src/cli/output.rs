//! The output of a command: a file that appears whole or not at all, or standard output.

use super::render;
use super::terminal::console;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::destination::Destination;
use crate::store::local::{self, UnpublishedFile};
use crate::store::space::free_space;
use crate::store::{Existing, Published};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// A destination that passed all checks that are possible before the first byte is written.
#[derive(Debug)]
pub(crate) struct Place {
    destination: Destination,
    existing: Existing,
    /// Whether the file gets a sidecar.
    sidecar: bool,
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
        if let Destination::File { directory, name } = &destination {
            local::check(directory, name, existing, sidecar)?;
        }
        Ok(Self { destination, existing, sidecar })
    }

    /// Bytes that are free there; `None` for standard output.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(crate) fn free_space(&self) -> Result<Option<u64>> {
        match &self.destination {
            Destination::Stdout => Ok(None),
            Destination::Directory(directory) | Destination::File { directory, .. } => {
                free_space(directory).map(Some)
            }
        }
    }

    /// Begins to write. The file of a directory destination gets its name later, from [`Output::name`].
    ///
    /// # Errors
    /// [`Kind::Io`] and the other kinds of I/O errors.
    pub(crate) fn begin(&self) -> Result<Output> {
        let (directory, name) = match &self.destination {
            Destination::Stdout => return stdout().map(Target::Stdout).map(Output::new),
            Destination::Directory(directory) => (directory.clone(), None),
            Destination::File { directory, name } => (directory.clone(), Some(name.clone())),
        };
        let content = UnpublishedFile::create(&directory)?;
        let (existing, sidecar) = (self.existing, self.sidecar);
        Ok(Output::new(Target::File(Box::new(FileTarget { content, directory, name, existing, sidecar }))))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.destination {
            Destination::Stdout => formatter.write_str("standard output"),
            Destination::Directory(directory) => write!(formatter, "a new file in {}", directory.display()),
            Destination::File { directory, name } => {
                formatter.write_str(&render::shown(Some(&directory.join(name))))
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
    File(Box<FileTarget>),
}

/// An unpublished file.
struct FileTarget {
    content: UnpublishedFile,
    directory: PathBuf,
    /// `None` until the name of an archive in a directory is known.
    name: Option<OsString>,
    existing: Existing,
    sidecar: bool,
}

impl Output {
    fn new(target: Target) -> Self {
        Self { target, failed: false }
    }

    /// Names the file of a directory destination.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], before anything is written.
    pub(crate) fn name(&mut self, automatic: impl FnOnce() -> String) -> Result<()> {
        if let Target::File(file) = &mut self.target
            && file.name.is_none()
        {
            let automatic = automatic();
            local::check(&file.directory, &automatic, file.existing, file.sidecar)?;
            file.name = Some(automatic.into());
        }
        Ok(())
    }

    /// Names the output in an error if writing to it failed; otherwise `otherwise` adds the name.
    #[must_use]
    pub(crate) fn explain(&self, error: Error, otherwise: impl FnOnce(Error) -> Error) -> Error {
        match &self.target {
            _ if !self.failed => otherwise(error),
            Target::Stdout(_) => error.within("standard output").with_hint(STDOUT_LOST),
            Target::File(file) => {
                let path = file.directory.join(file.name.as_deref().unwrap_or_default());
                left_nothing(error).within(render::shown(Some(&path)))
            }
        }
    }

    /// Publishes the file under its name, with a sidecar if a digest is given; `None` for standard output.
    ///
    /// # Errors
    /// The errors of [`UnpublishedFile::publish`], [`Kind::Io`] for standard output.
    pub(crate) fn publish(
        self,
        sidecar: Option<[u8; 32]>,
        interrupt: &Interrupt,
    ) -> Result<Option<Published>> {
        let file = match self.target {
            Target::Stdout(file) => return finish_stdout(&file).map(|()| None),
            Target::File(file) => file,
        };
        let nameless = || Error::new(Kind::Destination, "a directory is named where a file is needed");
        let name = file.name.ok_or_else(nameless)?;
        file.content.publish(name, file.existing, sidecar, interrupt).map(Some).map_err(left_nothing)
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
            Target::File(file) => file.content.write(bytes),
        };
        self.failed |= written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout(file) => file.flush(),
            Target::File(file) => file.content.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_a_directory_gets_its_name_later() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::for_archive(directory.path().as_os_str(), false).unwrap();
        let mut output = place.begin().unwrap();
        output.name(|| "x.age".to_owned()).unwrap();
        output.write_all(b"archive").unwrap();
        let path = output.publish(None, &Interrupt::new()).unwrap().unwrap().path;
        assert_eq!(path, directory.path().join("x.age"));
        assert_eq!(std::fs::read(path).unwrap(), b"archive");

        let mut again = place.begin().unwrap();
        let taken = again.name(|| "x.age".to_owned()).unwrap_err();
        assert_eq!(taken.kind(), Kind::DestinationExists);
    }

    #[test]
    fn a_name_that_is_given_stays() {
        let directory = tempfile::tempdir().unwrap();
        let named = directory.path().join("given.age");
        let mut output = Place::for_archive(named.as_os_str(), false).unwrap().begin().unwrap();
        output.name(|| "other.age".to_owned()).unwrap();
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
