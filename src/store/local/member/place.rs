//! The place for a new member, and what may be there already.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::marker::Marker;
use super::part::{Part, Placement, contents, not_empty};
use crate::error::{Error, Kind, Result};
use crate::store::local::directory::Directory;
use crate::store::local::layout::{MARKER, MEMBER, SNAPSHOT_DIRECTORY, is_of_log};
use crate::store::local::space::free_space_of;
use crate::store::local::stale::try_lock;
use crate::store::local::tree::Owner;

/// The place for a new member.
#[derive(Clone, Debug)]
pub struct MemberPlace {
    /// `--data-dir` of etcd. It does not exist, or holds no member.
    pub data_dir: PathBuf,
    /// `--wal-dir` of etcd, where the log is separate. It does not exist, or is empty.
    pub wal_dir: Option<PathBuf>,
    /// Moves existing entries aside, under names that end in this time, instead of refusing them.
    pub replace: Option<String>,
    /// The owner of all that is published.
    pub owner: Option<Owner>,
    /// The name of the first file of the log.
    pub log_name: &'static str,
}

impl MemberPlace {
    /// Refuses now what publishing would refuse at the end.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Destination`], [`Kind::Io`].
    pub fn check(&self) -> Result<()> {
        self.find().map(drop)
    }

    /// Free bytes where the database would go; and where the log would go, if that is another filesystem.
    ///
    /// # Errors
    /// The errors of [`Self::check`].
    pub fn free_space(&self) -> Result<(u64, Option<u64>)> {
        let (data, log) = self.find()?;
        let free = |part: &Part| free_space_of(part.base.file(), part.base.path());
        let apart = match &log {
            Some(log) if !data.is_beside(log)? => Some(free(log)?),
            _ => None,
        };
        Ok((free(&data)?, apart))
    }

    /// Opens the directories. From then on, nothing is looked up by path.
    pub(super) fn find(&self) -> Result<(Part, Option<Part>)> {
        let Some(wal_dir) = &self.wal_dir else {
            let data = Part::find(&self.data_dir)?;
            self.check_parts(&data, None)?;
            return Ok((data, None));
        };
        if one_in_the_other(&as_written(wal_dir), &as_written(&self.data_dir)) {
            return Err(self.not_apart(wal_dir));
        }
        let (data, log) = (Part::find(&self.data_dir)?, Part::find(wal_dir)?);
        if data.is_within(&log)? || log.is_within_member_of(&data)? {
            return Err(self.not_apart(wal_dir));
        }
        self.check_parts(&data, Some(&log))?;
        Ok((data, Some(log)))
    }

    pub(super) fn check_parts(&self, data: &Part, log: Option<&Part>) -> Result<()> {
        let published = match data.placement {
            Placement::Inside => member_of(&data.base)?,
            Placement::Beside(_) => false,
        };
        if published && self.replace.is_none() {
            let member = data.base.join(OsStr::new(MEMBER));
            return Err(Error::new(Kind::DestinationExists, format!("{} exists already", member.display()))
                .with_hint(match log {
                    Some(log) if log.has_marker() => format!(
                        "a restore did not come to its end there, and no etcd starts while {} is there: pass `replace`, which \
                         moves everything aside and restores again",
                        log.base.join(OsStr::new(MARKER)).display()
                    ),
                    _ => "if its etcd is stopped for good, pass `replace`: it is moved aside, never deleted"
                        .to_owned(),
                }));
        }
        if published {
            refuse_running(&data.base)?;
        }
        let log_in_data = |name: &[u8]| {
            let name = OsStr::from_bytes(name);
            log.is_some_and(|log| log.is_entry_of(&data.base, name))
                || self.wal_dir.as_deref().is_some_and(|log| log == self.data_dir.join(name))
        };
        if let Placement::Inside = data.placement
            && let Some(other) = data.content(|name| name == MEMBER.as_bytes() || log_in_data(name))?
            && self.replace.is_none()
        {
            return Err(not_empty(&data.base, &other, "the data directory"));
        }
        log.map_or(Ok(()), |log| self.check_log(log, published))
    }

    /// The error for a log that would be moved with the member, or a member that would be moved with the log.
    fn not_apart(&self, wal_dir: &Path) -> Error {
        let message = format!(
            "`wal_dir` {} and `data_dir` {} lie one in the other",
            wal_dir.display(),
            self.data_dir.display()
        );
        Error::new(Kind::Usage, message)
            .with_hint("name another directory, or leave `wal_dir` out: then the log is in member/wal")
    }

    fn check_log(&self, log: &Part, published: bool) -> Result<()> {
        let Placement::Inside = log.placement else { return Ok(()) };
        refuse_running_log(&log.base)?;
        let leftover = !published && self.marker().is_leftover(&log.base)?;
        let of_leftover = |name: &[u8]| [MARKER, self.log_name].map(str::as_bytes).contains(&name);
        // `replace` moves aside only files of a log here.
        let replaced = |name: &[u8]| self.replace.is_some() && is_of_log(name);
        match log.content(|name| (leftover && of_leftover(name)) || replaced(name))? {
            Some(other) => Err(not_empty(&log.base, &other, "the directory of the log")),
            None => Ok(()),
        }
    }

    /// What the marker says while this member is not published.
    pub(super) fn marker(&self) -> Marker<'_> {
        Marker { data_dir: &self.data_dir, log_name: self.log_name }
    }
}

/// The absolute path, without resolving links.
fn as_written(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn one_in_the_other(log: &Path, data: &Path) -> bool {
    data.starts_with(log) || log.starts_with(data.join(MEMBER))
}

/// Whether there is a `member` in `directory`.
pub(super) fn member_of(directory: &Directory) -> Result<bool> {
    let found = directory.look(OsStr::new(MEMBER));
    let found = found
        .map_err(|error| Error::io("look at", directory.join(OsStr::new(MEMBER)).display(), error.into()))?;
    Ok(found.is_some())
}

/// Refuses to move a member aside while an etcd runs on it, since that etcd would go on serving it. bbolt locks its open
/// database.
fn refuse_running(data_dir: &Directory) -> Result<()> {
    let database: PathBuf = [MEMBER, SNAPSHOT_DIRECTORY, "db"].iter().collect();
    // A directory without a database is no member of etcd's, and no etcd runs on it.
    let Some(database) = data_dir.open_file_below(&database)? else { return Ok(()) };
    if try_lock(&database) == Err(Errno::WOULDBLOCK) {
        return Err(in_use(&data_dir.join(OsStr::new(MEMBER))));
    }
    Ok(())
}

/// Refuses a log that an etcd is writing. etcd locks the files of its log by `fcntl`, not by `flock` as bbolt does.
fn refuse_running_log(log: &Directory) -> Result<()> {
    for name in contents(log)?.iter().filter(|name| is_of_log(name)) {
        let Ok(file) = log.open_existing(OsStr::from_bytes(name)) else { continue };
        let locked = rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
        if matches!(locked, Err(Errno::AGAIN | Errno::ACCESS)) {
            return Err(in_use(log.path()));
        }
    }
    Ok(())
}

fn in_use(path: &Path) -> Error {
    Error::new(Kind::DestinationExists, format!("{} is in use: an etcd runs on it", path.display()))
        .with_hint("stop that etcd for good first, and whatever starts it again")
}
