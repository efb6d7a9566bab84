//! Opens files and directories in a directory.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::refusal::foreign_link;
use super::{Directory, describe};
use crate::error::{Error, Kind, Result};
use crate::store::local::walk::{self, FoundFile, Obstacle};

impl Directory {
    /// Opens an existing regular file for writing; anything else is [`Errno::INVAL`].
    pub(in crate::store::local) fn open_existing(&self, name: &OsStr) -> rustix::io::Result<File> {
        self.open_regular(name, OFlags::WRONLY)
    }

    /// Opens an existing regular file for reading; anything else is [`Errno::INVAL`].
    pub(in crate::store::local) fn open_for_reading(&self, name: &OsStr) -> rustix::io::Result<File> {
        self.open_regular(name, OFlags::RDONLY)
    }

    /// Opens an existing regular file for both; anything else is [`Errno::INVAL`].
    pub(in crate::store::local) fn open_to_change(&self, name: &OsStr) -> rustix::io::Result<File> {
        self.open_regular(name, OFlags::RDWR)
    }

    /// Checks the type before it opens, because opening a device may have effects; and again after, because the name may be
    /// another file's by then. It never waits for the other end of a named pipe.
    fn open_regular(&self, name: &OsStr, access: OFlags) -> rustix::io::Result<File> {
        let regular = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular(&self.look(name)?.ok_or(Errno::NOENT)?) {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, name, access | flags, Mode::empty())?;
        if regular(&rustix::fs::fstat(&file)?) { Ok(File::from(file)) } else { Err(Errno::INVAL) }
    }

    /// Opens the directory once more.
    pub(in crate::store::local) fn itself(&self) -> rustix::io::Result<File> {
        self.open_directory(OsStr::new("."))
    }

    /// Opens a directory in it; follows no link.
    pub(in crate::store::local) fn open_directory(&self, name: &OsStr) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.file, name, flags, Mode::empty()).map(File::from)
    }

    /// Opens the directory `name` in it; follows no link.
    pub(in crate::store::local) fn enter(&self, name: &OsStr) -> rustix::io::Result<Self> {
        Ok(Self { path: self.join(name), file: self.open_directory(name)? })
    }

    /// Opens the directory at `path` below it. Follows links as [`Self::open_file_below`] does.
    pub(in crate::store::local) fn enter_below(&self, path: &Path) -> rustix::io::Result<Self> {
        match walk::open_directory_below(&self.file, &self.path, path) {
            Ok(file) => Ok(Self { path: self.join(path.as_os_str()), file }),
            Err(Obstacle::System(error)) => Err(error),
            Err(Obstacle::ForeignLink(_)) => Err(Errno::LOOP),
        }
    }

    /// Opens the regular file at `path` below it for reading; `None` where there is none. Follows links only where other
    /// users cannot have put them, and opens nothing but a regular file.
    pub(in crate::store::local) fn open_file_below(&self, path: &Path) -> Result<Option<File>> {
        let shown = self.join(path.as_os_str());
        match walk::open_file_below(&self.file, &self.path, path) {
            Ok(FoundFile::File(file)) => Ok(Some(file)),
            Ok(FoundFile::Other(kind)) => {
                let message = format!("{} is {}, where a file is expected", shown.display(), describe(kind));
                Err(Error::new(Kind::Destination, message)
                    .with_hint("look who has put it there, and move it out of the way by hand"))
            }
            Err(Obstacle::System(Errno::NOENT | Errno::NOTDIR)) => Ok(None),
            Err(Obstacle::System(error)) => Err(Error::io("open", shown.display(), error.into())),
            Err(Obstacle::ForeignLink(link)) => {
                Err(foreign_link(&link).with_hint(match link.canonicalize() {
                    Ok(real) => {
                        format!("if that is meant, mount {} there in its place: mount --bind", real.display())
                    }
                    Err(_) => "remove it".to_owned(),
                }))
            }
        }
    }
}
