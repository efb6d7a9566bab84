//! `save`: seals a snapshot of a live etcd, or an existing one, into an archive.

use super::salvage::{check, salvage};
use crate::archive::manifest::Source;
use crate::cli::clock::now;
use crate::cli::context::Context;
use crate::cli::downgrade::warn_of_downgrade;
use crate::cli::exit::Exit;
use crate::cli::monitoring::{Monitoring, MonitoringArguments, Told};
use crate::cli::output::Place;
use crate::cli::render::{Plan, SaveReport};
use crate::cli::settings::connection::{ConnectionArguments, ConnectionSettings};
use crate::cli::settings::data_directory::{DataDirectoryArguments, DataDirectorySettings};
use crate::cli::settings::effort::EffortArguments;
use crate::cli::settings::environment::Environment;
use crate::cli::settings::recipients::RecipientArguments;
use crate::cli::settings::sealing::SealArguments;
use crate::cli::settings::setting::{Setting, ids_of, optional, setting};
use crate::cli::settings::standard_input::StandardInput;
use crate::error::{Error, Kind, Result, Subject};
use crate::keys::Recipients;
use crate::pipeline::salvage::Found;
use crate::pipeline::seal::{Input, Seal};
use crate::store::source::open_snapshot;
use clap::Args;
use clap::builder::OsStringValueParser;
use std::convert::identity;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// Arguments of `save`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("directory").args(["from_data_dir"]).conflicts_with("from")
    .conflicts_with_all(ids_of::<ConnectionArguments>())))]
pub(crate) struct SaveArguments {
    /// Where to write the archive: an existing directory, a new file ending in .age, or - for standard output
    ///
    /// In a directory the archive gets the name CLUSTER-TIME-rREVISION.db.zst.age, and where that is taken the first
    /// free one of CLUSTER-TIME-rREVISION.2.db.zst.age, .3 and so on. Its SHA-256 is put beside it in a file with
    /// .sha256 appended. A directory must exist: an unmounted /backups must not become a file.
    #[arg(value_name = "DEST", env = "ETCD_SEAL_DESTINATION", value_parser = setting(OsStringValueParser::new()))]
    pub(crate) destination: Option<Setting<OsString>>,
    /// Replace the archive that DEST names; in a directory nothing is replaced
    #[arg(hide_short_help = true, long)]
    pub(crate) force: bool,
    /// Parse and check everything, print the plan, ask for nothing and touch nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Seal this existing snapshot, - for standard input, instead of asking etcd
    ///
    /// One that is packed by gzip, zip or zstd, as k3s and RKE2 leave it, is unpacked on the way.
    #[arg(long, value_name = "FILE", conflicts_with_all = ids_of::<ConnectionArguments>())]
    pub(crate) from: Option<PathBuf>,
    /// With --from: accept a snapshot without etcd's digest, such as a copy of a member's db file
    ///
    /// The archive and the result say so, and the exit status is 3. A digest that is there and wrong is never
    /// accepted. Every page of such a database is checked before anything is sealed, if it is in a file and not packed.
    #[arg(hide_short_help = true, long, requires = "from")]
    pub(crate) allow_missing_digest: bool,
    /// A data directory instead of a live etcd.
    #[command(flatten)]
    pub(crate) data_directory: DataDirectoryArguments,
    /// The recipients.
    #[command(flatten)]
    pub(crate) recipients: RecipientArguments,
    /// How to seal.
    #[command(flatten)]
    pub(crate) seal: SealArguments,
    /// How much of this host to take.
    #[command(flatten)]
    pub(crate) effort: EffortArguments,
    /// How to reach etcd.
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
    /// What to do around it.
    #[command(flatten)]
    pub(crate) monitoring: MonitoringArguments,
}

impl SaveArguments {
    /// Whether the destination is standard output.
    pub(super) fn names_stdout(&self) -> bool {
        self.destination.as_ref().is_some_and(|destination| destination.is("-"))
    }
}

/// The source of the snapshot for `save`.
pub(crate) enum SourceSettings {
    /// A live etcd.
    Etcd(Box<ConnectionSettings>),
    /// `--from FILE`.
    File(PathBuf),
    /// `--from -`.
    StandardInput,
    /// `--from-data-dir`.
    DataDirectory(Box<DataDirectorySettings>),
}

pub(crate) struct SaveSettings {
    /// The source of the snapshot.
    pub(crate) source: SourceSettings,
    /// The recipients to encrypt to.
    pub(crate) recipients: RecipientArguments,
    /// DEST as given.
    pub(crate) destination: OsString,
    /// Whether to replace the archive that the destination names.
    pub(crate) force: bool,
    /// Recorded texts, level and frame size.
    pub(crate) seal: SealArguments,
    /// Threads of each parallel stage.
    pub(crate) jobs: usize,
    /// Whether a snapshot without etcd's digest is accepted.
    pub(crate) allow_missing_digest: bool,
}

impl SaveSettings {
    /// Resolves arguments and environment.
    ///
    /// # Errors
    /// [`Kind::NoRecipient`] first, then [`Kind::Usage`].
    pub(crate) fn resolve(arguments: SaveArguments, environment: &Environment) -> Result<Self> {
        let mut input = StandardInput::default();
        arguments.recipients.check(&mut input)?;
        let destination = destination(arguments.destination.as_ref())?;
        arguments.seal.check()?;
        let directory = arguments.data_directory.resolve(environment)?;
        let source = match (directory, arguments.from) {
            (Some(directory), _) => SourceSettings::DataDirectory(Box::new(directory)),
            (None, None) => SourceSettings::Etcd(Box::new(ConnectionSettings::resolve(
                arguments.connection,
                environment,
            )?)),
            (None, Some(path)) if path.as_os_str() == "-" => {
                input.claim("--from -")?;
                SourceSettings::StandardInput
            }
            (None, Some(path)) => SourceSettings::File(path),
        };
        let jobs = arguments.effort.jobs()?;
        let SaveArguments { recipients, force, seal, allow_missing_digest, .. } = arguments;
        Ok(Self { source, recipients, destination, force, seal, jobs, allow_missing_digest })
    }
}

/// DEST, from the argument or otherwise from the variable.
fn destination(destination: Option<&Setting<OsString>>) -> Result<OsString> {
    optional(destination)?.ok_or_else(|| {
        Error::new(Kind::Usage, "no destination is named: DEST and ETCD_SEAL_DESTINATION are both missing")
            .with_hint("name an existing directory, a file ending in .age, or - for standard output")
    })
}

pub(crate) fn run(arguments: SaveArguments, context: &Context) -> Result<Exit> {
    if arguments.dry_run {
        return plan(&resolve(arguments, context)?, context);
    }
    let monitoring = Monitoring::begin(arguments.monitoring.clone())?;
    monitoring.around("save", context, |told| {
        let report = save(resolve(arguments, context)?, context)?;
        tell(&report, told);
        Ok(report)
    })
}

fn resolve(arguments: SaveArguments, context: &Context) -> Result<SaveSettings> {
    let settings = SaveSettings::resolve(arguments, &context.environment)?;
    if let SourceSettings::Etcd(connection) = &settings.source {
        connection.check()?;
        connection.warn_of_tls(now()?)?;
    }
    Ok(settings)
}

fn save(settings: SaveSettings, context: &Context) -> Result<SaveReport> {
    let place = Place::for_archive(&settings.destination, settings.force)?;
    let recipients = settings.recipients.load(&context.terminal)?;
    let seal = sealer(&settings, &recipients, context)?;
    let seal = |input, found| seal_into(&place, &seal, input, found, context);
    match settings.source {
        SourceSettings::Etcd(connection) => {
            let connection = connection.complete(&context.terminal)?;
            seal(Input::etcd_on(&connection, &context.runtime), None)
        }
        SourceSettings::File(path) => seal(Input::file(open_snapshot(&path)?, &path)?, None),
        SourceSettings::StandardInput => {
            let subject = Subject::Stream("standard input".to_owned());
            seal(Input::named_reader(io::stdin(), subject, Source::Stdin), None)
        }
        SourceSettings::DataDirectory(directory) => {
            let salvaged = salvage(&directory, context)?;
            seal(Input::salvaged(&salvaged)?, Some(&salvaged.found))
        }
    }
}

/// `-n`: parses and checks everything, asks nothing and writes nothing.
fn plan(settings: &SaveSettings, context: &Context) -> Result<Exit> {
    let place = Place::for_archive(&settings.destination, settings.force)?;
    let recipients = if settings.recipients.is_passphrase() {
        vec!["passphrase".to_owned()]
    } else {
        settings.recipients.load(&context.terminal)?.names().to_vec()
    };
    let source = match &settings.source {
        SourceSettings::Etcd(connection) => format!("a snapshot of {}", connection.endpoints().join(", ")),
        SourceSettings::File(path) => {
            open_snapshot(path)?;
            path.display().to_string()
        }
        SourceSettings::StandardInput => "standard input".to_owned(),
        SourceSettings::DataDirectory(directory) => {
            let source = check(directory, context)?;
            format!("{}, replayed by {}", source.path().display(), directory.etcd.etcd.display())
        }
    };
    context.reporter.result(&Plan::new("save", source, place.to_string(), recipients))
}

/// How to seal, with the watch of this command.
fn sealer<'a>(settings: &SaveSettings, recipients: &'a Recipients, context: &Context) -> Result<Seal<'a>> {
    // Detects a clock that cannot date an archive before etcd is asked.
    now()?;
    let SealArguments { level, frame_size, cluster_name, tags, note, no_description } = &settings.seal;
    let mut seal = Seal::new(recipients, SystemTime::now())
        .level(*level)
        .frame_size(*frame_size)
        .jobs(settings.jobs)
        .watch(context.watch("sealing"));
    seal = cluster_name.iter().fold(seal, Seal::cluster_name);
    seal = host_name().into_iter().fold(seal, Seal::host);
    seal = note.iter().fold(seal, Seal::note);
    seal = tags.iter().fold(seal, Seal::tag);
    seal = if *no_description { seal.no_description() } else { seal };
    Ok(if settings.allow_missing_digest { seal.allow_missing_digest() } else { seal })
}

/// Seals `input` into `place`. Asks etcd only after the destination has proved writable, because a snapshot puts load on
/// the member.
fn seal_into(
    place: &Place,
    seal: &Seal<'_>,
    input: Input<'_>,
    found: Option<&Found>,
    context: &Context,
) -> Result<SaveReport> {
    let began = Instant::now();
    let mut output = place.begin()?;
    let sealing = seal.begin(input)?;
    output.name(sealing.name())?;
    let sealed = sealing.write_to(&mut output).map_err(|error| output.explain(error, identity))?;
    let published = output.publish(Some(sealed.archive_sha256), &context.interrupt)?;
    let report = SaveReport::new(sealed, found, published, began.elapsed());
    warn_of_downgrade(&report.path, report.downgrade());
    Ok(report)
}

/// What metrics say of a save beside its end.
fn tell(report: &SaveReport, told: &Told) {
    let SaveReport { manifest, trailer, archive_size, .. } = report;
    told.describe(&manifest.description);
    told.gauge("snapshot_bytes", "The size of the snapshot.", &trailer.snapshot_size);
    told.gauge("archive_bytes", "The size of the archive.", archive_size);
    if let Some(revision) = report.revision() {
        told.gauge("revision", "The revision that the archive has at least.", &revision);
    }
    if let Some(open) = trailer.stream_open_ms {
        let help = "How long etcd's read transaction may have been open.";
        told.seconds("stream_open_seconds", help, Duration::from_millis(open));
    }
}

/// The name of the host, if it has one.
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;

    fn resolve(arguments: &[&str], variables: &[(&str, &str)]) -> Result<SaveSettings> {
        let Command::Save(arguments) = parsed(arguments, variables)? else { panic!("no save") };
        SaveSettings::resolve(*arguments, &Environment::of(variables))
    }

    #[test]
    fn a_missing_recipient_is_refused_first() {
        let error = resolve(&["save", "--cert=/c"], &[]).err().unwrap();
        assert_eq!(error.kind(), Kind::NoRecipient);
    }

    #[test]
    fn dest_beats_its_variable_and_one_is_needed() {
        let variables = &[("ETCD_SEAL_DESTINATION", "/e/")];
        assert_eq!(resolve(&["save", "-rage1x", "/f/"], variables).unwrap().destination, "/f/");
        assert_eq!(resolve(&["save", "-rage1x"], variables).unwrap().destination, "/e/");
        assert_eq!(resolve(&["save", "-rage1x"], &[]).err().unwrap().kind(), Kind::Usage);
    }

    #[test]
    fn two_readers_of_standard_input_are_refused() {
        let error = resolve(&["save", "-R-", "--from=-", "/b/"], &[]).err().unwrap();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.to_string(), "standard input can be read once: -R - and --from -");
    }

    #[test]
    fn sealing_has_the_documented_defaults() {
        let settings = resolve(&["save", "-rage1x", "/b/"], &[]).unwrap();
        assert_eq!(
            (settings.seal.level, settings.seal.frame_size),
            (1, crate::archive::frame::FRAME_SIZE_DEFAULT)
        );
        assert!(!settings.seal.no_description && !settings.allow_missing_digest);
        assert!(settings.jobs >= 1);
        let settings = resolve(
            &["save", "-rage1x", "/b/", "--level=19", "--frame-size=64KiB", "--jobs=3", "--no-description"],
            &[],
        )
        .unwrap();
        assert_eq!((settings.seal.level, settings.seal.frame_size), (19, 65536));
        assert_eq!((settings.jobs, settings.seal.no_description), (3, true));
    }
}
