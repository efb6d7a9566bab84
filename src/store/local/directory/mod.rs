//! One open directory. Everything a save does in it goes through the same descriptor, so that all of it happens in the
//! directory the operator named, even if that is renamed or mounted over meanwhile.

mod create;
mod open;
mod refusal;
mod stat;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

pub(super) use self::refusal::meddled;
use self::refusal::{foreign_link, refused};
pub(in crate::store) use self::refusal::{missing, not_a_directory};
pub(super) use self::stat::{describe, is_directory, is_link, is_same};
use super::walk::{self, Obstacle};
use crate::error::{Error, Kind, Result};

/// A directory in which files are published.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    file: File,
}

impl Directory {
    /// Opens it for reading, which fsync and the search for stale temporaries need. It follows no link that another user may
    /// have put there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::open_if_there(path)?.ok_or_else(|| missing(path))
    }

    /// The same; `None` where the path leads to nothing.
    pub(super) fn open_if_there(path: &Path) -> Result<Option<Self>> {
        match walk::open_directory(path) {
            Ok(file) => Ok(Some(Self { path: path.to_owned(), file })),
            Err(Obstacle::System(Errno::NOENT)) => Ok(None),
            Err(Obstacle::System(Errno::NOTDIR)) => Err(not_a_directory(path)),
            Err(Obstacle::System(error)) => Err(refused("open the directory", path, error)),
            Err(Obstacle::ForeignLink(link)) => {
                Err(foreign_link(&link).with_hint(match path.canonicalize() {
                    Ok(real) => format!("if that is meant, name the directory itself: {}", real.display()),
                    Err(_) => "name a directory that is reached without it".to_owned(),
                }))
            }
        }
    }

    /// Wraps a directory that is already open.
    pub(super) fn of(path: PathBuf, file: File) -> Self {
        Self { path, file }
    }

    /// Its path, as the operator wrote it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it, as the operator would write it.
    pub(super) fn join(&self, name: &OsStr) -> PathBuf {
        if self.path == Path::new(".") { PathBuf::from(name) } else { self.path.join(name) }
    }

    /// The error of an operation that created something in it, in words for the operator.
    pub(super) fn creation_failed(&self, error: Errno) -> Error {
        match error {
            Errno::NOENT => missing(&self.path),
            error => refused("create a file in", &self.path, error),
        }
    }

    /// The entry at `name`, following no link; `None` where there is none.
    pub(super) fn look(&self, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
        self.stat(name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The type of the file that `name` leads to through links. A link that leads nowhere is a [`FileType::Symlink`].
    pub(super) fn look_through(&self, name: &OsStr) -> rustix::io::Result<Option<FileType>> {
        let Some(entry) = self.look(name)? else { return Ok(None) };
        let entry = FileType::from_raw_mode(entry.st_mode);
        if entry != FileType::Symlink {
            return Ok(Some(entry));
        }
        match self.stat(name, AtFlags::empty()) {
            Ok(target) => {
                Ok(Some(target.map_or(FileType::Symlink, |target| FileType::from_raw_mode(target.st_mode))))
            }
            Err(Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => Ok(Some(FileType::Symlink)),
            Err(error) => Err(error),
        }
    }

    fn stat(&self, name: &OsStr, flags: AtFlags) -> rustix::io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.file, name, flags) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether both are the same directory.
    pub(super) fn is(&self, other: &Self) -> Result<bool> {
        let stat = |directory: &Self| {
            rustix::fs::fstat(&directory.file)
                .map_err(|error| Error::io("look at", directory.path.display(), error.into()))
        };
        Ok(is_same(&stat(self)?, &stat(other)?))
    }

    /// Whether `name` is still the name of the open `file`.
    pub(super) fn names(&self, name: &OsStr, file: &File) -> rustix::io::Result<bool> {
        let open = rustix::fs::fstat(file)?;
        let named = self.look(name)?;
        Ok(named.is_some_and(|named| is_same(&named, &open)))
    }

    /// Removes `name`; a missing entry is no error.
    pub(super) fn remove(&self, name: &OsStr) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(&self.file, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Removes the empty directory `name`.
    pub(super) fn remove_directory(&self, name: &OsStr) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(&self.file, name, AtFlags::REMOVEDIR)
    }

    /// Every name in it, `.` and `..` included.
    pub(super) fn names_in_it(
        &self,
    ) -> rustix::io::Result<impl Iterator<Item = rustix::io::Result<Vec<u8>>>> {
        let entries = rustix::fs::Dir::read_from(&self.file)?;
        Ok(entries.map(|entry| entry.map(|entry| entry.file_name().to_bytes().to_owned())))
    }

    /// Makes the names in it durable. Some filesystems (FUSE, CIFS) support no fsync of directories at all: that is not an
    /// error, and only causes a warning.
    pub(super) fn sync(&self) -> Result<()> {
        match self.file.sync_all() {
            Err(error) if is_unsupported(&error) => {
                tracing::warn!(
                    "the filesystem of {} cannot sync directories: after a crash of the host the names in it may be \
                     missing",
                    self.path.display()
                );
                Ok(())
            }
            other => other.map_err(|error| Error::io("sync the directory", self.path.display(), error)),
        }
    }

    /// Refuses to publish into a directory that its path no longer leads to, where the file would not be found: it was
    /// moved, removed, unmounted or mounted over while the file was written. Nothing is done in the directory that the path
    /// leads to now.
    pub(super) fn check_in_place(&self) -> Result<()> {
        let failed = |error: io::Error| Error::io("find the directory", self.path.display(), error);
        let open = rustix::fs::fstat(&self.file).map_err(|error| failed(error.into()))?;
        match walk::open_directory(&self.path) {
            Ok(named) => {
                let named = rustix::fs::fstat(&named).map_err(|error| failed(error.into()))?;
                if is_same(&named, &open) {
                    return Ok(());
                }
            }
            Err(Obstacle::System(error)) => return Err(failed(error.into())),
            Err(Obstacle::ForeignLink(_)) => {}
        }
        let message = format!("the directory {} was replaced by another meanwhile", self.path.display());
        Err(Error::new(Kind::Io, message).with_hint("was it moved or mounted over? run it again"))
    }

    /// Whether `name` leads, through links, to an open file in `/proc`, as `/dev/stdout` does.
    pub(super) fn leads_through_proc(&self, name: &OsStr) -> bool {
        walk::find_below(&self.file, &self.path, Path::new(name)).is_ok_and(|found| found.through_proc)
    }

    /// Whether other users cannot change which file a name means, if that file belongs to root or the caller.
    pub(super) fn protects_names(&self) -> rustix::io::Result<bool> {
        let stat = rustix::fs::fstat(&self.file)?;
        Ok(walk::is_private(&stat) || walk::is_sticky(&stat))
    }

    /// The descriptor, for the system calls that take two directories.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

/// Whether the error says that fsync is not supported, not that it failed. ENOTSUP has the number of EOPNOTSUPP on Linux.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP))
}

/// The directory that contains `path`: `.` where the path names none.
pub(super) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The parent of an open directory.
pub(super) fn parent(directory: &File) -> rustix::io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, "..", flags, Mode::empty()).map(File::from)
}

/// Whether `name` can be the name of a file: one component, and not `.` or `..`.
pub(super) fn is_file_name(name: &OsStr) -> bool {
    !matches!(name.as_bytes(), b"" | b"." | b"..")
        && !name.as_bytes().iter().any(|byte| b"/\0".contains(byte))
}
