//! The settings of `drill`.

use super::environment::{self, Environment};
use super::keys::IdentitySettings;
use super::opening_options;
use super::restore::SourceSettings;
use super::standard_input::StandardInput;
use crate::cli::args::DrillArguments;
use crate::error::{Error, Kind, Result};
use crate::pipeline;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Default places of scratch directories, on a disk like a restored member's. The second always exists.
const SCRATCH: [&str; 2] = ["/var/tmp", "/tmp"];

pub(crate) struct DrillSettings {
    /// The source of the snapshot.
    pub(crate) source: SourceSettings,
    /// The etcd to start, by its absolute path.
    pub(crate) etcd: PathBuf,
    /// The value of `PATH`.
    pub(crate) search_path: Option<OsString>,
    /// The number of members.
    pub(crate) members: usize,
    /// The directory for the scratch directory.
    pub(crate) scratch: PathBuf,
    /// How long etcd may take until it serves.
    pub(crate) timeout: Duration,
    /// The file that the outcome is written to as well.
    pub(crate) metrics: Option<MetricsPlace>,
    /// Whether to print only the plan.
    pub(crate) dry_run: bool,
    /// How the pipeline runs.
    pub(crate) options: pipeline::open::Options,
}

/// The file for metrics.
pub(crate) struct MetricsPlace {
    pub(crate) directory: PathBuf,
    pub(crate) name: OsString,
}

impl DrillSettings {
    /// Resolves arguments and environment.
    ///
    /// # Errors
    /// [`Kind::Usage`], [`Kind::NoEtcd`], [`Kind::Destination`].
    pub(crate) fn resolve(words: DrillArguments, environment: &Environment) -> Result<Self> {
        let options = opening_options(&words.opening, environment)?;
        let mut input = StandardInput::default();
        input.claim_paths("ARCHIVE -", words.archive.as_slice())?;
        let identities = IdentitySettings::resolve(words.identities, environment, &mut input)?;
        let source = SourceSettings::resolve(words.archive, words.from_snapshot, identities, &mut input)?;
        let scratch = words.scratch.or_else(|| environment.get(environment::TMPDIR).map(PathBuf::from));
        let scratch = scratch.unwrap_or_else(default_scratch);
        if !scratch.is_dir() {
            let message = format!("there is no directory {}", scratch.display());
            return Err(Error::new(Kind::Destination, message)
                .with_hint("name an existing directory with --scratch, or with TMPDIR"));
        }
        let search_path = environment.get(environment::PATH);
        Ok(Self {
            source,
            etcd: find_etcd(words.etcd.as_deref(), search_path)?,
            search_path: search_path.map(OsStr::to_owned),
            members: words.members.into(),
            scratch,
            timeout: words.timeout,
            metrics: words.metrics_file.as_deref().map(MetricsPlace::named).transpose()?,
            dry_run: words.dry_run,
            options,
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
    found.ok_or_else(|| no_etcd(format!("there is no {} on PATH to drill with", name.display())))
}

fn no_etcd(message: String) -> Error {
    Error::new(Kind::NoEtcd, message)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

impl MetricsPlace {
    fn named(path: &Path) -> Result<Self> {
        let Some(name) = path.file_name() else {
            let message = format!("--metrics-file {} names no file", path.display());
            return Err(Error::new(Kind::Destination, message)
                .with_hint("such as /var/lib/prometheus/node-exporter/etcd-seal.prom"));
        };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok(Self { directory: directory.unwrap_or(Path::new(".")).to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Command, Unparsed, parse};

    fn resolve(words: &[&str], variables: &[(&str, &str)]) -> Result<DrillSettings> {
        match parse(&["etcd-seal", "drill"].iter().chain(words).map(Into::into).collect::<Vec<_>>()) {
            Ok(arguments) => match arguments.command {
                Command::Drill(words) => DrillSettings::resolve(*words, &Environment::of(variables)),
                _ => panic!("no drill"),
            },
            Err(Unparsed::Wrong(error)) => Err(error),
            Err(Unparsed::Shown(text)) => panic!("{text}"),
        }
    }

    fn refused(words: &[&str], variables: &[(&str, &str)]) -> Kind {
        resolve(words, variables).err().expect("should be refused").kind()
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
        let found =
            |words: &[&str]| resolve(&[&archive[..], words].concat(), variables).map(|found| found.etcd);
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
        for words in [
            &["a.age"][..],
            &["-i", "k"],
            &["a.age", "--from-snapshot", "s", "-i", "k"],
            &["a.age", "-i", "k", "--members", "0"],
            &["a.age", "-i", "k", "--members", "8"],
            &["-", "-i", "-"],
        ] {
            assert_eq!(refused(words, variables), Kind::Usage, "{words:?}");
        }
        let archive = ["a.age", "-i", "k"];
        let with = |more: &[&str]| refused(&[&archive[..], more].concat(), variables);
        assert_eq!(with(&["--scratch", "/nowhere"]), Kind::Destination);
        assert_eq!(with(&["--metrics-file", "/"]), Kind::Destination);
    }

    #[test]
    fn the_scratch_directory_is_where_it_is_wanted() {
        let directory = programs();
        let here = directory.path().to_str().unwrap();
        let place = |words: &[&str], variables: &[(&str, &str)]| {
            let words = [&["--from-snapshot", "s"], words].concat();
            resolve(&words, &[variables, &[(environment::PATH, here)]].concat()).unwrap().scratch
        };
        assert_eq!(place(&["--scratch", "/"], &[(environment::TMPDIR, here)]), Path::new("/"));
        assert_eq!(place(&[], &[(environment::TMPDIR, here)]), directory.path());
        assert!(SCRATCH.iter().any(|scratch| place(&[], &[]) == Path::new(scratch)));
    }
}
