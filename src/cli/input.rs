//! The input of a command: an archive, and the sidecar beside it.

use super::context::Context;
use super::exit::Exit;
use super::render::{SidecarState, Tally};
use crate::error::{Error, Kind, Result, Subject};
use crate::interrupt::Interrupt;
use crate::store::local::LocalFile;
use crate::store::sidecar::{Agreement, Sidecar, mending_command};
use crate::store::{Object, StoredArchive};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::iter;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Bytes per read where nothing else decides.
pub(super) const READ_SIZE: usize = 1024 * 1024;

/// An archive as named on the command line.
pub(super) struct Archive {
    /// `None` is standard input.
    stored: Option<StoredArchive>,
}

impl Archive {
    /// The archive at `path`, where `-` is standard input.
    pub(super) fn named(path: &Path) -> Self {
        Self { stored: (path.as_os_str() != "-").then(|| StoredArchive::at(path)) }
    }

    /// The path; `None` is standard input.
    pub(super) fn path(&self) -> Option<&Path> {
        self.stored.as_ref().map(StoredArchive::path)
    }

    /// What an error about it is about.
    pub(super) fn subject(&self) -> Subject {
        self.path().map_or_else(|| Subject::Stream("standard input".to_owned()), Subject::from)
    }

    /// The error for a malformed sidecar beside an archive whose content was verified.
    pub(super) fn whole_but(&self, malformed: Error) -> Error {
        let hint = self.path().map(|path| format!("write the sidecar anew: {}", mending_command(path)));
        let message = format!("the content is whole, but {malformed}");
        let error = Error::new(Kind::SidecarMalformed, message).about(self.subject()).with_source(malformed);
        hint.into_iter().fold(error, Error::with_hint)
    }

    /// Opens it for reading from its beginning.
    pub(super) fn open(&self) -> Result<Box<dyn Object>> {
        self.stored.as_ref().map_or_else(standard_input_object, StoredArchive::open)
    }

    /// Reads the sidecar beside it.
    pub(super) fn sidecar(&self) -> Result<Option<Sidecar>> {
        self.stored.as_ref().map_or(Ok(None), StoredArchive::sidecar)
    }

    /// Compares `sha256`, the digest of the whole archive, with the sidecar.
    pub(super) fn compare(
        &self,
        sidecar: Option<&Sidecar>,
        sha256: Option<&[u8; 32]>,
    ) -> Result<SidecarState> {
        let (Some(path), Some(sidecar), Some(sha256)) = (self.path(), sidecar, sha256) else {
            return Ok(SidecarState::Absent);
        };
        if sidecar.compare(path, sha256)? == Agreement::Full {
            tracing::debug!("checked: the SHA-256 of {} is that of its sidecar", path.display());
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
    pub(super) fn or_damaged(&self, error: Error, interrupt: &Interrupt) -> Error {
        if error.kind() != Kind::NoMatchingIdentity {
            return error;
        }
        let compared = self.sidecar().and_then(|sidecar| {
            if sidecar.is_none() {
                return Ok(SidecarState::Absent);
            }
            let sha256 = sha256_of(&mut self.open()?, &self.subject(), interrupt)?;
            self.compare(sidecar.as_ref(), Some(&sha256))
        });
        match compared {
            Err(damage) if matches!(damage.kind(), Kind::SidecarMismatch | Kind::Interrupted) => damage,
            _ => error,
        }
    }
}

/// Names that files beside an archive have: its name and one of these.
const COMPANIONS: [&str; 2] = [".sha256", ".sig"];

/// The path of the file that the one at `path` stands beside, such as the archive of a sidecar; `None` for any other name.
fn beside(path: &Path) -> Option<&Path> {
    let bytes = path.as_os_str().as_bytes();
    let name = COMPANIONS.iter().find_map(|suffix| bytes.strip_suffix(suffix.as_bytes()))?;
    Some(Path::new(OsStr::from_bytes(name)))
}

/// Whether the file at `path` stands beside one of the `named`, itself or through another one: the signature of a sidecar
/// does. A shell names all of them for `DIR/*`.
fn is_companion(path: &Path, named: &HashSet<&Path>) -> bool {
    iter::successors(beside(path), |path| beside(path)).any(|path| named.contains(path))
}

/// The archives that are `named`: for a directory those in it, and no sidecar or signature of a file that is named itself.
fn archives_of(named: &[PathBuf]) -> impl Iterator<Item = (&Path, Result<Vec<PathBuf>>)> {
    let all: HashSet<&Path> = named.iter().map(PathBuf::as_path).collect();
    let archives = named.iter().map(PathBuf::as_path).filter(move |path| !is_companion(path, &all));
    archives.map(|path| {
        let in_it = if path.is_dir() { StoredArchive::all_in(path) } else { Ok(vec![path.to_owned()]) };
        (path, in_it)
    })
}

/// Does `what` with every archive that is `named`. Reports a failure and goes on with the next.
pub(super) fn each(
    named: &[PathBuf],
    context: &Context,
    what: impl Fn(&Archive, Box<dyn Object>) -> Result<Exit>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut count = |path: &Path, done: Result<Exit>| {
        tally.add(match done {
            Ok(exit) => exit,
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                let exit = Exit::of(error.kind());
                context.reporter.failure(&error, exit, Some(path));
                exit
            }
        });
        Ok(())
    };
    for (path, archives) in archives_of(named) {
        match archives {
            Ok(archives) => {
                for path in archives {
                    let archive = Archive::named(&path);
                    let opened = archive.open();
                    let done = opened.and_then(|object| {
                        what(&archive, object).map_err(|error| explained(error, &archive))
                    });
                    count(&path, done)?;
                }
            }
            Err(error) => count(path, Err(error))?,
        }
    }
    Ok(tally)
}

/// Names the archive in an error, and leads from a sidecar or a signature to the archive that it stands beside.
fn explained(error: Error, archive: &Archive) -> Error {
    let error = error.about(archive.subject());
    match archive.path().and_then(beside) {
        Some(other) if error.kind() == Kind::NotAnArchive => {
            let hint = format!("by its name it stands beside {0}: name {0}", other.display());
            error.with_hint(hint)
        }
        _ => error,
    }
}

/// Standard input without the buffer of the standard library, which would keep bytes that were read ahead.
pub(super) fn standard_input() -> Result<File> {
    let descriptor = io::stdin().as_fd().try_clone_to_owned();
    descriptor.map(File::from).map_err(|error| Error::io("read", "standard input", error))
}

/// Standard input as an archive or a snapshot.
pub(super) fn standard_input_object() -> Result<Box<dyn Object>> {
    Ok(Box::new(LocalFile::from(standard_input()?)))
}

/// The SHA-256 of all that `input` gives.
fn sha256_of(input: &mut dyn Read, subject: &Subject, interrupt: &Interrupt) -> Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; READ_SIZE];
    loop {
        interrupt.check()?;
        match input.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(length) => digest.update(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", subject, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let named = |error: Error| error.about(archive.subject()).to_string();
        let error = |message: &str| Error::new(Kind::Io, message);
        assert_eq!(named(error("cannot read a frame")), "a: cannot read a frame");
        assert_eq!(named(error("a frame is damaged")), "a: a frame is damaged");
        assert_eq!(named(error("a.sha256 is no sidecar")), "a: a.sha256 is no sidecar");
        let sidecar = Sidecar { sha256: [7; 32], name: "a".into() };
        let differs = archive.compare(Some(&sidecar), Some(&[8; 32])).unwrap_err();
        assert_eq!(
            (named(differs).matches("a: ").count(), named(error("is damaged"))),
            (1, "a: is damaged".into())
        );
        let stdin = Archive::named(Path::new("-")).subject();
        assert_eq!(error("it is cut short").about(stdin).to_string(), "standard input: it is cut short");
        let archive = Archive::named(Path::new("x.age"));
        let malformed =
            Error::new(Kind::SidecarMalformed, "x.age.sha256 is no sidecar: not one line of sha256sum");
        let error = archive.whole_but(malformed).about(archive.subject());
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
    fn only_the_sidecar_and_signature_of_a_named_archive_are_left_out() {
        let left = |named: &[&str]| {
            let named: Vec<PathBuf> = named.iter().map(PathBuf::from).collect();
            archives_of(&named).flat_map(|(_, archives)| archives.unwrap()).collect::<Vec<_>>()
        };
        let named = ["b/x.age", "b/x.age.sha256", "b/x.age.sha256.sig", "b/x.age.sig", "b/y.age.sha256"];
        assert_eq!(left(&named), [Path::new("b/x.age"), Path::new("b/y.age.sha256")]);
        for alone in ["b/x.age.sha256", "b/x.age.sig", "-"] {
            assert_eq!(left(&[alone]), [Path::new(alone)]);
        }
    }

    #[test]
    fn a_file_is_digested() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let sha256 = sha256_of(&mut File::open(&path).unwrap(), &(&*path).into(), &Interrupt::new()).unwrap();
        // FIPS 180-4, example 1.
        assert_eq!(hex::encode(sha256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
