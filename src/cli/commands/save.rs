//! `save`: seals a snapshot of a live etcd, or an existing one, into an archive.

use crate::archive::manifest::{Description, FORMAT, FORMAT_VERSION, Manifest, Source, StatusAfter};
use crate::archive::member::{Condition, Tls};
use crate::cli::Context;
use crate::cli::bar;
use crate::cli::clock::now;
use crate::cli::exit::Exit;
use crate::cli::input::{READ_SIZE, open_file};
use crate::cli::output::{Output, Place};
use crate::cli::report::{Plan, SaveReport};
use crate::cli::settings::connection::{ConnectionArguments, ConnectionSettings};
use crate::cli::settings::effort::EffortArguments;
use crate::cli::settings::environment::Environment;
use crate::cli::settings::recipients::RecipientArguments;
use crate::cli::settings::sealing::SealArguments;
use crate::cli::settings::setting::{Setting, ids_of, optional, setting};
use crate::cli::settings::standard_input::StandardInput;
use crate::error::{Error, Kind, Result};
use crate::etcd::{self, Connection, End, Flow, Snapshot, Status};
use crate::interrupt::Interrupt;
use crate::keys::Recipients;
use crate::pipeline;
use crate::pipeline::save::{AfterStream, SnapshotSource, save};
use crate::store::name::{ArchiveName, whole_seconds};
use clap::Args;
use clap::builder::OsStringValueParser;
use jiff::{SignedDuration, Timestamp};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Arguments of `save`.
#[derive(Debug, Args)]
pub(crate) struct SaveArguments {
    /// Where to write the archive: an existing directory, a new file ending in .age, or - for standard output
    ///
    /// In a directory the archive gets the name CLUSTER-TIME-rREVISION.db.zst.age, and its SHA-256 is put beside
    /// it in a file with .sha256 appended. A directory must exist: an unmounted /backups must not become a file.
    #[arg(value_name = "DEST", env = "ETCD_SEAL_DESTINATION", value_parser = setting(OsStringValueParser::new()))]
    pub(crate) destination: Option<Setting<OsString>>,
    /// Replace an existing archive
    #[arg(long)]
    pub(crate) force: bool,
    /// Parse and check everything, print the plan, ask for nothing and touch nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Seal this existing snapshot, - for standard input, instead of asking etcd
    #[arg(long, value_name = "FILE", conflicts_with_all = ids_of::<ConnectionArguments>())]
    pub(crate) from: Option<PathBuf>,
    /// With --from: accept a snapshot without etcd's digest, such as a copy of a member's db file
    ///
    /// The archive and the result say so, and the exit status is 3. A digest that is there and wrong is never
    /// accepted.
    #[arg(long, requires = "from")]
    pub(crate) allow_missing_digest: bool,
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
}

pub(crate) struct SaveSettings {
    /// The source of the snapshot.
    pub(crate) source: SourceSettings,
    /// The recipients to encrypt to.
    pub(crate) recipients: RecipientArguments,
    /// DEST as given.
    pub(crate) destination: OsString,
    /// Whether to replace an existing archive.
    pub(crate) force: bool,
    /// Whether to print only the plan.
    pub(crate) dry_run: bool,
    /// Recorded texts, level and frame size.
    pub(crate) seal: SealArguments,
    /// How the pipeline runs.
    pub(crate) options: pipeline::save::Options,
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
        let source = match arguments.from {
            None => SourceSettings::Etcd(Box::new(ConnectionSettings::resolve(
                arguments.connection,
                environment,
            )?)),
            Some(path) if path.as_os_str() == "-" => {
                input.claim("--from -")?;
                SourceSettings::StandardInput
            }
            Some(path) => SourceSettings::File(path),
        };
        let options = pipeline::save::Options {
            jobs: arguments.effort.jobs()?,
            describe: !arguments.seal.no_description,
            allow_missing_digest: arguments.allow_missing_digest,
        };
        let SaveArguments { recipients, force, dry_run, seal, .. } = arguments;
        Ok(Self { source, recipients, destination, force, dry_run, seal, options })
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
    let settings = SaveSettings::resolve(arguments, &context.environment)?;
    if let SourceSettings::Etcd(connection) = &settings.source {
        connection.check()?;
        connection.warn_of_tls(now()?)?;
    }
    if settings.dry_run {
        return plan(&settings, context);
    }
    let place = Place::for_archive(&settings.destination, settings.force)?;
    let recipients = settings.recipients.load(&context.terminal)?;
    let job = Job { context, recipients, seal: settings.seal, options: settings.options, place };
    match settings.source {
        SourceSettings::Etcd(connection) => job.seal_etcd(&connection.complete(&context.terminal)?),
        SourceSettings::File(path) => job.seal_file(&path),
        SourceSettings::StandardInput => {
            job.seal_existing(io::stdin(), "standard input", Source::Stdin, None)
        }
    }
}

/// Puts the name of the snapshot before an error about it.
fn naming(error: Error, name: &str) -> Error {
    match error.kind() {
        Kind::NotASnapshot | Kind::SnapshotLength | Kind::DigestMismatch | Kind::DigestAbsent => {
            error.within(name)
        }
        _ => error,
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
            open_file(path, "snapshot")?;
            path.display().to_string()
        }
        SourceSettings::StandardInput => "standard input".to_owned(),
    };
    context.reporter.result(&Plan::new("save", source, place.to_string(), recipients))
}

/// All settings except for the source of the snapshot.
struct Job<'a> {
    context: &'a Context,
    recipients: Recipients,
    seal: SealArguments,
    options: crate::pipeline::save::Options,
    place: Place,
}

impl Job<'_> {
    /// Asks etcd only after the destination has proved writable, because a snapshot puts load on the member.
    fn seal_etcd(self, connection: &Connection) -> Result<Exit> {
        let (context, began) = (self.context, Instant::now());
        // Detect a clock that cannot date an archive before etcd is asked.
        now()?;
        let mut output = self.place.begin()?;
        let snapshot = context.runtime.block_on(etcd::open(connection, &context.interrupt))?;
        let requested = now_less(snapshot.requested.elapsed())?;
        // Sealing begins now, but never before the snapshot, even if the clock is set in between.
        let manifest = manifest(&self.seal, &self.recipients, now()?.max(requested));
        let manifest = of_etcd(manifest, &snapshot, requested);
        output.name(|| archive_name(&manifest, requested))?;
        let name = snapshot.endpoint.clone();
        let frame_size = manifest.description.frame_size as usize;
        let flow = snapshot.flow(&context.runtime, frame_size, output.pulse(), &context.interrupt);
        let (conditions, endpoint) = (manifest.conditions.clone(), name.clone());
        let source = EtcdSource { flow, endpoint, conditions };
        self.seal(source, manifest, output, began, |error| match error.kind() {
            Kind::EtcdBadSnapshot if !error.to_string().contains(&name) => error.within(name),
            _ => error,
        })
    }

    fn seal_file(self, path: &Path) -> Result<Exit> {
        let file = open_file(path, "snapshot")?;
        let metadata = file.metadata().map_err(|error| Error::io("look at", path.display(), error))?;
        let size = metadata.is_file().then_some(metadata.len());
        self.seal_existing(file, &path.display().to_string(), Source::File, size)
    }

    /// Seals the snapshot called `name`, of `size` bytes where that is known.
    fn seal_existing(
        self,
        source: impl Read + Send,
        name: &str,
        kind: Source,
        size: Option<u64>,
    ) -> Result<Exit> {
        let (began, sealed_at) = (Instant::now(), now()?);
        let mut output = self.place.begin()?;
        let mut manifest = manifest(&self.seal, &self.recipients, sealed_at);
        manifest.description.source = kind;
        manifest.description.snapshot_size = size;
        output.name(|| archive_name(&manifest, sealed_at))?;
        let frame_size = manifest.description.frame_size;
        let source = ReadSource::new(source, name.to_owned(), frame_size, &self.context.interrupt);
        self.seal(source, manifest, output, began, |error| naming(error, name))
    }

    fn seal(
        &self,
        source: impl SnapshotSource,
        manifest: Manifest,
        mut output: Output,
        began: Instant,
        blame: impl FnOnce(Error) -> Error,
    ) -> Result<Exit> {
        let context = self.context;
        let progress = bar::progress(&context.console, context.quiet, "sealing");
        let saved = save(
            source,
            manifest,
            &self.recipients,
            &self.options,
            &mut output,
            &*progress,
            &context.interrupt,
        )
        .map_err(|error| output.explain(error, blame))?;
        drop(progress);
        let published = output.publish(Some(saved.archive_sha256), &context.interrupt)?;
        context.reporter.result(&SaveReport::new(saved, published, began.elapsed()))
    }
}

/// The manifest of any snapshot; the source is a file until the caller changes it.
fn manifest(seal: &SealArguments, recipients: &Recipients, sealed_at: Timestamp) -> Manifest {
    let description = Description {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        tool: concat!("etcd-seal ", env!("CARGO_PKG_VERSION")).to_owned(),
        sealed_at: sealed_at.to_string(),
        cluster_name: seal.cluster_name.clone(),
        cluster_id: None,
        member_id: None,
        etcd_version: None,
        storage_version: None,
        revision: None,
        snapshot_size: None,
        frame_size: seal.frame_size,
        level: seal.level,
        source: Source::File,
        snapshot_started_at: None,
    };
    Manifest {
        description,
        endpoint: None,
        member_name: None,
        tls: None,
        conditions: Vec::new(),
        host: host_name(),
        tags: seal.tags.clone(),
        note: seal.note.clone(),
        recipients: recipients.names().to_vec(),
    }
}

/// Adds what etcd reported. The announced size may or may not include etcd's 32 bytes of digest, so the first page tells it.
fn of_etcd(mut manifest: Manifest, snapshot: &Snapshot, requested: Timestamp) -> Manifest {
    let status = &snapshot.status;
    let description = &mut manifest.description;
    description.source = Source::Etcd;
    description.cluster_id = id(status.cluster_id);
    description.member_id = id(status.member_id);
    description.etcd_version = etcd::present(&status.version);
    description.storage_version = snapshot.storage_version.clone().or_else(|| status.storage_version.clone());
    description.revision = positive(status.revision);
    description.snapshot_started_at = Some(requested.to_string());
    manifest.endpoint = Some(snapshot.endpoint.clone());
    manifest.tls = Some(tls(snapshot.tls));
    manifest.conditions = conditions(&snapshot.conditions);
    for condition in &manifest.conditions {
        tracing::warn!("{}: the member reports {condition}", snapshot.endpoint);
    }
    manifest.member_name.clone_from(&snapshot.member_name);
    manifest
}

/// Formats a 64-bit id as 16 hex digits.
fn hex_id(id: u64) -> String {
    format!("{id:016x}")
}

/// Formats an id; `None` for 0, which is no id.
fn id(id: u64) -> Option<String> {
    (id != 0).then(|| hex_id(id))
}

/// `None` for an unknown number, which etcd reports as 0.
fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|&number| number > 0)
}

/// The name of the host, if it has one.
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(name).filter(|name| !name.is_empty())
}

/// The time at which something began that took `elapsed`.
fn now_less(elapsed: Duration) -> Result<Timestamp> {
    let now = now()?;
    let began = SignedDuration::try_from(elapsed).ok().and_then(|elapsed| now.checked_sub(elapsed).ok());
    Ok(whole_seconds(began.unwrap_or(now)))
}

/// The name `<cluster>-<time>-r<revision>.db.zst.age`.
fn archive_name(manifest: &Manifest, time: Timestamp) -> String {
    let description = &manifest.description;
    let cluster = description.cluster_name.as_deref().or(description.cluster_id.as_deref());
    ArchiveName::new(cluster.unwrap_or_default(), time, description.revision.unwrap_or(0)).to_string()
}

/// The snapshot stream of an etcd, for the pipeline thread that pulls from it.
struct EtcdSource {
    flow: Flow,
    /// The endpoint that serves it, and the conditions that the member reported before.
    endpoint: String,
    conditions: Vec<Condition>,
}

impl SnapshotSource for EtcdSource {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.flow.take()
    }

    fn finish(&mut self) -> Result<AfterStream> {
        let Some(End { open_for, status }) = self.flow.end() else { return Ok(AfterStream::default()) };
        let status_after = status.as_ref().and_then(status_after);
        let now = status_after.iter().flat_map(|status| &status.conditions);
        for condition in now.filter(|condition| !self.conditions.contains(condition)) {
            tracing::warn!("{}: by the end of the stream the member reports {condition}", self.endpoint);
        }
        Ok(AfterStream { status_after, stream_open_ms: u64::try_from(open_for.as_millis()).ok() })
    }
}

/// Converts to the manifest's type.
fn tls(tls: etcd::Tls) -> Tls {
    match tls {
        etcd::Tls::Verified => Tls::Verified,
        etcd::Tls::Unverified => Tls::Unverified,
        etcd::Tls::None => Tls::None,
    }
}

/// Converts to the type of manifest and trailer.
fn conditions(reported: &[etcd::Condition]) -> Vec<Condition> {
    let recorded = reported.iter().map(|condition| match condition {
        etcd::Condition::NoLeader => Condition::NoLeader,
        etcd::Condition::Corrupt(member) => Condition::Corrupt { member_id: hex_id(*member) },
        etcd::Condition::Nospace(member) => Condition::Nospace { member_id: hex_id(*member) },
        etcd::Condition::Learner => Condition::Learner,
        etcd::Condition::Lagging(behind) => Condition::Lagging { behind: *behind },
        etcd::Condition::Other(text) => Condition::other(text),
    });
    Condition::bounded(recorded.collect())
}

/// Converts to the trailer's type; `None` for an implausible status.
fn status_after(status: &Status) -> Option<StatusAfter> {
    Some(StatusAfter {
        revision: positive(status.revision)?,
        raft_term: status.raft_term,
        raft_index: status.raft_index,
        database_size: positive(status.database_size),
        conditions: conditions(&status.conditions_alone()),
    })
}

/// Reads an existing snapshot in pieces of one frame, which need not be copied. Only the first piece is what one read gives:
/// an error, such as a bad snapshot or a full output, must not wait for more input.
struct ReadSource<R> {
    source: R,
    name: String,
    frame_size: usize,
    /// Bytes of the next frame that were read so far; `None` before the first.
    filled: Option<usize>,
    interrupt: Interrupt,
}

impl<R: Read> ReadSource<R> {
    fn new(source: R, name: String, frame_size: u32, interrupt: &Interrupt) -> Self {
        Self { source, name, frame_size: frame_size as usize, filled: None, interrupt: interrupt.clone() }
    }

    fn read_first(&mut self) -> Result<Vec<u8>> {
        let mut piece = vec![0; READ_SIZE.min(self.frame_size)];
        let length = loop {
            match self.source.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| self.unreadable(error))?,
            }
        };
        piece.truncate(length);
        Ok(piece)
    }

    /// Reads until `piece` has `size` bytes, or to the end.
    fn read_on(&mut self, piece: &mut Vec<u8>, size: usize) -> Result<()> {
        while piece.len() < size {
            self.interrupt.check()?;
            let wanted = READ_SIZE.min(size - piece.len()) as u64;
            let read = self.source.by_ref().take(wanted).read_to_end(piece);
            if read.map_err(|error| self.unreadable(error))? == 0 {
                break;
            }
        }
        Ok(())
    }

    fn unreadable(&self, error: io::Error) -> Error {
        Error::io("read", Path::new(&self.name).display(), error)
    }
}

impl<R: Read + Send> SnapshotSource for ReadSource<R> {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.interrupt.check()?;
        let piece = match self.filled {
            None => self.read_first()?,
            Some(filled) => {
                let size = self.frame_size - filled;
                let mut piece = Vec::with_capacity(size);
                self.read_on(&mut piece, size)?;
                piece
            }
        };
        self.filled = Some((self.filled.unwrap_or(0) + piece.len()) % self.frame_size);
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command_line::parsed;
    use crate::cli::commands::Command;

    #[test]
    fn a_file_is_read_to_its_end_in_pieces_that_end_with_the_frames() {
        // Two reads: 3 bytes, then the rest.
        let reads = b"a s".chain(&b"napshot of 23 bytes."[..]);
        let mut source = ReadSource::new(reads, "x".to_owned(), 8, &Interrupt::new());
        for piece in [&b"a s"[..], b"napsh", b"ot of 23", b" bytes."] {
            assert_eq!(source.next().unwrap().as_deref(), Some(piece));
        }
        assert_eq!(source.next().unwrap(), None);
        assert_eq!(source.finish().unwrap().stream_open_ms, None);
    }

    #[test]
    fn what_etcd_does_not_know_is_left_out() {
        assert_eq!(id(0), None);
        assert_eq!(id(0xcdf8_181d_0ba7).as_deref(), Some("0000cdf8181d0ba7"));
        assert_eq!(etcd::present(""), None);
        assert_eq!((positive(-1), positive(0), positive(7)), (None, None, Some(7)));
    }

    #[test]
    fn times_are_whole_seconds() {
        let began = now_less(Duration::from_millis(90_500)).unwrap();
        assert_eq!(began.subsec_nanosecond(), 0);
        assert!(began.to_string().ends_with('Z'), "{began}");
        let age = Timestamp::now().duration_since(began).as_secs();
        assert!((90..=120).contains(&age), "{age}");
    }

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
        assert!(settings.options.describe && !settings.options.allow_missing_digest);
        assert!(settings.options.jobs >= 1);
        let settings = resolve(
            &["save", "-rage1x", "/b/", "--level=19", "--frame-size=64KiB", "--jobs=3", "--no-description"],
            &[],
        )
        .unwrap();
        assert_eq!((settings.seal.level, settings.seal.frame_size), (19, 65536));
        assert_eq!((settings.options.jobs, settings.options.describe), (3, false));
    }
}
