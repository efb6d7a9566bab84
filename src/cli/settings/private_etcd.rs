//! The etcd that a command starts for itself, and where.

use super::environment::{self, Environment};
use super::setting::{Setting, optional};
use crate::cli::etcd_program::find_etcd;
use crate::error::{Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Default places of scratch directories, on a disk like a restored member's. The second always exists.
const SCRATCH: [&str; 2] = ["/var/tmp", "/tmp"];

/// The etcd to start, and where.
#[derive(Debug)]
pub(crate) struct PrivateEtcd {
    /// Its absolute path.
    pub(crate) etcd: PathBuf,
    /// The value of `PATH`.
    pub(crate) search_path: Option<OsString>,
    /// The directory for the scratch directory.
    pub(crate) scratch: PathBuf,
}

impl PrivateEtcd {
    /// Finds the etcd that is `named`, by default the one on `PATH`, and an existing place for the scratch directory.
    ///
    /// # Errors
    /// [`Kind::NoEtcd`], [`Kind::Destination`].
    pub(crate) fn find(
        named: Option<&Path>,
        scratch: Option<&Setting<PathBuf>>,
        environment: &Environment,
    ) -> Result<Self> {
        let scratch = optional(scratch)?.unwrap_or_else(default_scratch);
        if !scratch.is_dir() {
            let message = format!("there is no directory {}", scratch.display());
            return Err(Error::new(Kind::Destination, message)
                .with_hint("name an existing directory with --scratch, or with TMPDIR"));
        }
        let search_path = environment.get(environment::PATH);
        Ok(Self {
            etcd: find_etcd(named, search_path)?,
            search_path: search_path.map(OsStr::to_owned),
            scratch,
        })
    }
}

fn default_scratch() -> PathBuf {
    SCRATCH.iter().map(PathBuf::from).find(|path| path.is_dir()).unwrap_or_else(|| PathBuf::from("."))
}
