//! The members that are, or were, where a new one goes: opened to be looked at, never changed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::Directory;
use super::member::{ASIDE, LOG_DIRECTORY, MEMBER, MemberPlace, SNAPSHOT_DIRECTORY};

/// Members in one data directory that are looked at, at most: the one there, and those that were moved aside.
const MOST: usize = 64;
/// Bytes of a log that tell whose it is.
const LOG_HEAD_SIZE: u64 = 4096;

/// A member that was in a data directory before the one to be made.
#[derive(Debug)]
pub struct Predecessor {
    /// Its directory.
    pub path: PathBuf,
    /// Whether it is the one that goes out of use now; else it was moved aside before.
    pub is_replaced: bool,
    /// Its database, or why it cannot be opened.
    pub database: io::Result<File>,
    /// The beginning of its log, where it has one.
    pub log_head: Option<Vec<u8>>,
}

impl MemberPlace {
    /// The member in the data directory, and those moved aside there by earlier restores. Nothing is an error: what cannot be
    /// looked at is not there, or has no database.
    #[must_use]
    pub fn predecessors(&self) -> Vec<Predecessor> {
        let Ok(directory) = Directory::open(&self.data_dir) else { return Vec::new() };
        let Ok(names) = directory.names_in_it() else { return Vec::new() };
        let aside = [MEMBER.as_bytes(), ASIDE.as_bytes()].concat();
        let mut names: Vec<Vec<u8>> =
            names.flatten().filter(|name| name == MEMBER.as_bytes() || name.starts_with(&aside)).collect();
        // The member itself first, then the newest.
        names.sort_by(|one, other| (one.len() > MEMBER.len(), other).cmp(&(other.len() > MEMBER.len(), one)));
        names.truncate(MOST);
        names.iter().map(|name| self.predecessor(&directory, OsStr::from_bytes(name))).collect()
    }

    fn predecessor(&self, directory: &Directory, name: &OsStr) -> Predecessor {
        let is_replaced = name == MEMBER;
        let member = directory.enter(name);
        let database = member.as_ref().map_err(|error| *error).and_then(|member| {
            let snapshots = member.enter(OsStr::new(SNAPSHOT_DIRECTORY))?;
            regular_file(&snapshots, OsStr::new("db"))
        });
        let apart = self.wal_dir.as_deref().filter(|_| is_replaced);
        let log = match apart {
            Some(apart) => Directory::open(apart).ok(),
            None => member.and_then(|member| member.enter(OsStr::new(LOG_DIRECTORY))).ok(),
        };
        Predecessor {
            path: directory.join(name),
            is_replaced,
            database: database.map_err(io::Error::from),
            log_head: log.as_ref().and_then(log_head),
        }
    }
}

/// Opens what must be a regular file, without waiting for anything.
fn regular_file(directory: &Directory, name: &OsStr) -> rustix::io::Result<File> {
    let file = directory.open_for_reading(name)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(Errno::INVAL),
    }
}

/// The beginning of the first file of a log.
fn log_head(directory: &Directory) -> Option<Vec<u8>> {
    let names = directory.names_in_it().ok()?.flatten();
    let first = names.filter(|name| name.ends_with(b".wal")).min()?;
    let file = regular_file(directory, &OsString::from(OsStr::from_bytes(&first))).ok()?;
    let mut head = Vec::new();
    file.take(LOG_HEAD_SIZE).read_to_end(&mut head).ok()?;
    Some(head)
}
