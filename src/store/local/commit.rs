//! The commit: the single step that gives a file its final name.

use std::ffi::OsStr;

use rustix::io::Errno;

use super::directory::Directory;
use super::temporary::Temporary;
use crate::error::{Error, Kind, Result};

/// A way to give a file a name that must be free, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// `renameat2` with `RENAME_NOREPLACE`: one step.
    RenameWithoutReplacing,
    /// `link`, then `unlink` of the temporary name: for filesystems that know no flags of rename, such as NFS.
    Link,
    /// The name is reserved by creating it exclusively, and the reservation is then replaced: for filesystems
    /// without links. Killed between the two steps, it leaves an empty file under the final name.
    Reserve,
}

impl Method {
    /// In the order in which they are tried.
    pub(super) const ALL: &[Self] = &[Self::RenameWithoutReplacing, Self::Link, Self::Reserve];

    fn attempt(self, temporary: &mut Temporary, name: &OsStr) -> rustix::io::Result<()> {
        match self {
            Self::RenameWithoutReplacing => temporary.rename_without_replacing(name),
            Self::Link => temporary.link(name),
            Self::Reserve => reserve(temporary, name),
        }
    }

    /// Whether `error` says that the filesystem or kernel does not support this method.
    fn is_unsupported(self, error: Errno) -> bool {
        match self {
            Self::RenameWithoutReplacing => {
                matches!(error, Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP)
            }
            Self::Link => matches!(
                error,
                Errno::PERM | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::MLINK | Errno::XDEV
            ),
            Self::Reserve => false,
        }
    }
}

/// Gives `temporary` the name `name`, which must be free, by the first of `methods` that the filesystem supports. Afterwards
/// the temporary name may still exist as well: see [`Temporary::remove`].
pub(super) fn without_replacing(methods: &[Method], temporary: &mut Temporary, name: &OsStr) -> Result<()> {
    let mut outcome = Err(Errno::NOSYS);
    for method in methods {
        outcome = method.attempt(temporary, name);
        match outcome {
            Err(error) if method.is_unsupported(error) => {
                tracing::debug!(?method, %error, "not supported here, trying the next");
            }
            _ => break,
        }
    }
    match outcome {
        Err(Errno::EXIST) => Err(exists(temporary.directory(), name)),
        other => other.map_err(|error| failed(temporary.directory(), name, error)),
    }
}

/// Gives `temporary` the name `name`, and replaces any file that has it.
pub(super) fn replacing(temporary: &mut Temporary, name: &OsStr) -> Result<()> {
    temporary.rename(name).map_err(|error| failed(temporary.directory(), name, error))
}

fn reserve(temporary: &mut Temporary, name: &OsStr) -> rustix::io::Result<()> {
    let reservation = temporary.directory().create_new(name)?;
    let outcome = temporary.rename(name);
    let directory = temporary.directory();
    if outcome.is_err()
        && directory.names(name, &reservation) == Ok(true)
        && let Err(error) = directory.remove(name)
    {
        tracing::warn!(path = %directory.join(name).display(), %error, "cannot remove an empty reservation");
    }
    outcome
}

/// The error for a name that is taken.
pub(super) fn exists(directory: &Directory, name: &OsStr) -> Error {
    Error::new(Kind::DestinationExists, format!("{} exists already", directory.join(name).display()))
}

fn failed(directory: &Directory, name: &OsStr, error: Errno) -> Error {
    Error::io("publish", directory.join(name).display(), error.into())
}
