//! The members that are, or were, in the place of a new one: opened for reading, never changed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::layout::{ASIDE, LOG_DIRECTORY, MEMBER, SNAPSHOT_DIRECTORY};
use super::member::MemberPlace;

/// The most members of one data directory that are read: the current one, and those that were moved aside.
const MOST: usize = 64;
/// Bytes of a log that suffice to identify its cluster.
const LOG_HEAD_SIZE: u64 = 4096;

/// A member that was in a data directory before the one to be made.
#[derive(Debug)]
pub struct Predecessor {
    /// Its directory.
    pub path: PathBuf,
    /// Whether it is the member that this run replaces; otherwise an earlier run moved it aside.
    pub is_replaced: bool,
    /// Its database, or the error of opening it.
    pub database: io::Result<File>,
    /// The beginning of its log, where it has one.
    pub log_head: Option<Vec<u8>>,
}

impl MemberPlace {
    /// The member in the data directory, and those that earlier restores moved aside there. It reports no errors: a member
    /// that cannot be opened is left out, or has no database.
    #[must_use]
    pub fn predecessors(&self) -> Vec<Predecessor> {
        let Ok(directory) = Directory::open(&self.data_dir) else { return Vec::new() };
        let Ok(names) = directory.names_in_it() else { return Vec::new() };
        let aside = [MEMBER.as_bytes(), ASIDE.as_bytes()].concat();
        let mut names: Vec<Vec<u8>> =
            names.flatten().filter(|name| name == MEMBER.as_bytes() || name.starts_with(&aside)).collect();
        // The current member first, then the newest.
        names.sort_by(|one, other| (one.len() > MEMBER.len(), other).cmp(&(other.len() > MEMBER.len(), one)));
        names.truncate(MOST);
        names.iter().map(|name| self.predecessor(&directory, OsStr::from_bytes(name))).collect()
    }

    fn predecessor(&self, directory: &Directory, name: &OsStr) -> Predecessor {
        let is_replaced = name == MEMBER;
        let below =
            |names: &[&str]| [Path::new(name)].into_iter().chain(names.iter().map(Path::new)).collect();
        let database: PathBuf = below(&[SNAPSHOT_DIRECTORY, "db"]);
        let database = directory.open_file_below(&database).map_err(io::Error::other);
        let apart = self.wal_dir.as_deref().filter(|_| is_replaced);
        let log = match apart {
            Some(apart) => Directory::open(apart).ok(),
            None => directory.enter_below(&below(&[LOG_DIRECTORY])).ok(),
        };
        Predecessor {
            path: directory.join(name),
            is_replaced,
            database: database.and_then(|file| file.ok_or_else(|| io::ErrorKind::NotFound.into())),
            log_head: log.as_ref().and_then(log_head),
        }
    }
}

/// The beginning of the first file of a log.
fn log_head(directory: &Directory) -> Option<Vec<u8>> {
    let names = directory.names_in_it().ok()?.flatten();
    let first = names.filter(|name| name.ends_with(b".wal")).min()?;
    let file = directory.open_for_reading(OsStr::from_bytes(&first)).ok()?;
    let mut head = Vec::new();
    file.take(LOG_HEAD_SIZE).read_to_end(&mut head).ok()?;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// The general rule: where other users cannot write, `member` and its contents may be links.
    #[test]
    fn a_member_behind_a_link_is_looked_at_where_no_other_user_can_have_put_that() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for directory in ["data", "disk/snap", "log"] {
            fs::create_dir_all(path(directory)).unwrap();
        }
        fs::write(path("disk/snap/db"), "database").unwrap();
        fs::write(path("log/0.wal"), "log").unwrap();
        symlink(path("disk"), path("data/member")).unwrap();
        symlink(path("log"), path("disk/wal")).unwrap();
        let log_name = "0.wal";
        let restore =
            MemberPlace { data_dir: path("data"), wal_dir: None, replace: None, owner: None, log_name };
        for (mode, seen) in [(0o700, true), (0o755, true), (0o777, false)] {
            fs::set_permissions(path("data"), Permissions::from_mode(mode)).unwrap();
            let found = restore.predecessors();
            assert_eq!((found.len(), found[0].database.is_ok()), (1, seen), "{mode:o}");
            assert_eq!(found[0].log_head.as_deref(), seen.then_some(&b"log"[..]), "{mode:o}");
        }
    }
}
