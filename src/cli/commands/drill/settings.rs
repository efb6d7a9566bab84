//! The settings of `drill`.

use crate::cli::commands::restore::SourceSettings;
use crate::cli::monitoring::MonitoringArguments;
use crate::cli::settings::environment::Environment;
use crate::cli::settings::identities::IdentityArguments;
use crate::cli::settings::opening::OpeningArguments;
use crate::cli::settings::private_etcd::PrivateEtcd;
use crate::cli::settings::setting::{Setting, setting};
use crate::cli::settings::values::parse_duration;
use crate::error::Result;
use crate::pipeline;
use clap::Args;
use clap::builder::PathBufValueParser;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `drill`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["archive", "from_snapshot"])))]
pub(crate) struct DrillArguments {
    /// The archive, - for standard input
    #[arg(value_name = "ARCHIVE")]
    pub(crate) archive: Option<PathBuf>,
    /// Drill a plain snapshot, as etcdctl snapshot save writes it, in place of an archive
    ///
    /// One that is packed by gzip, zip or zstd is unpacked on the way.
    #[arg(long, value_name = "FILE", conflicts_with = "archive")]
    pub(crate) from_snapshot: Option<PathBuf>,
    /// Look for etcd and a place, print the plan, start and write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// The etcd to start [default: etcd on PATH]
    ///
    /// Best the version that would run on a bad day. Debian has it in the package etcd-server.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) etcd: Option<PathBuf>,
    /// How many members the cluster has, each with a copy of the data: from 1 to 7
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub(crate) members: u8,
    /// An existing directory to make the private scratch directory in [default: /var/tmp]
    ///
    /// It holds the data in plaintext as long as the drill takes (mode 0700, never published, always removed), and needs
    /// room for a few copies of them. What a killed drill left there is removed by the next. The time to recovery is that
    /// of its disk: where it is in memory, no disk is measured. A directory that other users can write is refused, unless it is
    /// sticky, as /tmp is.
    #[arg(long, value_name = "DIR", env = "TMPDIR", value_parser = setting(PathBufValueParser::new()))]
    pub(crate) scratch: Option<Setting<PathBuf>>,
    /// How long etcd may take until it serves
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// What opens it.
    #[command(flatten)]
    pub(crate) identities: IdentityArguments,
    /// How to read it.
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
    /// What to do around it.
    #[command(flatten)]
    pub(crate) monitoring: MonitoringArguments,
}

pub(crate) struct DrillSettings {
    /// The source of the snapshot.
    pub(crate) source: SourceSettings,
    /// The etcd to start, and where.
    pub(crate) etcd: PrivateEtcd,
    /// The number of members.
    pub(crate) members: usize,
    /// How long etcd may take until it serves.
    pub(crate) timeout: Duration,
    /// How the pipeline runs.
    pub(crate) options: pipeline::open::Options,
}

impl DrillSettings {
    /// Resolves arguments and environment.
    ///
    /// # Errors
    /// `Kind::Usage`, `Kind::NoEtcd`, `Kind::Destination`.
    pub(crate) fn resolve(arguments: DrillArguments, environment: &Environment) -> Result<Self> {
        let options = arguments.opening.options()?;
        let source =
            SourceSettings::resolve(arguments.archive, arguments.from_snapshot, None, arguments.identities)?;
        let etcd = PrivateEtcd::find(arguments.etcd.as_deref(), arguments.scratch.as_ref(), environment)?;
        Ok(Self { source, etcd, members: arguments.members.into(), timeout: arguments.timeout, options })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;
    use crate::cli::settings::environment;
    use crate::error::Kind;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn resolve(arguments: &[&str], variables: &[(&str, &str)]) -> Result<DrillSettings> {
        let Command::Drill(drill) = parsed(&[&["drill"], arguments].concat(), variables)? else {
            panic!("no drill")
        };
        DrillSettings::resolve(*drill, &Environment::of(variables))
    }

    fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> Kind {
        resolve(arguments, variables).err().expect("should be refused").kind()
    }

    /// A directory with two programs, one of them called etcd, and a file that is no program.
    fn programs() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, mode) in [("etcd", 0o755), ("etcd-3.6", 0o755), ("text", 0o644)] {
            std::fs::write(directory.path().join(name), "").unwrap();
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(directory.path().join(name), mode).unwrap();
        }
        directory
    }

    #[test]
    fn etcd_is_found_as_a_shell_does() {
        let directory = programs();
        let path = format!("relative:/nowhere:{}", directory.path().display());
        let variables = &[(environment::PATH, path.as_str())][..];
        let archive = ["a.age", "-i", "k"];
        let found = |arguments: &[&str]| {
            resolve(&[&archive[..], arguments].concat(), variables).map(|found| found.etcd.etcd)
        };
        assert_eq!(found(&[]).unwrap(), directory.path().join("etcd"));
        assert_eq!(found(&["--etcd", "etcd-3.6"]).unwrap(), directory.path().join("etcd-3.6"));
        let text = directory.path().join("text");
        for wrong in ["text", "missing", "./etcd", text.to_str().unwrap()] {
            assert_eq!(found(&["--etcd", wrong]).unwrap_err().kind(), Kind::NoEtcd, "{wrong}");
        }
        assert_eq!(refused(&archive, &[]), Kind::NoEtcd);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let directory = programs();
        let here = directory.path().to_str().unwrap();
        let variables = &[(environment::PATH, here)][..];
        for arguments in [
            &["a.age"][..],
            &["-i", "k"],
            &["a.age", "--from-snapshot", "s", "-i", "k"],
            &["a.age", "-i", "k", "--members", "0"],
            &["a.age", "-i", "k", "--members", "8"],
            &["-", "-i", "-"],
        ] {
            assert_eq!(refused(arguments, variables), Kind::Usage, "{arguments:?}");
        }
        let archive = ["a.age", "-i", "k"];
        let with = |more: &[&str]| refused(&[&archive[..], more].concat(), variables);
        assert_eq!(with(&["--scratch", "/nowhere"]), Kind::Destination);
    }

    #[test]
    fn the_scratch_directory_is_where_it_is_wanted() {
        let directory = programs();
        let here = directory.path().to_str().unwrap();
        let place = |arguments: &[&str], variables: &[(&str, &str)]| {
            let arguments = [&["--from-snapshot", "s"], arguments].concat();
            resolve(&arguments, &[variables, &[(environment::PATH, here)]].concat()).unwrap().etcd.scratch
        };
        assert_eq!(place(&["--scratch", "/"], &[("TMPDIR", here)]), Path::new("/"));
        assert_eq!(place(&[], &[("TMPDIR", here)]), directory.path());
        assert!(["/var/tmp", "/tmp"].iter().any(|scratch| place(&[], &[]) == Path::new(scratch)));
    }
}
