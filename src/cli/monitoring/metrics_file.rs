//! The file for metrics.

use super::metrics::{LastSuccess, last_success};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::Existing;
use crate::store::local::{UnpublishedFile, check};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Most bytes of an old file that are read; ours have some kilobytes.
const MOST: u64 = 64 * 1024;

/// The file for metrics, which is replaced as a whole.
#[derive(Debug)]
pub(super) struct MetricsFile {
    directory: PathBuf,
    name: OsString,
}

impl MetricsFile {
    /// Checks that `path` can be written.
    ///
    /// # Errors
    /// [`Kind::Destination`], [`Kind::Io`].
    pub(super) fn named(path: &Path) -> Result<Self> {
        let collected = path.extension().is_some_and(|extension| extension == "prom");
        let Some(name) = path.file_name().filter(|_| collected) else {
            let message = format!("--metrics-file {} names no file ending in .prom", path.display());
            return Err(Error::new(Kind::Destination, message)
                .with_hint("such as /var/lib/prometheus/node-exporter/etcd-seal.prom"));
        };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).to_owned();
        check(&directory, name, Existing::Replace, false)?;
        Ok(Self { directory, name: name.to_owned() })
    }

    /// What the file of the run before says of the last success of `command`.
    pub(super) fn last_success(&self, command: &str) -> Option<LastSuccess> {
        let mut text = String::new();
        // A file that is missing or is no text tells of no success.
        File::open(self.directory.join(&self.name)).ok()?.take(MOST).read_to_string(&mut text).ok()?;
        last_success(&text, command)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`Kind::Io`], [`Kind::NoSpace`].
    pub(super) fn write(&self, text: &str) -> Result<()> {
        let Self { directory, name } = self;
        let mut file = UnpublishedFile::create(directory)?;
        let written = file.write_all(text.as_bytes());
        written.map_err(|error| Error::io("write", directory.join(name).display(), error))?;
        file.let_all_users_read()?;
        // Monitoring must learn of an interrupted run, too, so this write ignores the request to stop.
        let published = file.publish(name, Existing::Replace, None, &Interrupt::new())?;
        published.shortfall.map_or(Ok(()), Err)
    }
}
