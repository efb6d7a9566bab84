//! How much room there is where something will be written.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::directory::parent_of;
use crate::error::{Error, Result};

/// Bytes that are free at `path`, or beside it where there is nothing yet; on a filesystem that does not say how large it is, as
/// many as there are.
///
/// # Errors
/// [`Kind::Io`](crate::Kind::Io).
pub fn free_space(path: &Path) -> Result<u64> {
    let path = existing(path);
    let filesystem = rustix::fs::statvfs(path)
        .map_err(|error| Error::io("look at the filesystem of", path.display(), error.into()))?;
    Ok(match filesystem.f_blocks {
        0 => u64::MAX,
        _ => filesystem.f_bavail.saturating_mul(filesystem.f_frsize),
    })
}

/// Whether both will be on the same filesystem.
#[must_use]
pub fn are_on_one_filesystem(one: &Path, other: &Path) -> bool {
    let device = |path| existing(path).metadata().map(|metadata| metadata.dev()).ok();
    device(one) == device(other)
}

fn existing(path: &Path) -> &Path {
    if path.exists() { path } else { parent_of(path) }
}
