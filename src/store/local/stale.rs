//! Removes what killed runs left behind, and nothing else.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::fs::{FileType, FlockOperation, Stat};

use super::directory::{Directory, is_same};

/// The age below which a temporary is never removed: its creator may not have locked it yet.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// A file or directory under a temporary name while it is made; its maker holds a lock on it.
pub(super) trait Unfinished {
    /// Whether it is a file or a directory.
    const FILE_TYPE: FileType;

    /// The possible owners besides the effective user of this process: it changes owner before it is published.
    fn owners(&self) -> rustix::io::Result<Vec<u32>>;

    /// The reason to doubt that a killed run of this program left the entry at `name`, which is open as `file`; `None` where
    /// there is none.
    fn doubt(&self, name: &OsStr, file: &File) -> rustix::io::Result<Option<String>>;

    /// Whether `name` matches its pattern.
    fn is_name(name: &[u8]) -> bool;

    /// Opens the entry at `name`, to lock it.
    fn open(directory: &Directory, name: &OsStr) -> rustix::io::Result<File>;

    /// Removes the entry that is open as `file`, and its name `name`.
    fn remove(directory: &Directory, name: &OsStr, file: &File) -> rustix::io::Result<()>;

    /// The directory that contains it.
    fn directory(&self) -> &Directory;

    /// Its own name.
    fn name(&self) -> &OsStr;

    /// Its own descriptor.
    fn descriptor(&self) -> &File;

    /// Whether the filesystem granted the lock.
    fn locked(&self) -> bool;

    /// Whether a lock held here excludes other processes: it was granted, and a second open of the same file cannot get it.
    /// Otherwise a temporary in use cannot be told from a stale one.
    fn locks_work(&self) -> rustix::io::Result<bool> {
        if !self.locked() {
            return Ok(false);
        }
        let again = Self::open(self.directory(), self.name())?;
        Ok(try_lock(&again) == Err(rustix::io::Errno::WOULDBLOCK))
    }
}

/// Locks `file` for as long as it is open, unless another process holds the lock.
pub(super) fn try_lock(file: &File) -> rustix::io::Result<()> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Removes the stale temporaries of its kind beside `living`, which has just been created. An entry is stale if its name
/// matches this program's pattern, its owner is the effective user or one that this user would have given it to, it was last
/// written more than a minute before `living`, it is on the same device, it holds nothing that this program's temporaries
/// never do, and no process has locked it. Where locks do not work, nothing is removed: process ids say nothing about other
/// containers, or other clients of an NFS server.
///
/// The age is the difference of two time stamps of the same filesystem, so no clock of this host matters. If the
/// filesystem's clock is changed, a stale temporary may stay longer; the lock protects one that is in use.
///
/// This never fails a save: entries that cannot be removed are logged and stay.
pub(super) fn remove_beside<U: Unfinished>(living: &U) {
    match stale_names(living) {
        Ok(names) => {
            for name in names {
                let path = living.directory().join(OsStr::from_bytes(&name));
                match remove_if_stale(living, OsStr::from_bytes(&name)) {
                    Ok(true) => tracing::info!(path = %path.display(), "removed a stale temporary"),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "cannot remove a stale temporary");
                    }
                }
            }
        }
        Err(error) => {
            let path = living.directory().path().display();
            tracing::warn!(%path, %error, "cannot look for stale temporaries");
        }
    }
}

/// Every name beside `living` that could be a stale temporary's; none where locks do not work.
fn stale_names<U: Unfinished>(living: &U) -> rustix::io::Result<Vec<Vec<u8>>> {
    if !living.locks_work()? {
        tracing::debug!("locks do not work here: stale temporaries stay");
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for name in living.directory().names_in_it()? {
        let name = name?;
        if U::is_name(&name) && name != living.name().as_bytes() {
            names.push(name);
        }
    }
    Ok(names)
}

fn remove_if_stale<U: Unfinished>(living: &U, name: &OsStr) -> rustix::io::Result<bool> {
    let directory = living.directory();
    let Some(entry) = directory.look(name)? else { return Ok(false) };
    let right_type = FileType::from_raw_mode(entry.st_mode) == U::FILE_TYPE;
    let user = rustix::process::geteuid();
    let ours = entry.st_uid == user.as_raw() || (user.is_root() && living.owners()?.contains(&entry.st_uid));
    let own = rustix::fs::fstat(living.descriptor())?;
    if !right_type || !ours || entry.st_dev != own.st_dev || !is_older(modified(&entry), modified(&own)) {
        return Ok(false);
    }
    // Only now is opening safe: it is no device and no FIFO. If another file has taken its place, that stays.
    let file = U::open(directory, name)?;
    if !is_same(&rustix::fs::fstat(&file)?, &entry) {
        return Ok(false);
    }
    if try_lock(&file).is_err() {
        return Ok(false);
    }
    // Before this process got the lock, the owner may have published the file, or another run may have removed it.
    if !directory.names(name, &file)? {
        return Ok(false);
    }
    if let Some(doubt) = living.doubt(name, &file)? {
        tracing::warn!(
            "{} has the name of what a killed run leaves, but stays: {doubt}; look what it is, and remove it (rm -r) or rename it by hand",
            directory.join(name).display()
        );
        return Ok(false);
    }
    U::remove(directory, name, &file)?;
    Ok(true)
}

/// Nanoseconds since 1970 by the filesystem's clock.
fn modified(stat: &Stat) -> i128 {
    i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec)
}

/// Whether `modified` is more than [`STALE_AFTER`] before `now`; false when it is in the future.
fn is_older(modified: i128, now: i128) -> bool {
    u128::try_from(now - modified).is_ok_and(|age| age > STALE_AFTER.as_nanos())
}
