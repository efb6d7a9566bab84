//! A data directory as the source of a snapshot.

use super::environment::Environment;
use super::private_etcd::PrivateEtcd;
use super::setting::{Setting, setting};
use super::values::parse_duration;
use crate::error::Result;
use clap::Args;
use clap::builder::PathBufValueParser;
use std::path::PathBuf;
use std::time::Duration;

/// The disk that survived.
#[derive(Debug, Args)]
#[command(next_help_heading = "A disk that survived")]
pub(crate) struct DataDirectoryArguments {
    /// Take the data directory of a member that does not run any more, with what is only in its write-ahead log
    ///
    /// A private etcd replays the log on a copy of it, as etcd's --force-new-cluster does, on sockets that no other process can
    /// reach. The directory itself is never written. One that an etcd runs on is refused.
    #[arg(hide_short_help = true, long, value_name = "DIR")]
    pub(crate) from_data_dir: Option<PathBuf>,
    /// With --from-data-dir: where its log is, if that etcd had a --wal-dir
    #[arg(hide_short_help = true, long, value_name = "DIR", requires = "from_data_dir")]
    pub(crate) from_wal_dir: Option<PathBuf>,
    /// With --from-data-dir: the etcd that replays the log [default: etcd on PATH]
    ///
    /// Best the version that wrote it: a newer one may raise the version of the data.
    #[arg(hide_short_help = true, long, value_name = "PROGRAM", requires = "from_data_dir")]
    pub(crate) etcd: Option<PathBuf>,
    /// With --from-data-dir: an existing directory to make the private scratch directory in [default: /var/tmp]
    ///
    /// It holds the data in plaintext as long as the command takes (mode 0700, never published, always removed): a copy of the
    /// data directory, and the snapshot. A directory that other users can write is refused, unless it is sticky, as /tmp is.
    #[arg(hide_short_help = true, long, value_name = "DIR", env = "TMPDIR", requires = "from_data_dir",
          value_parser = setting(PathBufValueParser::new()))]
    pub(crate) scratch: Option<Setting<PathBuf>>,
    /// With --from-data-dir: how long etcd may take to replay the log
    #[arg(hide_short_help = true, long, value_name = "DURATION", requires = "from_data_dir", default_value = "10m",
          value_parser = parse_duration)]
    pub(crate) replay_timeout: Duration,
}

/// A data directory, and the etcd that replays its log.
#[derive(Debug)]
pub(crate) struct DataDirectorySettings {
    /// `--from-data-dir`.
    pub(crate) path: PathBuf,
    /// `--from-wal-dir`.
    pub(crate) wal_dir: Option<PathBuf>,
    /// The etcd.
    pub(crate) etcd: PrivateEtcd,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

impl DataDirectoryArguments {
    /// The settings, where a data directory is named.
    ///
    /// # Errors
    /// [`Kind::NoEtcd`](crate::Kind::NoEtcd), [`Kind::Destination`](crate::Kind::Destination).
    pub(crate) fn resolve(self, environment: &Environment) -> Result<Option<DataDirectorySettings>> {
        let Some(path) = self.from_data_dir else { return Ok(None) };
        let etcd = PrivateEtcd::find(self.etcd.as_deref(), self.scratch.as_ref(), environment)?;
        Ok(Some(DataDirectorySettings {
            path,
            wal_dir: self.from_wal_dir,
            etcd,
            timeout: self.replay_timeout,
        }))
    }
}
