//! The marker of an unfinished restore: what it says, and whether it is there.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::Stat;

use crate::error::{Error, Result};
use crate::store::local::directory::Directory;
use crate::store::local::layout::MARKER;

/// A record of etcd's log: its length of four bytes and four of padding, its type, which is a checksum of everything before,
/// and a wrong checksum. etcd refuses to start on it; a record that merely looked torn it would cut off.
const NO_LOG: [u8; 16] = [4, 0, 0, 0, 0, 0, 0, 0x84, 0x08, 4, 0x10, 1, 0, 0, 0, 0];
/// Longer than any path, so a longer file is no marker.
const MARKER_SIZE_MAX: u64 = 64 * 1024;

/// What the marker of one restore says.
#[derive(Clone, Copy)]
pub(super) struct Marker<'a> {
    /// The data directory of the member.
    pub(super) data_dir: &'a Path,
    /// The name of the first file of the log.
    pub(super) log_name: &'static str,
}

impl Marker<'_> {
    /// Whether `log` holds what an earlier run wrote for the same data directory without publishing its member.
    pub(super) fn is_leftover(&self, log: &Directory) -> Result<bool> {
        let Ok(marker) = log.open_for_reading(OsStr::new(MARKER)) else { return Ok(false) };
        let mut content = Vec::new();
        marker
            .take(MARKER_SIZE_MAX)
            .read_to_end(&mut content)
            .map_err(|error| Error::io("read", log.join(OsStr::new(MARKER)).display(), error))?;
        // An etcd that has run on the log has changed its modification time.
        let written = log.look(OsStr::new(self.log_name)).ok().flatten();
        let expected = written.map(|stat| self.content(&stat)).transpose()?;
        // A run killed after it placed the marker and before the log left only the marker.
        let alone = expected.is_none() && content.starts_with(&self.start()?);
        Ok(alone || expected == Some(content))
    }

    /// The content of the marker: the data directory, and the inode and modification time of the log, which show that it is
    /// unchanged since.
    pub(super) fn content(&self, log: &Stat) -> Result<Vec<u8>> {
        let mut marker = self.start()?;
        marker.extend(format!("{} {}.{:09}\n", log.st_ino, log.st_mtime, log.st_mtime_nsec).into_bytes());
        Ok(marker)
    }

    /// The part of the content that does not depend on the log.
    fn start(&self) -> Result<Vec<u8>> {
        let absolute = std::path::absolute(self.data_dir)
            .map_err(|error| Error::io("find", self.data_dir.display(), error))?;
        Ok([&NO_LOG[..], absolute.as_os_str().as_bytes(), b"\n"].concat())
    }
}

/// The marker of a restore in `directory`, of this run or another. A file that only has the name of a marker is none.
pub(super) fn marker_in(directory: &Directory) -> Result<Option<Stat>> {
    let Ok(file) = directory.open_for_reading(OsStr::new(MARKER)) else { return Ok(None) };
    let failed = |error| Error::io("read", directory.join(OsStr::new(MARKER)).display(), error);
    let mut beginning = Vec::new();
    (&file).take(NO_LOG.len() as u64).read_to_end(&mut beginning).map_err(failed)?;
    let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    Ok((beginning == NO_LOG).then_some(stat))
}

/// Removes the marker in `directory` durably.
pub(super) fn remove_marker(directory: &Directory) -> Result<()> {
    let marker = OsStr::new(MARKER);
    directory
        .remove(marker)
        .map_err(|error| Error::io("remove", directory.join(marker).display(), error.into()))?;
    directory.sync()
}
