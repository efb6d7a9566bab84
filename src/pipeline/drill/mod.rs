//! Proves an archive: restores it into a scratch directory, serves it with a real etcd, compares etcd's answers with the
//! data, writes to it, saves it again, restarts it, and deletes it.
//!
//! The drill has no password of the restored users, so it turns authentication off in the scratch copy, after it has counted
//! users and roles. The members therefore listen only where no other user can reach them.

mod checks;
mod proof;
mod resave;

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;

use self::proof::Restored;
use super::open::Opened;
use super::private_etcd::Program;
use super::private_etcd::adoption::Adoption;
use super::private_etcd::cluster::{Site, membership};
use super::restore::Restore;
use super::seal::start_runtime;
use super::space;
use crate::archive::manifest::Digest;
use crate::database::contents::DatabaseContents;
use crate::database::hash_kv::KeysAtRevision;
use crate::database::member::WAL_SIZE;
use crate::error::Result;
use crate::keys::Identities;
use crate::pipeline::member::Made;
use crate::store::scratch::Scratch;
use crate::watch::Watch;

/// Proves archives and plain snapshots under a real etcd.
///
/// However a drill ends, no etcd and no scratch directory remain; if this process is killed, they do, until a later drill
/// removes the directory.
///
/// ```no_run
/// use etcd_seal::{Drill, Identities};
/// use std::{fs::File, path::Path, time::SystemTime};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identities = Identities::of("AGE-SECRET-KEY-1…")?;
/// let drill = Drill::archive(&identities, Path::new("/usr/bin/etcd"), SystemTime::now()).members(3);
/// let drilled = drill.run(File::open("prod.db.zst.age")?, Path::new("/var/tmp"))?;
/// println!("{} keys, back after {:?}", drilled.keys.count, drilled.times.recovery());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Drill<'a> {
    restore: Restore<'a>,
    program: Program,
    members: usize,
    timeout: Duration,
    now: SystemTime,
    runtime: Option<Handle>,
}

impl<'a> Drill<'a> {
    /// Drills archives that `identities` open, under the program `etcd`; `now` is the current time.
    #[must_use]
    pub fn archive(identities: &'a Identities, etcd: &Path, now: SystemTime) -> Self {
        let program = Program { etcd: etcd.to_owned(), launcher: Vec::new(), search_path: None };
        Self::of(Restore::archive(identities), program, now)
    }

    /// Drills plain snapshots, as `etcdctl snapshot save` writes them.
    #[must_use]
    pub fn snapshot(etcd: &Path, now: SystemTime) -> Self {
        let program = Program { etcd: etcd.to_owned(), launcher: Vec::new(), search_path: None };
        Self::of(Restore::snapshot(), program, now)
    }

    /// Drills what `restore` restores from.
    pub(crate) fn of(restore: Restore<'a>, program: Program, now: SystemTime) -> Self {
        Self { restore, program, members: 1, timeout: TIMEOUT, now, runtime: None }
    }

    /// Makes a cluster of so many members, each with a copy of the data; by default one.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// Gives the members so long until they serve; by default a minute.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Shows the progress, and makes it possible to stop the work.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.restore = self.restore.watch(watch);
        self
    }

    /// Talks to etcd on a runtime of the caller.
    #[must_use]
    pub fn runtime(mut self, runtime: &Handle) -> Self {
        self.runtime = Some(runtime.clone());
        self
    }

    /// Drills what `source` gives, in a private directory inside `scratch`, an existing one.
    ///
    /// # Errors
    /// [`Kind::DrillFailed`](crate::Kind::DrillFailed) where etcd does not serve the data or breaks on them; [`Kind::NoEtcd`](crate::Kind::NoEtcd) and
    /// [`Kind::EtcdNotRunning`](crate::Kind::EtcdNotRunning) where etcd itself is at fault; the errors of [`Restore::to_member`].
    pub fn run(&self, mut source: impl Read + Send, scratch: &Path) -> Result<Drilled> {
        match &self.runtime {
            Some(runtime) => self.run_on(runtime, &mut source, scratch),
            None => self.run_on(start_runtime()?.handle(), &mut source, scratch),
        }
    }

    /// As [`Self::run`], on this runtime.
    fn run_on(&self, runtime: &Handle, source: &mut (dyn Read + Send), directory: &Path) -> Result<Drilled> {
        let began = Instant::now();
        let restore = self.restore.clone().membership(membership(self.members)?);
        let scratch = Scratch::create(directory)?;
        let free = scratch.free_space()?;
        let admit = |promised| check_room(directory, Some(promised), self.members, free);
        restore.expected_size.map_or(Ok(()), admit)?;
        let restored = Restored::new(&restore, source, &scratch, &admit)?;
        let site = Site {
            program: &self.program,
            scratch: &scratch,
            runtime,
            timeout: self.timeout,
            watch: &restore.watch,
        };
        // From here on, where a launcher starts the etcds, every child of this process belongs to the drill: no plugin runs.
        let adoption = (!self.program.launcher.is_empty()).then(Adoption::begin);
        let proved = restored.prove(&site, &restore, self.now)?;
        drop(adoption);
        let times = Times { restore: restored.took, boot: proved.boot, ..Times::default() };
        scratch.remove()?;
        let Restored { made: Made { origin, contents, .. }, keys, .. } = restored;
        Ok(Drilled {
            opened: origin.opened,
            snapshot_size: origin.snapshot_size,
            digest: origin.digest,
            contents,
            keys,
            etcd_version: proved.etcd_version,
            members: self.members,
            remarks: proved.remarks,
            times: Times { check: began.elapsed().saturating_sub(times.recovery()), ..times },
        })
    }
}

/// How long the members may take until they serve, by default.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Refuses a snapshot of `expected` bytes where the `free` bytes in `scratch` are too few. It needs two more copies than
/// members: etcd defragments into one, and the drill saves the member again into the other.
///
/// # Errors
/// [`Kind::NoSpace`](crate::Kind::NoSpace).
pub fn check_room(scratch: &Path, expected: Option<u64>, members: usize, free: u64) -> Result<()> {
    let expected = expected.map(|size| size.saturating_add(WAL_SIZE));
    space::check(scratch, expected, members as u64 + 2, WAL_SIZE, free)
}

/// What a drill proved, and how long it took.
#[derive(Debug)]
#[non_exhaustive]
pub struct Drilled {
    /// What was found in the archive; `None` for a plain snapshot.
    pub opened: Option<Opened>,
    /// Bytes of the snapshot.
    pub snapshot_size: u64,
    /// Whether etcd's own digest was present and right.
    pub digest: Digest,
    /// What the database holds.
    pub contents: DatabaseContents,
    /// Its keys, and their checksum, which etcd computed as well.
    pub keys: KeysAtRevision,
    /// The version of the etcd that served it.
    pub etcd_version: String,
    /// The number of members that served it.
    pub members: usize,
    /// What a reader of the verdict has to know.
    pub remarks: Vec<String>,
    /// How long the drill took.
    pub times: Times,
}

/// How long a drill took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// From the first byte of the archive to members on the disk.
    pub restore: Duration,
    /// From there to the first read that etcd served.
    pub boot: Duration,
    /// The remaining time.
    pub check: Duration,
}

impl Times {
    /// The time to recovery: that of a real disaster, except for hardware and manual work.
    #[must_use]
    pub fn recovery(self) -> Duration {
        self.restore + self.boot
    }
}
