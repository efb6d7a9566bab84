//! The `.sha256` file beside an archive.
use crate::error::Result;
use std::path::{Path, PathBuf};

/// One line in `sha256sum -c` form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// File name it speaks of.
    pub name: String,
}

impl Sidecar {
    /// The path of the sidecar of `archive`: `.sha256` appended.
    #[must_use]
    pub fn path_of(_archive: &Path) -> PathBuf {
        todo!()
    }
    /// Reads the sidecar beside `archive`; `None` where there is none. `SidecarMalformed` where it is not one.
    pub fn read_beside(_archive: &Path) -> Result<Option<Self>> {
        todo!()
    }
}

impl std::fmt::Display for Sidecar {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
