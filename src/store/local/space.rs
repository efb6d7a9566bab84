//! Free space at the place of a future file.

use std::fs::File;
use std::path::Path;

use super::directory::{Directory, parent_of};
use crate::error::{Error, Result};

/// Free bytes in the directory `path`, or in its parent where it does not exist yet; [`u64::MAX`] on a filesystem that does
/// not report its size. Follows no link that another user may have put there.
///
/// # Errors
/// [`Kind::Destination`](crate::Kind::Destination), [`Kind::Io`](crate::Kind::Io).
pub fn free_space(path: &Path) -> Result<u64> {
    let directory = match Directory::open_if_there(path)? {
        Some(directory) => directory,
        None => Directory::open(parent_of(path))?,
    };
    free_space_of(directory.file(), directory.path())
}

/// The same for an open directory, shown as `path`.
pub(super) fn free_space_of(directory: &File, path: &Path) -> Result<u64> {
    let filesystem = rustix::fs::fstatvfs(directory)
        .map_err(|error| Error::io("look at the filesystem of", path.display(), error.into()))?;
    Ok(match filesystem.f_blocks {
        0 => u64::MAX,
        _ => filesystem.f_bavail.saturating_mul(filesystem.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn it_is_told_of_no_place_that_another_user_has_chosen() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir(path("shared")).unwrap();
        symlink("/", path("shared/link")).unwrap();
        assert!(free_space(&path("shared/link")).is_ok());
        assert!(free_space(&path("shared/new")).is_ok());
        fs::set_permissions(path("shared"), Permissions::from_mode(0o777)).unwrap();
        assert!(free_space(&path("shared/new")).is_ok());
        assert_eq!(free_space(&path("shared/link")).unwrap_err().kind(), Kind::Destination);
    }
}
