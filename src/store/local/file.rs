//! Files on a local filesystem: written beside the target, published whole or not at all.
//!
//! Until [`UnpublishedFile::publish`] only temporaries exist, and dropping an [`UnpublishedFile`] removes them. A process that is
//! killed leaves them behind, and a later run in the same directory removes them.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;

use super::commit::{self, Method};
use super::directory::{Directory, describe, is_file_name};
use super::growing::GrowingFile;
use super::stale;
use super::temporary::{Temporary, is_temporary_name};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::contract::{Existing, Published, Terms};
use crate::store::name::first_free;
use crate::store::sidecar::Sidecar;

/// How a file is published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publication<'a> {
    /// The ways to give it its name where that must be free, best first.
    methods: &'a [Method],
    name: &'a OsStr,
    existing: Existing,
    /// The digest for its sidecar, if it gets one.
    sha256: Option<[u8; 32]>,
}

impl<'a> Publication<'a> {
    pub(super) fn new(name: &'a OsStr, existing: Existing, sha256: Option<[u8; 32]>) -> Self {
        Self { methods: Method::ALL, name, existing, sha256 }
    }

    /// Gives the file the name `name`.
    fn commit(&self, file: &mut Temporary, name: &OsStr, sidecar: Option<&NamedSidecar>) -> Result<()> {
        if self.existing != Existing::Replace {
            return commit::without_replacing(self.methods, file, name);
        }
        sidecar.map_or(Ok(()), NamedSidecar::remove_old)?;
        commit::replacing(file, name)
    }
}

/// A file being written under a temporary name beside its final one; removed on drop unless published.
#[derive(Debug)]
pub struct UnpublishedFile {
    temporary: Temporary,
    content: GrowingFile,
}

impl UnpublishedFile {
    /// Creates the temporary in `directory`, which must be readable, with mode 0600 whatever the umask, and locks it
    /// (`flock`) while this value lives. Then it removes stale temporaries: those with this program's name pattern that
    /// belong to this user, are not locked, and were last written more than a minute ago.
    ///
    /// # Errors
    /// [`Kind::Destination`] where there is no such directory, [`Kind::NoSpace`], and [`Kind::Io`] for the rest:
    /// no permission, a filesystem mounted read-only.
    pub fn create(directory: &Path) -> Result<Self> {
        let temporary = Temporary::create(&Arc::new(Directory::open(directory)?))?;
        stale::remove_beside(&temporary);
        let content = temporary.open_file().try_clone();
        let content = content.map_err(|error| Error::io("prepare", temporary.path().display(), error))?;
        Ok(Self { temporary, content: GrowingFile::new(content) })
    }

    /// Has every later write go to `file`.
    #[cfg(test)]
    pub(super) fn fail_writes(&mut self, file: std::fs::File) {
        drop(self.content.swap(file));
    }

    /// The name under which it can be published now.
    ///
    /// # Errors
    /// The errors of [`check`].
    pub(super) fn free_name(&self, name: &OsStr, terms: Terms) -> Result<OsString> {
        free_name(self.temporary.directory(), name, terms)
    }

    /// Makes it readable for all users once it is published: for a file that is no secret and that another user reads.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn let_all_users_read(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::Permissions::from_mode(0o644);
        let set = self.content.file().set_permissions(permissions);
        set.map_err(|error| Error::io("change the permissions of", self.temporary.path().display(), error))
    }

    /// Publishes the file as `name` in its directory; with `sha256`, the digest of all that was written, also its sidecar.
    /// The order is:
    ///
    /// 1. write and fsync the sidecar's temporary, fsync the file;
    /// 2. [`Interrupt::begin_commit`]: an interrupt before this point leaves everything unchanged;
    /// 3. when replacing, remove the sidecar of the old file, so that it never lies beside the new file;
    /// 4. give the file its name: this is the commit;
    /// 5. give the sidecar its name, and fsync the directory.
    ///
    /// Where another process has taken the name before step 4, [`Existing::Number`] goes on with the next free name and a
    /// sidecar for that.
    ///
    /// Step 5 replaces a sidecar that a removed archive has left, even under [`Existing::Refuse`]: the archive's name was
    /// free, so that sidecar could only be wrong about this archive.
    ///
    /// A failure after the commit is no error but a [shortfall](Published::shortfall). A filesystem that cannot fsync
    /// directories at all, such as some of FUSE and CIFS, only causes a warning.
    ///
    /// # Errors
    /// With nothing left behind: the errors of a write, [`Kind::DestinationExists`], [`Kind::Destination`],
    /// [`Kind::Interrupted`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn publish(
        self,
        name: impl AsRef<OsStr>,
        existing: Existing,
        sha256: Option<[u8; 32]>,
        interrupt: &Interrupt,
    ) -> Result<Published> {
        self.publish_as(&Publication::new(name.as_ref(), existing, sha256), interrupt)
    }

    pub(super) fn publish_as(
        self,
        publication: &Publication<'_>,
        interrupt: &Interrupt,
    ) -> Result<Published> {
        let Self { mut temporary, content } = self;
        let Publication { name, existing, sha256, .. } = *publication;
        let directory = Arc::clone(temporary.directory());
        let failed = |error| Error::io("write", directory.join(name).display(), error);
        if let Some(error) = content.failure() {
            return Err(failed(error));
        }
        let terms = Terms { existing, sidecar: sha256.is_some() };
        let mut name = free_name(&directory, name, terms)?;
        let mut sidecar = NamedSidecar::write(&directory, &name, sha256)?;
        content.finish().map_err(failed)?;
        directory.check_in_place()?;

        interrupt.begin_commit()?;
        while let Err(error) = publication.commit(&mut temporary, &name, sidecar.as_ref()) {
            if existing != Existing::Number || error.kind() != Kind::DestinationExists {
                return Err(error);
            }
            name = free_name(&directory, &name, terms)?;
            sidecar = NamedSidecar::write(&directory, &name, sha256)?;
        }
        let path = directory.join(&name);
        let finished = finish(&directory, &mut temporary, sidecar);
        let shortfall = finished.err().map(|error| partly(&path, &error, sha256));
        Ok(Published { path, shortfall })
    }
}

impl Write for UnpublishedFile {
    /// After the first failure every later write fails with the same error, and so does publishing.
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.content.write(buffer)
    }

    /// Nothing is buffered.
    fn flush(&mut self) -> io::Result<()> {
        self.content.flush()
    }
}

/// Checks that [`UnpublishedFile::publish`] could use `name` in `directory` now, so that a save is refused before it begins.
/// Publishing checks again.
///
/// # Errors
/// [`Kind::DestinationExists`] where `name` is taken and `existing` neither replaces nor numbers it; [`Kind::Destination`] where
/// the directory is missing, or where `name`, or with `sidecar` the sidecar's name, can never be published there; [`Kind::Io`].
pub fn check(directory: &Path, name: impl AsRef<OsStr>, existing: Existing, sidecar: bool) -> Result<()> {
    let terms = Terms { existing, sidecar };
    free_name(&Directory::open(directory)?, name.as_ref(), terms).map(drop)
}

/// The name under which a file can be published now: `name`, or under [`Existing::Number`] the next one that is free.
fn free_name(directory: &Directory, name: &OsStr, terms: Terms) -> Result<OsString> {
    let Terms { existing, sidecar } = terms;
    if existing != Existing::Number {
        return check_name(directory, name, existing, sidecar).map(|()| name.to_owned());
    }
    let is_taken = |name: &OsStr| match check_name(directory, name, Existing::Refuse, sidecar) {
        Err(error) if error.kind() == Kind::DestinationExists => Ok(true),
        checked => checked.map(|()| false),
    };
    first_free(name, is_taken)?.ok_or_else(|| commit::exists(directory, name))
}

fn check_name(directory: &Directory, name: &OsStr, existing: Existing, sidecar: bool) -> Result<()> {
    if !is_file_name(name) || is_temporary_name(name.as_bytes()) {
        let message = format!("{} cannot be the name of a published file", directory.join(name).display());
        return Err(Error::new(Kind::Destination, message));
    }
    if is_taken(directory, name)? && existing != Existing::Replace {
        return Err(commit::exists(directory, name));
    }
    if sidecar {
        is_taken(directory, &Sidecar::name_of(name))?;
    }
    Ok(())
}

/// Whether a file, or a link to a file, has the name. Publishing replaces a link and never follows it.
fn is_taken(directory: &Directory, name: &OsStr) -> Result<bool> {
    let path = directory.join(name);
    match directory.look_through(name) {
        Ok(None) => Ok(false),
        // Such a link is not a second name of a file: a program uses it to write to its own output.
        Ok(Some(_)) if directory.leads_through_proc(name) => {
            let message =
                format!("{} leads to a file that a process has open, and is never replaced", path.display());
            Err(Error::new(Kind::Destination, message).with_hint("for standard output, name - instead"))
        }
        Ok(Some(FileType::RegularFile | FileType::Symlink)) => Ok(true),
        Ok(Some(other)) => {
            let message = format!("{} is {}, which is never replaced", path.display(), describe(other));
            Err(Error::new(Kind::Destination, message))
        }
        Err(rustix::io::Errno::NAMETOOLONG) => {
            let message = format!("{} is too long a name for this filesystem", path.display());
            Err(Error::new(Kind::Destination, message).with_hint("name a file with a shorter name"))
        }
        Err(error) => Err(Error::io("look at", path.display(), error.into())),
    }
}

/// A sidecar under its temporary name, and its final name.
struct NamedSidecar {
    temporary: Temporary,
    name: OsString,
}

impl NamedSidecar {
    /// Writes and fsyncs the sidecar of `archive`; `None` without a digest.
    fn write(directory: &Arc<Directory>, archive: &OsStr, sha256: Option<[u8; 32]>) -> Result<Option<Self>> {
        let Some(sha256) = sha256 else { return Ok(None) };
        let name = Sidecar::name_of(archive);
        let line = Sidecar { sha256, name: archive.to_owned() }.to_line();
        // The directory existed when the archive was begun, so its absence now is no mistake in its name.
        let mut temporary = Temporary::create(directory).map_err(|error| match error.kind() {
            Kind::Destination => error.into_kind(Kind::Io),
            _ => error,
        })?;
        let written = temporary.file().write_all(&line).and_then(|()| temporary.sync());
        written.map_err(|error| Error::io("write", directory.join(&name).display(), error))?;
        Ok(Some(Self { temporary, name }))
    }

    fn remove_old(&self) -> Result<()> {
        let directory = self.temporary.directory();
        let failed = |error: rustix::io::Errno| {
            Error::io("remove the old sidecar", directory.join(&self.name).display(), error.into())
        };
        directory.remove(&self.name).map_err(failed)
    }
}

/// The steps after the commit. It tries all of them, and reports the first failure.
fn finish(directory: &Directory, temporary: &mut Temporary, sidecar: Option<NamedSidecar>) -> Result<()> {
    let unlinked =
        temporary.remove().map_err(|error| Error::io("remove", temporary.path().display(), error.into()));
    let named =
        sidecar.map_or(Ok(()), |mut sidecar| commit::replacing(&mut sidecar.temporary, &sidecar.name));
    let durable = directory.sync();
    unlinked.and(named).and(durable)
}

fn partly(path: &Path, error: &Error, sha256: Option<[u8; 32]>) -> Error {
    let partly = Error::new(Kind::PartlyPublished, format!("{} is complete, but {error}", path.display()));
    match sha256 {
        Some(_) => partly,
        None => partly.with_hint("the file itself is complete; check the disk before relying on it"),
    }
}

#[cfg(test)]
mod tests;
