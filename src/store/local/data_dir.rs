//! The data directory of a member, where a file was expected.

use std::path::{Path, PathBuf};

use super::layout::{MEMBER, SNAPSHOT_DIRECTORY};

/// The name of a member's database.
const DATABASE: &str = "db";

/// The database in `directory`, if that is a data directory, the `member` in one, or its `snap`.
pub(super) fn database_in(directory: &Path) -> Option<PathBuf> {
    let below: [&[&str]; 3] =
        [&[MEMBER, SNAPSHOT_DIRECTORY, DATABASE], &[SNAPSHOT_DIRECTORY, DATABASE], &[DATABASE]];
    below.iter().map(|names| directory.join(names.iter().collect::<PathBuf>())).find(|path| path.is_file())
}
