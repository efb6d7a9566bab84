//! The input of a command: an archive, and the sidecar beside it.

use super::context::Context;
use super::exit::Exit;
use super::render::SidecarState;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::sidecar::{Agreement, Sidecar, mending_command};
pub(super) use crate::store::source::open_file;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Bytes per read where nothing else decides.
pub(super) const READ_SIZE: usize = 1024 * 1024;

/// An archive as named on the command line.
#[derive(Clone, Copy)]
pub(super) struct Archive<'a> {
    /// The path; `None` is standard input.
    path: Option<&'a Path>,
}

impl<'a> Archive<'a> {
    /// The archive at `path`, where `-` is standard input.
    pub(super) fn named(path: &'a Path) -> Self {
        Self { path: (path.as_os_str() != "-").then_some(path) }
    }

    /// The path; `None` is standard input.
    pub(super) fn path(self) -> Option<&'a Path> {
        self.path
    }

    /// Its name in errors.
    pub(super) fn name(self) -> String {
        self.path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
    }

    /// Puts its name and a colon before the message of an error that does not begin with them.
    pub(super) fn named_in(self, error: Error) -> Error {
        let (message, name) = (error.to_string(), self.name());
        let begins = message.strip_prefix(&name).is_some_and(|rest| rest.starts_with(": "));
        if begins { error } else { error.within(name) }
    }

    /// The error for a malformed sidecar beside an archive whose content was verified.
    pub(super) fn whole_but(self, malformed: Error) -> Error {
        let hint = self.path.map(|path| format!("write the sidecar anew: {}", mending_command(path)));
        let error = Error::new(
            Kind::SidecarMalformed,
            format!("{}: the content is whole, but {malformed}", self.name()),
        )
        .with_source(malformed);
        hint.into_iter().fold(error, Error::with_hint)
    }

    /// Opens it for reading from its beginning.
    pub(super) fn open(self) -> Result<File> {
        self.path.map_or_else(standard_input, |path| open_file(path, "archive"))
    }

    /// Reads the sidecar beside it.
    pub(super) fn sidecar(self) -> Result<Option<Sidecar>> {
        self.path.map_or(Ok(None), Sidecar::read_beside)
    }

    /// Compares `sha256`, the digest of the whole archive, with the sidecar.
    pub(super) fn compare(
        self,
        sidecar: Option<&Sidecar>,
        sha256: Option<&[u8; 32]>,
    ) -> Result<SidecarState> {
        let (Some(path), Some(sidecar), Some(sha256)) = (self.path, sidecar, sha256) else {
            return Ok(SidecarState::Absent);
        };
        if sidecar.compare(path, sha256)? == Agreement::Full {
            return Ok(SidecarState::Equal);
        }
        tracing::warn!(
            "the sidecar of {} is right but names {}; mend it with: {}",
            path.display(),
            sidecar.name.display(),
            mending_command(path)
        );
        Ok(SidecarState::EqualUnderAnotherName)
    }

    /// Checks whether "no identity matched" is damage after all: it is if the sidecar differs.
    pub(super) fn or_damaged(self, error: Error, interrupt: &Interrupt) -> Error {
        if error.kind() != Kind::NoMatchingIdentity {
            return error;
        }
        let compared = self.sidecar().and_then(|sidecar| match &sidecar {
            None => Ok(SidecarState::Absent),
            Some(_) => {
                self.compare(sidecar.as_ref(), Some(&sha256_of(&mut self.open()?, &self.name(), interrupt)?))
            }
        });
        match compared {
            Err(damage) if matches!(damage.kind(), Kind::SidecarMismatch | Kind::Interrupted) => damage,
            _ => error,
        }
    }
}

/// Does `what` with every archive. Reports a failure and goes on with the next; returns the worst exit code.
pub(super) fn each(
    archives: &[PathBuf],
    context: &Context,
    what: impl Fn(Archive<'_>, File) -> Result<Exit>,
) -> Result<Exit> {
    let mut worst = Exit::Done;
    for path in archives {
        let archive = Archive::named(path);
        let done =
            archive.open().and_then(|file| what(archive, file).map_err(|error| archive.named_in(error)));
        let exit = match done {
            Ok(exit) => exit,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                let exit = Exit::of(error.kind());
                context.reporter.failure(&error, exit, Some(path));
                exit
            }
        };
        worst = worst.worse(exit);
    }
    Ok(worst)
}

/// Standard input without the buffer of the standard library, which would keep bytes that were read ahead.
pub(super) fn standard_input() -> Result<File> {
    let descriptor = io::stdin().as_fd().try_clone_to_owned();
    descriptor.map(File::from).map_err(|error| Error::io("read", "standard input", error))
}

/// The SHA-256 of a whole file.
fn sha256_of(file: &mut File, name: &str, interrupt: &Interrupt) -> Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; READ_SIZE];
    loop {
        interrupt.check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(length) => digest.update(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", name, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_archive_is_not_found_and_a_directory_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let missing = open_file(&directory.path().join("x.age"), "archive").unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        let not_one = open_file(directory.path(), "archive").unwrap_err();
        assert_eq!(not_one.kind(), Kind::Io);
    }

    #[test]
    fn a_digest_is_compared_with_the_sidecar_s() {
        let archive = Archive::named(Path::new("/b/x.age"));
        let sidecar = |name: &str| Sidecar { sha256: [7; 32], name: name.into() };
        assert_eq!(archive.compare(None, Some(&[7; 32])).unwrap(), SidecarState::Absent);
        assert_eq!(archive.compare(Some(&sidecar("x.age")), Some(&[7; 32])).unwrap(), SidecarState::Equal);
        let other = archive.compare(Some(&sidecar("y.age")), Some(&[7; 32])).unwrap();
        assert_eq!(other, SidecarState::EqualUnderAnotherName);
        let error = archive.compare(Some(&sidecar("x.age")), Some(&[8; 32])).unwrap_err();
        assert_eq!(error.kind(), Kind::SidecarMismatch);
    }

    #[test]
    fn errors_name_the_archive_once_and_for_certain() {
        let archive = Archive::named(Path::new("a"));
        let named = |message: &str| archive.named_in(Error::new(Kind::Io, message)).to_string();
        assert_eq!(named("cannot read a frame"), "a: cannot read a frame");
        assert_eq!(named("a frame is damaged"), "a: a frame is damaged");
        assert_eq!(named("a: is damaged"), "a: is damaged");
        assert_eq!(named("a.sha256 is no sidecar"), "a: a.sha256 is no sidecar");
        let archive = Archive::named(Path::new("x.age"));
        let malformed =
            Error::new(Kind::SidecarMalformed, "x.age.sha256 is no sidecar: not one line of sha256sum");
        let error = archive.named_in(archive.whole_but(malformed));
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (
                Kind::SidecarMalformed,
                "x.age: the content is whole, but x.age.sha256 is no sidecar: not one line of sha256sum"
            )
        );
        assert!(error.hint().ends_with("sha256sum -- x.age > x.age.sha256"), "{}", error.hint());
    }

    #[test]
    fn a_file_is_digested() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let sha256 = sha256_of(&mut File::open(&path).unwrap(), "abc", &Interrupt::new()).unwrap();
        // FIPS 180-4, example 1.
        assert_eq!(hex::encode(sha256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
