//! The etcd that a command starts for itself, and where.

use super::environment::{self, Environment};
use super::setting::{Setting, optional};
use crate::error::{Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
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

/// Finds etcd as a shell finds programs: a name without a slash is looked up in `PATH`.
fn find_etcd(named: Option<&Path>, search_path: Option<&OsStr>) -> Result<PathBuf> {
    let name = named.unwrap_or(Path::new("etcd"));
    if name.components().count() > 1 {
        let absolute = std::path::absolute(name).map_err(|error| Error::io("find", name.display(), error))?;
        return if is_program(&absolute) {
            Ok(absolute)
        } else {
            Err(no_etcd(format!("{} is no program", name.display())))
        };
    }
    let directories =
        search_path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    let found = directories
        .into_iter()
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| is_program(path));
    found.ok_or_else(|| no_etcd(format!("there is no {} on PATH to start", name.display())))
}

fn no_etcd(message: String) -> Error {
    Error::new(Kind::NoEtcd, message)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
