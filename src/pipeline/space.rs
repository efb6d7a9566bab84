//! Checks free space before the first byte is written: when the description tells the size of a snapshot, and again when
//! the manifest does. A dry run makes the same check.

use std::path::Path;

use super::units::size;
use crate::database::member::WAL_SIZE;
use crate::error::{Error, Kind, Result};
use crate::store::member::MemberPlace;

/// Bytes that are free in the place of a member.
#[derive(Clone, Copy, Debug)]
pub struct MemberRoom {
    /// Free bytes for the database, and for the log unless it has a filesystem of its own.
    pub free: u64,
    /// Free bytes for the log, where it is on another filesystem.
    pub free_for_log: Option<u64>,
}

impl MemberRoom {
    /// The free space before anything is written.
    ///
    /// # Errors
    /// The errors of [`MemberPlace::check`].
    pub fn of(place: &MemberPlace) -> Result<Self> {
        let (free, free_for_log) = place.free_space()?;
        Ok(Self { free, free_for_log })
    }

    /// Refuses a member with a database of `expected` bytes that does not fit.
    ///
    /// # Errors
    /// [`Kind::NoSpace`].
    pub fn check(self, data_dir: &Path, wal_dir: Option<&Path>, expected: Option<u64>) -> Result<()> {
        let Some(free_for_log) = self.free_for_log else {
            return check(data_dir, expected, 1, WAL_SIZE, self.free);
        };
        check(data_dir, expected, 1, 0, self.free)?;
        check(wal_dir.unwrap_or(data_dir), Some(0), 1, WAL_SIZE, free_for_log)
    }
}

/// Refuses a cluster of `members` whose databases have `expected` bytes each and do not fit into `free`.
///
/// # Errors
/// [`Kind::NoSpace`].
pub fn check_cluster(directory: &Path, expected: Option<u64>, members: usize, free: u64) -> Result<()> {
    check(directory, expected, members as u64, WAL_SIZE, free)
}

/// Refuses a snapshot of `expected` bytes that does not fit into `free`.
///
/// # Errors
/// [`Kind::NoSpace`].
pub fn check_snapshot(path: &Path, expected: u64, free: u64) -> Result<()> {
    check(path, Some(expected), 1, 0, free).map_err(|error| error.with_hint(Kind::NoSpace.hint()))
}

/// Refuses a database of `expected` bytes and a log for each of `members` where they do not fit.
pub(super) fn check(place: &Path, expected: Option<u64>, members: u64, log: u64, free: u64) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    let needed = expected.saturating_add(log).saturating_mul(members);
    if needed <= free {
        return Ok(());
    }
    let message =
        format!("{} needs {}, but only {} are free there", place.display(), size(needed), size(free));
    Err(Error::new(Kind::NoSpace, message).with_hint(
        "free some space, or name a place on another filesystem; what a killed run left in .etcd-seal-restore-… is \
         removed by a run that comes more than a minute later",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_in_units_for_people() {
        let refused = check_cluster(Path::new("/d"), Some(3 << 30), 2, 300 << 20).unwrap_err();
        assert_eq!(refused.to_string(), "/d needs 6.1 GiB, but only 300.0 MiB are free there");
        assert!(check_cluster(Path::new("/d"), None, 2, 0).is_ok());
        assert!(check_cluster(Path::new("/d"), Some(u64::MAX), 2, u64::MAX - 1).is_err());
        assert!(check_snapshot(Path::new("/s.db"), 5, 5).is_ok());
        assert!(check_snapshot(Path::new("/s.db"), 6, 5).is_err());
    }

    #[test]
    fn a_log_of_its_own_filesystem_needs_its_own_room() {
        let (data, log) = (Path::new("/d"), Some(Path::new("/l")));
        let room = |free, free_for_log| MemberRoom { free, free_for_log }.check(data, log, Some(10));
        assert!(room(10, Some(WAL_SIZE)).is_ok() && room(10 + WAL_SIZE, None).is_ok());
        assert!(room(10, None).unwrap_err().to_string().starts_with("/d needs"));
        assert!(room(10, Some(WAL_SIZE - 1)).unwrap_err().to_string().starts_with("/l needs"));
    }
}
