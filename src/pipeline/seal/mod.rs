//! Seals a snapshot, of a live etcd or of a reader, into an archive.

mod copied;
mod record;
mod source;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::{Handle, Runtime};

use self::copied::Walked;
pub use self::source::{AfterStream, SnapshotSource};
use self::source::{EtcdSource, ReadSource};
use super::age::{out_of_range, timestamp};
use super::engine::seal::Sealer;
use super::packed::{Unpacked, unpacked};
use super::salvage::{Found, Salvaged};
use super::unseal::new_object;
use crate::archive::frame::FRAME_SIZE_DEFAULT;
use crate::archive::manifest::{Digest, Manifest, Source, Trailer};
use crate::error::{Error, Kind, Result, Subject};
use crate::etcd::{self, Connection, Snapshot};
use crate::keys::Recipients;
use crate::progress::Pulse;
use crate::store::name::{ArchiveName, whole_seconds};
use crate::store::{Existing, Location, Published, Terms};
use crate::watch::Watch;

/// How to seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealOptions {
    /// The zstd level, from 1 to 19.
    pub(crate) level: i32,
    /// Snapshot bytes in every frame but the last.
    pub(crate) frame_size: u32,
    /// Threads that compress, and threads that seal.
    pub(crate) jobs: usize,
    /// Whether the header carries the public description.
    pub(crate) describe: bool,
    /// Whether a snapshot without etcd's digest is accepted.
    pub(crate) allow_missing_digest: bool,
}

/// Texts of the caller in the manifest.
#[derive(Clone, Debug, Default)]
struct Texts {
    cluster_name: Option<String>,
    host: Option<String>,
    note: Option<String>,
    tags: Vec<String>,
}

/// Seals snapshots for recipients.
///
/// Each method that writes reads one [`Input`], checks every byte of it on the way, and returns what it [`Sealed`]. The
/// options have the defaults of the program.
#[derive(Clone, Debug)]
pub struct Seal<'a> {
    recipients: &'a Recipients,
    options: SealOptions,
    texts: Texts,
    /// The time of the caller's clock at the moment that follows; the monotonic clock tells later times.
    now: SystemTime,
    since: Instant,
    watch: Watch,
}

impl<'a> Seal<'a> {
    /// Seals for `recipients`; `now` is the current time, which every archive records.
    #[must_use]
    pub fn new(recipients: &'a Recipients, now: SystemTime) -> Self {
        let options = SealOptions {
            level: 1,
            frame_size: FRAME_SIZE_DEFAULT,
            jobs: default_jobs(),
            describe: true,
            allow_missing_digest: false,
        };
        let (texts, since, watch) = (Texts::default(), Instant::now(), Watch::default());
        Self { recipients, options, texts, now, since, watch }
    }

    /// Compresses at this zstd level, from 1 (the default) to 19.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.options.level = level;
        self
    }

    /// Puts so many bytes of the snapshot into each frame: a multiple of 64 KiB up to 16 MiB; 4 MiB by default.
    #[must_use]
    pub fn frame_size(mut self, bytes: u32) -> Self {
        self.options.frame_size = bytes;
        self
    }

    /// Starts so many threads for each parallel stage; by default as many as there are processors, 4 at most.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.options.jobs = jobs;
        self
    }

    /// Names the cluster, in the public description and in the automatic name of the archive.
    #[must_use]
    pub fn cluster_name(mut self, name: impl Into<String>) -> Self {
        self.texts.cluster_name = Some(name.into());
        self
    }

    /// Records the host that seals, inside the encryption.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.texts.host = Some(name.into());
        self
    }

    /// Records a note, inside the encryption.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.texts.note = Some(text.into());
        self
    }

    /// Records one more tag, inside the encryption.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.texts.tags.push(tag.into());
        self
    }

    /// Leaves the public description out of the header, so that nothing of it is readable without a key.
    #[must_use]
    pub fn no_description(mut self) -> Self {
        self.options.describe = false;
        self
    }

    /// Accepts a snapshot without etcd's digest, such as a copy of a member's database file. The archive says so. In a file,
    /// every page of the database is checked first.
    #[must_use]
    pub fn allow_missing_digest(mut self) -> Self {
        self.options.allow_missing_digest = true;
        self
    }

    /// Shows the progress, and makes it possible to stop the work.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    /// Seals `input` into `output`, which is an archive only if this returns `Ok`: after any error the last chunk is
    /// missing, and every age implementation refuses the file.
    ///
    /// # Errors
    /// Any fault of the input, the snapshot in it, the recipients or the output.
    pub fn to_writer(&self, input: Input<'a>, output: &mut (dyn Write + Send)) -> Result<Sealed> {
        self.begin(input)?.write_to(output)
    }

    /// Seals `input` into a new file at `path`, with its SHA-256 in a sidecar beside it. The file appears under its name
    /// only after everything is checked and synced; on error nothing is left behind.
    ///
    /// # Errors
    /// The errors of [`Self::to_writer`], and [`Kind::DestinationExists`].
    pub fn to_file(&self, input: Input<'a>, path: &Path) -> Result<(Sealed, Published)> {
        let mut object = new_object(path, true)?;
        let sealed = self.to_writer(input, &mut object)?;
        let published = object.publish(Some(sealed.archive_sha256), &self.watch.interrupt)?;
        Ok((sealed, published))
    }

    /// Seals `input` into a new file in `directory`, named after the cluster, the time and the revision, with a number where
    /// that name is taken, as [`Self::to_file`] does.
    ///
    /// # Errors
    /// The errors of [`Self::to_writer`], and [`Kind::Destination`].
    pub fn to_directory(&self, input: Input<'a>, directory: &Path) -> Result<(Sealed, Published)> {
        // A snapshot puts load on a member, so the directory has to prove writable first.
        let mut object = Location::parse(directory).store().begin()?;
        let sealing = self.begin(input)?;
        let terms = Terms { existing: Existing::Number, sidecar: true };
        object.name(OsStr::new(&sealing.name().to_string()), terms)?;
        let sealed = sealing.write_to(&mut object)?;
        let published = object.publish(Some(sealed.archive_sha256), &self.watch.interrupt)?;
        Ok((sealed, published))
    }

    /// Opens `input`. The result knows the name of the archive before its first byte is written.
    ///
    /// # Errors
    /// The errors of the connection to etcd, and [`Kind::Io`].
    pub(crate) fn begin(&self, input: Input<'a>) -> Result<Sealing<'a>> {
        let now = self.time_at(Instant::now())?;
        match input.0 {
            From::Etcd { connection, runtime } => self.begin_etcd(connection, runtime),
            From::File { file, subject, size, found } => {
                let walked = match size.filter(|_| self.options.allow_missing_digest) {
                    Some(size) => copied::walk(&file, size, &self.watch.interrupt),
                    None => Ok(Walked::No),
                };
                let walked = walked.map_err(|error| about_snapshot(error, &subject))?;
                let read = ReadOrigin { reader: Box::new(file), subject, walked };
                let manifest = record::manifest(self, Source::File, now);
                let manifest = match found {
                    Some(found) => record::of_data_directory(manifest, found),
                    None => manifest,
                };
                self.begin_reader(read, manifest, size, now)
            }
            From::Reader { reader, subject, source } => {
                let read = ReadOrigin { reader, subject, walked: Walked::No };
                self.begin_reader(read, record::manifest(self, source, now), None, now)
            }
        }
    }

    fn begin_reader(
        &self,
        read: ReadOrigin<'a>,
        mut manifest: Manifest,
        size: Option<u64>,
        now: Timestamp,
    ) -> Result<Sealing<'a>> {
        let ReadOrigin { reader, subject, walked } = read;
        let Unpacked { reader, packing } =
            unpacked(reader, &subject).map_err(|error| about_snapshot(error, &subject))?;
        manifest.description.snapshot_size = size.filter(|_| packing.is_none());
        let name = record::archive_name(&manifest, now);
        let origin = Origin::Reader(ReadOrigin { reader, subject, walked });
        Ok(Sealing { seal: self.clone(), origin, manifest, name })
    }

    fn begin_etcd(&self, connection: &Connection, runtime: Option<Handle>) -> Result<Sealing<'a>> {
        let runtime = runtime
            .map_or_else(|| start_runtime().map(Reactor::Own), |handle| Ok(Reactor::Shared(handle)))?;
        let snapshot = runtime.handle().block_on(etcd::open(connection, &self.watch.interrupt))?;
        let requested = self.time_at(snapshot.requested)?;
        let manifest = record::manifest(self, Source::Etcd, self.time_at(Instant::now())?);
        let manifest = record::of_etcd(manifest, &snapshot, requested);
        let name = record::archive_name(&manifest, requested);
        let origin = Origin::Etcd { snapshot: Box::new(snapshot), runtime };
        Ok(Sealing { seal: self.clone(), origin, manifest, name })
    }

    /// The time of the caller's clock at `instant`, in whole seconds.
    fn time_at(&self, instant: Instant) -> Result<Timestamp> {
        let now = timestamp(self.now)?;
        let elapsed = instant.saturating_duration_since(self.since);
        let time = SignedDuration::try_from(elapsed).ok().and_then(|elapsed| now.checked_add(elapsed).ok());
        Ok(whole_seconds(time.ok_or_else(out_of_range)?))
    }
}

/// Most threads of each parallel stage by default.
///
/// Each thread holds frames of its own, some 5 to 10 MiB, so memory would grow with the number of processors: with four
/// threads, nothing at its default needs 96 MiB, whatever is in the snapshot. Four threads are also faster than all that
/// they wait for at the default level: each compresses 0.9 GB/s, while etcd sends half a gigabyte a second and SHA-256, on
/// one thread, takes 1.7 GB/s.
const DEFAULT_JOBS_MAXIMUM: usize = 4;

/// The threads of a parallel stage by default, where this process may use so many processors.
pub(crate) fn jobs_for(processors: usize) -> usize {
    processors.min(DEFAULT_JOBS_MAXIMUM)
}

/// The threads of a parallel stage by default.
pub(super) fn default_jobs() -> usize {
    jobs_for(std::thread::available_parallelism().map_or(1, usize::from))
}

/// Where a snapshot comes from.
pub struct Input<'a>(From<'a>);

enum From<'a> {
    Etcd { connection: &'a Connection, runtime: Option<Handle> },
    File { file: File, subject: Subject, size: Option<u64>, found: Option<&'a Found> },
    Reader { reader: Box<dyn Read + Send + 'a>, subject: Subject, source: Source },
}

impl<'a> Input<'a> {
    /// A snapshot that a member of this cluster makes now.
    #[must_use]
    pub fn etcd(connection: &'a Connection) -> Self {
        Self(From::Etcd { connection, runtime: None })
    }

    /// As [`Self::etcd`], on a runtime of the caller.
    #[must_use]
    pub fn etcd_on(connection: &'a Connection, runtime: &Handle) -> Self {
        Self(From::Etcd { connection, runtime: Some(runtime.clone()) })
    }

    /// A snapshot that `reader` gives, up to its end; one that gzip, zip or zstd has packed is unpacked on the way.
    pub fn reader(reader: impl Read + Send + 'a) -> Self {
        Self::named_reader(reader, Subject::Stream("the snapshot".to_owned()), Source::Stdin)
    }

    /// A snapshot that `reader` gives; errors call it `subject`.
    pub(crate) fn named_reader(reader: impl Read + Send + 'a, subject: Subject, source: Source) -> Self {
        Self(From::Reader { reader: Box::new(reader), subject, source })
    }

    /// The snapshot in this file, packed or not; errors call it `path`.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn file(file: File, path: &Path) -> Result<Self> {
        Self::file_of(file, path, None)
    }

    /// The snapshot that was salvaged from a data directory; errors call it by the path of that.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn salvaged(salvaged: &'a Salvaged) -> Result<Self> {
        let path = &salvaged.found.path;
        let copy = salvaged.snapshot.try_clone();
        let file = copy.map_err(|error| Error::io("read", "the scratch directory", error))?;
        Self::file_of(file, path, Some(&salvaged.found))
    }

    fn file_of(file: File, path: &Path, found: Option<&'a Found>) -> Result<Self> {
        let metadata = file.metadata().map_err(|error| Error::io("look at", path.display(), error))?;
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self(From::File { file, subject: path.into(), size, found }))
    }
}

/// The runtime of a connection to etcd.
enum Reactor {
    Own(Runtime),
    Shared(Handle),
}

impl Reactor {
    fn handle(&self) -> &Handle {
        match self {
            Self::Own(runtime) => runtime.handle(),
            Self::Shared(handle) => handle,
        }
    }
}

/// Starts a runtime for connections to etcd, where the caller has none.
pub(super) fn start_runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().map_err(|error| Error::io("start", "a runtime", error))
}

/// An input that is open: its manifest and the name of its archive are known.
pub(crate) struct Sealing<'a> {
    seal: Seal<'a>,
    origin: Origin<'a>,
    manifest: Manifest,
    name: ArchiveName,
}

enum Origin<'a> {
    Etcd { snapshot: Box<Snapshot>, runtime: Reactor },
    Reader(ReadOrigin<'a>),
}

/// A reader of a snapshot.
struct ReadOrigin<'a> {
    reader: Box<dyn Read + Send + 'a>,
    subject: Subject,
    walked: Walked,
}

impl Sealing<'_> {
    /// The automatic name of the archive.
    pub(crate) fn name(&self) -> &ArchiveName {
        &self.name
    }

    /// Seals into `output`, as [`Seal::to_writer`] does.
    ///
    /// # Errors
    /// The errors of [`Seal::to_writer`].
    pub(crate) fn write_to(self, output: &mut (dyn Write + Send)) -> Result<Sealed> {
        let Self { seal, origin, manifest, .. } = self;
        let Seal { recipients, options, watch, .. } = &seal;
        let sealer = Sealer { recipients, options, watch };
        match origin {
            Origin::Etcd { snapshot, runtime } => {
                let endpoint = snapshot.endpoint.clone();
                let pulse = Pulse::default();
                let mut output = Beating { output, pulse: pulse.clone() };
                let flow =
                    snapshot.reader(runtime.handle(), options.frame_size as usize, pulse, &watch.interrupt);
                let conditions = manifest.conditions.clone();
                let source = EtcdSource { flow, endpoint: endpoint.clone(), conditions };
                sealer.seal(source, manifest, &mut output).map_err(|error| match error.kind() {
                    Kind::EtcdBadSnapshot => error.about(Subject::Endpoint(endpoint)),
                    _ => error,
                })
            }
            Origin::Reader(ReadOrigin { reader, subject, walked }) => {
                let source = ReadSource::new(reader, subject.clone(), options.frame_size, &watch.interrupt);
                let archive = sealer.seal(source, manifest, output);
                let archive = archive.map_err(|error| about_snapshot(error, &subject))?;
                if (archive.trailer.digest, walked) == (Digest::Absent, Walked::No) {
                    tracing::warn!(
                        "{subject}: nothing vouches for the database: it can only be checked page by page in a file that is not \
                         packed; drill the archive before you rely on it"
                    );
                }
                Ok(archive)
            }
        }
    }
}

/// Names the source in an error about the snapshot that came from it.
fn about_snapshot(error: Error, subject: &Subject) -> Error {
    match error.kind() {
        Kind::NotASnapshot
        | Kind::SnapshotLength
        | Kind::DigestMismatch
        | Kind::DigestAbsent
        | Kind::DatabaseDamaged => error.about(subject.clone()),
        _ => error,
    }
}

/// Most bytes of a write: a write to a pipe returns only when all its bytes were taken, but the heartbeat must show much
/// earlier that a slow reader is not a dead one.
const WRITE_SIZE: usize = 64 * 1024;

/// An output with a heartbeat.
struct Beating<'a> {
    output: &'a mut (dyn Write + Send),
    pulse: Pulse,
}

impl Write for Beating<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.output.write(&bytes[..bytes.len().min(WRITE_SIZE)]);
        self.pulse.beat();
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush()
    }
}

/// An archive that was sealed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sealed {
    /// The manifest as written, with the size filled in.
    pub manifest: Manifest,
    /// The trailer as written.
    pub trailer: Trailer,
    /// Bytes of the archive.
    pub archive_size: u64,
    /// SHA-256 of the archive.
    pub archive_sha256: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_monotonic_clock_tells_later_times_in_whole_seconds() {
        let recipients = Recipients::passphrase("a passphrase".into()).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
        let seal = Seal::new(&recipients, now);
        let later = |millis| seal.time_at(seal.since + Duration::from_millis(millis)).unwrap().to_string();
        assert_eq!([later(0), later(99)], ["2023-11-14T22:13:20Z"; 2]);
        assert_eq!(later(60_100), "2023-11-14T22:14:21Z");
        let never = Seal { now: SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 40), ..seal };
        assert_eq!(never.time_at(Instant::now()).unwrap_err().kind(), Kind::Usage);
    }
}
