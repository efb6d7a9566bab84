//! Makes a snapshot of the data directory of a member that does not run any more: the disk that survived.
//!
//! The database of a member lacks what it has acknowledged last, which is only in the write-ahead log. To apply that is the work
//! of etcd. So the directory is copied into a private scratch directory, where an etcd replays the log, alone and on private
//! sockets, with `--force-new-cluster`; then it is asked for a snapshot, as a live one is. Nothing is written to the directory
//! itself.
//!
//! A member learns that an entry is committed only after its quorum, and a new cluster drops the entries of which it does not know.
//! An acknowledged write may be among them. So the log of the copy is told first that all its entries are committed: a member
//! whose whole cluster comes back takes them, too.

mod before;

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;

use self::before::Before;
use super::engine::stage::Work;
use super::private_etcd::Program;
use super::private_etcd::adoption::Adoption;
use super::private_etcd::cluster::{Alone, Cluster, DIRECTORY, Site, Trouble, version_without_data};
use super::space;
use crate::database::bolt::Database;
use crate::database::query::{data_version, newest_revision};
use crate::database::versions::Release;
use crate::error::{Error, Kind, Result};
use crate::etcd;
use crate::store::data_dir::DataDirectory;
use crate::store::scratch::Scratch;
use crate::watch::Watch;

/// The snapshot in the scratch directory.
const SNAPSHOT: &str = "snapshot.db";

/// How to make a snapshot of a data directory.
#[derive(Clone, Debug)]
pub struct Salvage<'a> {
    /// The etcd that replays the log.
    pub program: Program,
    /// How long it may take until it has.
    pub timeout: Duration,
    /// An existing directory for the private scratch directory.
    pub scratch: &'a Path,
    /// Where to talk to it.
    pub runtime: &'a Handle,
    /// Shows the progress of the copy, and stops the work.
    pub watch: Watch,
}

/// What was found in a data directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found {
    /// Its path, as the operator wrote it.
    pub path: PathBuf,
    /// The cluster of the member.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
    /// The version of the etcd that replayed the log.
    pub etcd_version: String,
    /// The newest revision in the database alone.
    pub database_revision: i64,
    /// The newest revision with the log.
    pub revision: i64,
    /// Entries of the log that the member did not know to be committed, and that were taken.
    pub unconfirmed_entries: u64,
    /// Whether the log ends in the middle of a record.
    pub log_is_cut: bool,
    /// Whether there are keys of the v2 API, which no snapshot holds.
    pub v2_keys: bool,
    /// When the directory was last written.
    pub written: Option<SystemTime>,
    /// How long it took to get the snapshot.
    pub took: Duration,
}

impl Found {
    /// The revisions that the database alone does not have.
    #[must_use]
    pub fn won(&self) -> i64 {
        self.revision.saturating_sub(self.database_revision).max(0)
    }
}

/// A snapshot of a data directory, in a scratch directory that goes with this value.
#[derive(Debug)]
pub struct Salvaged {
    /// The snapshot, at its beginning: as etcd sent it, with etcd's digest.
    pub snapshot: File,
    /// What was found.
    pub found: Found,
    _scratch: Scratch,
}

impl Salvage<'_> {
    /// Makes the snapshot.
    ///
    /// # Errors
    /// [`Kind::DatabaseDamaged`] for data that no etcd would start on, [`Kind::NoEtcd`] and [`Kind::EtcdNotRunning`] where etcd
    /// itself is at fault, [`Kind::NoSpace`], [`Kind::Io`].
    pub fn run(&self, source: DataDirectory) -> Result<Salvaged> {
        self.check(&source)?;
        let began = Instant::now();
        let interrupt = &self.watch.interrupt;
        let scratch = Scratch::create(self.scratch)?;
        check_room(self.scratch, &source, scratch.free_space()?)?;
        self.copy(&source, &scratch)?;
        let before = Before::read(&source, &scratch, interrupt)?;
        before.prepare(&scratch)?;
        let (path, written) = (source.path().to_owned(), source.written());
        drop(source);
        let program = &self.program;
        let site = Site {
            program,
            scratch: &scratch,
            runtime: self.runtime,
            timeout: self.timeout,
            watch: &self.watch,
        };
        let adoption = (!program.launcher.is_empty()).then(Adoption::begin);
        let (snapshot, etcd_version) = self.replayed(&site, &before, &path)?;
        drop(adoption);
        let database = Database::open(&snapshot)?;
        warn_of_version(&before, data_version(&database, interrupt)?.as_deref(), &etcd_version);
        let found = Found {
            path,
            cluster_id: before.log.cluster_id,
            member_id: before.log.member_id,
            etcd_version,
            database_revision: before.revision,
            revision: newest_revision(&database, interrupt)?,
            unconfirmed_entries: before.log.unconfirmed(),
            log_is_cut: before.log.is_cut,
            v2_keys: before.v2_keys,
            written,
            took: began.elapsed(),
        };
        Ok(Salvaged { snapshot, found, _scratch: scratch })
    }

    /// Refuses what [`Self::run`] would refuse before it copies.
    ///
    /// # Errors
    /// [`Kind::Usage`] where the scratch directory would be in `source`, [`Kind::Destination`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn check(&self, source: &DataDirectory) -> Result<()> {
        Scratch::check(self.scratch)?;
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if real(self.scratch).starts_with(real(source.path())) {
            let message =
                format!("{} is in the data directory, which is never written", self.scratch.display());
            return Err(Error::new(Kind::Usage, message).with_hint("name another directory with `scratch`"));
        }
        check_room(self.scratch, source, crate::store::space::free_space(self.scratch)?)
    }

    fn copy(&self, source: &DataDirectory, scratch: &Scratch) -> Result<()> {
        let _work = Work::new(&self.watch);
        let progress = &self.watch.progress;
        progress.start(Some(source.size()));
        source.copy(scratch, DIRECTORY, &self.watch.interrupt, &mut |copied| progress.advance(copied, 0))
    }

    /// The snapshot of an etcd that has replayed the log, and its version.
    fn replayed(&self, site: &Site<'_>, before: &Before, path: &Path) -> Result<(File, String)> {
        let alone = match Cluster::boot_alone(site, before.log.last) {
            Err(Trouble::Ended(error)) => return Err(whose_fault(site, before, path, error)),
            booted => booted.map_err(Trouble::into_error).map_err(in_own_words)?,
        };
        let Alone { mut cluster, connection, status } = alone;
        let taken = self.take(site, &connection);
        let snapshot = taken.map_err(|error| match cluster.check_running() {
            Err(trouble) => trouble.into_error(),
            Ok(()) => error,
        })?;
        cluster.stop()?;
        Ok((snapshot, status.version))
    }

    /// Writes the snapshot into the scratch directory.
    fn take(&self, site: &Site<'_>, connection: &etcd::Connection) -> Result<File> {
        let failed = |error| Error::io("write", "the scratch directory", error);
        let mut output = site.scratch.create_file(Path::new(SNAPSHOT))?;
        let mut snapshot = self.runtime.block_on(etcd::open(connection, site.interrupt()))?;
        while let Some(piece) = self.runtime.block_on(snapshot.next())? {
            output.write_all(&piece).map_err(failed)?;
        }
        let mut file = output.finish().map_err(failed)?;
        file.rewind().map_err(failed)?;
        Ok(file)
    }
}

/// The error of an etcd that ended by itself: the data are at fault if it starts without them.
fn whose_fault(site: &Site<'_>, before: &Before, path: &Path, ended: Error) -> Error {
    let version = match version_without_data(site) {
        Ok(Some(version)) => version,
        Ok(None) => return in_own_words(ended),
        Err(error) => return error,
    };
    let data = before.version.as_deref();
    match data.and_then(Release::of).zip(Release::of(&version)) {
        Some((data, have)) if data > have => in_own_words(ended).with_hint(format!(
            "the data are of etcd {data}, and this one is {version}: name one of that version with `etcd`"
        )),
        _ => Error::new(
            Kind::DatabaseDamaged,
            format!("started without the data, etcd {version} serves; started on a copy of them, {ended}"),
        )
        .with_hint(before::database_alone(path)),
    }
}

/// The hint where etcd itself is at fault: those of a drill name an archive.
fn in_own_words(error: Error) -> Error {
    if error.kind() == Kind::EtcdNotRunning && error.own_hint().is_none() {
        return error.with_hint(
            "the data directory is unchanged: look at what etcd says, try the etcd of its version with `etcd`, more time with \
             `replay_timeout`, or another place with `scratch`",
        );
    }
    error
}

/// Refuses a directory that does not fit into the `free` bytes of `scratch`: a copy of all, and the snapshot.
fn check_room(scratch: &Path, source: &DataDirectory, free: u64) -> Result<()> {
    let needed = source.size().saturating_add(source.database_size());
    space::check(scratch, Some(needed), 1, crate::database::member::WAL_SIZE, free)
        .map_err(|error| error.with_hint("free some space there, or name another place with `scratch`"))
}

/// Warns if a newer etcd has raised the version of the data: the older may refuse them then.
fn warn_of_version(before: &Before, after: Option<&str>, etcd: &str) {
    let old = before.version.as_deref();
    let raised = old.zip(after).is_some_and(|(old, new)| Release::of(old) < Release::of(new));
    if let (true, Some(old), Some(new)) = (raised, old, after) {
        tracing::warn!(
            "etcd {etcd}, which replayed the log, has raised the version of the data from {old} to {new}: an older etcd may \
             refuse them. Name one of the old version with `etcd` to keep it"
        );
    }
}
