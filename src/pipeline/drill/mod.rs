//! Proves an archive: restores it into a scratch directory, serves it with a real etcd, compares etcd's answers with the
//! data, writes to it, saves it again, restarts it, and deletes it.
//!
//! The drill has no password of the restored users, so it turns authentication off in the scratch copy, after it has counted
//! users and roles. The members therefore listen only where no other user can reach them.

mod adoption;
mod checks;
mod cluster;
mod process;
mod resave;

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;

use self::adoption::Adoption;
#[cfg(feature = "cli")]
pub(crate) use self::adoption::children;
use self::checks::{Expected, Findings, agree, compare, failed, try_out};
use self::cluster::{Cluster, Served, Site, Trouble, membership};
pub use self::process::Program;
use super::member::{Made, Request as MemberRequest, Source, WantedBump, database_of, write_members};
use super::open::{self, Admit, Opened};
use super::space;
use crate::archive::manifest::Digest;
use crate::database::bolt::Database;
use crate::database::contents::{DatabaseContents, major_and_minor};
use crate::database::hash_kv::{KeysAtRevision, read_keys};
use crate::database::leases::{Lease, read_leases};
use crate::database::member::{Membership, WAL_SIZE, turn_authentication_off_in_a_scratch_copy};
use crate::error::{Error, Kind, Result};
use crate::store::scratch::Scratch;
use crate::watch::Watch;

/// What to drill with.
pub struct Request<'a> {
    /// The etcd to start.
    pub program: &'a Program,
    /// The number of members.
    pub members: usize,
    /// An existing directory, in which the drill makes its scratch directory.
    pub scratch: &'a Path,
    /// How long the members may take until they serve.
    pub timeout: Duration,
    /// Bytes of the snapshot, where known beforehand.
    pub expected_size: Option<u64>,
    /// How to read archives.
    pub options: &'a open::Options,
    /// The current time.
    pub now: Timestamp,
    /// The runtime for connections to etcd.
    pub runtime: &'a Handle,
    /// Watches over the work.
    pub watch: &'a Watch,
}

/// Refuses a snapshot of `expected` bytes where the `free` bytes in `scratch` are too few. It needs two more copies than
/// members: etcd defragments into one, and the drill saves the member again into the other.
///
/// # Errors
/// [`Kind::NoSpace`].
pub fn check_room(scratch: &Path, expected: Option<u64>, members: usize, free: u64) -> Result<()> {
    let expected = expected.map(|size| size.saturating_add(WAL_SIZE));
    space::check(scratch, expected, members as u64 + 2, WAL_SIZE, free)
}

/// What the drill proved, and how long it took.
#[derive(Debug)]
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

/// Drills an archive or snapshot. However it ends, no etcd and no scratch directory remain.
///
/// # Errors
/// [`Kind::DrillFailed`] where etcd does not serve the data or breaks on them; [`Kind::NoEtcd`] and
/// [`Kind::EtcdNotRunning`] where etcd itself is at fault; the errors of restoring a member.
pub fn drill(input: &mut (dyn Read + Send), source: &Source<'_>, request: &Request<'_>) -> Result<Drilled> {
    let began = Instant::now();
    let membership = membership(request.members)?;
    let scratch = Scratch::create(request.scratch)?;
    let free = scratch.free_space()?;
    let admit = |promised| check_room(request.scratch, Some(promised), request.members, free);
    request.expected_size.map_or(Ok(()), admit)?;
    let wanted = MemberRequest {
        membership: &membership,
        bump: WantedBump::None,
        skip_hash_check: false,
        expected_size: None,
        clock: None,
        watch: request.watch,
    };
    let restored = Restored::new(input, source, &wanted, &scratch, &admit)?;
    let site = Site {
        program: request.program,
        scratch: &scratch,
        runtime: request.runtime,
        timeout: request.timeout,
        interrupt: &request.watch.interrupt,
    };
    // From here on, where a launcher starts the etcds, every child of this process belongs to the drill: no plugin runs.
    let adoption = (!request.program.launcher.is_empty()).then(Adoption::begin);
    let proved = restored.prove(&site, &membership, request)?;
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
        members: request.members,
        remarks: proved.remarks,
        times: Times { check: began.elapsed().saturating_sub(times.recovery()), ..times },
    })
}

/// The members on disk, and what is known of them before an etcd changes anything.
struct Restored {
    made: Made,
    took: Duration,
    keys: KeysAtRevision,
    leases: Option<Vec<Lease>>,
}

/// What a running cluster proved.
struct Proved {
    boot: Duration,
    etcd_version: String,
    remarks: Vec<String>,
}

impl Restored {
    fn new(
        input: &mut (dyn Read + Send),
        source: &Source<'_>,
        wanted: &MemberRequest<'_>,
        scratch: &Scratch,
        admit: &Admit<'_>,
    ) -> Result<Self> {
        let (began, interrupt) = (Instant::now(), &wanted.watch.interrupt);
        let create = |path: &Path| scratch.create_file(path);
        let (made, file) = write_members(input, source, wanted, &create, admit)?;
        let took = began.elapsed();
        let database = Database::open(&file)?;
        let contents = &made.contents;
        let keys = read_keys(&database, contents.revision, contents.compacted, interrupt)?;
        let leases = read_leases(&database, interrupt)?;
        if contents.auth_enabled {
            for member in wanted.membership.members() {
                let file = scratch.open_file(&database_of(&member.name))?;
                turn_authentication_off_in_a_scratch_copy(&file, interrupt)?;
            }
        }
        Ok(Self { made, took, keys, leases })
    }

    fn prove(&self, site: &Site<'_>, membership: &Membership, request: &Request<'_>) -> Result<Proved> {
        let contents = &self.made.contents;
        let since = Instant::now();
        let mut served = match Cluster::boot(site, membership) {
            Err(Trouble::Ended(error)) => return Err(self.whose_fault(site, error)),
            booted => booted.map_err(Trouble::into_error)?,
        };
        let boot = served.after;
        let expected = Expected { contents, keys: self.keys, leases: self.leases.as_deref(), membership };
        let runtime = site.runtime;
        let checked = runtime.block_on(compare_all(&served, &expected, since));
        let (findings, etcd_version) = blamed(checked, &mut served)?;
        if !findings.differences.is_empty() {
            let differences = findings.differences.join(", ");
            return Err(failed(format!(
                "etcd {etcd_version} does not serve what the archive holds, revision {}: it has {differences}",
                contents.revision
            )));
        }
        let tried = runtime.block_on(try_out(&served, random_key()?));
        let tried = blamed(tried, &mut served)?;
        let connection = served.cluster.connection(0);
        let again = resave::save_and_open(&connection, site.scratch, request);
        blamed(again, &mut served)?;
        served.cluster.stop()?;
        let mut served = Cluster::boot(site, membership).map_err(|trouble| match trouble {
            Trouble::Ended(error) => failed(format!("started once more, {error}")),
            Trouble::Other(error) => error.within("started once more"),
        })?;
        let agreed = runtime.block_on(agree(&served.clients, &tried));
        blamed(agreed, &mut served)?;
        Ok(Proved { boot, etcd_version, remarks: self.remarks(findings) })
    }

    /// Decides who is at fault when etcd ended by itself: if it starts without the data, the data are.
    fn whose_fault(&self, site: &Site<'_>, ended: Error) -> Error {
        tracing::info!("etcd ended by itself: trying it without the data");
        let version = match without_data(site) {
            Ok(version) => version,
            Err(error) if error.kind() == Kind::Interrupted => return error,
            // Something other than the data is wrong.
            Err(error) => {
                tracing::debug!(%error, "etcd does not start without the data either");
                return ended;
            }
        };
        let needed = self.made.contents.data_version().and_then(major_and_minor);
        match needed.zip(major_and_minor(&version)) {
            Some((needed, have)) if needed > have => ended.with_hint(format!(
                "the data are of etcd {}.{}, and this one is {version}: name one as new with `etcd`",
                needed.0, needed.1
            )),
            _ => failed(format!("started without the data, etcd {version} serves; started on them, {ended}")),
        }
    }

    /// What a reader of the verdict has to know.
    fn remarks(&self, findings: Findings) -> Vec<String> {
        let contents = &self.made.contents;
        let mut remarks = findings.remarks;
        if contents.auth_enabled {
            remarks.push(
                "authentication is on in the data, and was turned off in the scratch copy: no user's password was tried"
                    .to_owned(),
            );
        }
        for alarm in &contents.alarms {
            remarks.push(format!(
                "the alarm {} is raised in the data, and was disarmed in the scratch copy: a restored cluster will have it",
                alarm.kind
            ));
        }
        if contents.unnamed_alarms() > 0 {
            remarks.push(format!(
                "{} more alarms are raised in the data, and were disarmed, too",
                contents.unnamed_alarms()
            ));
        }
        remarks
    }
}

/// Compares every member with the data, and disarms alarms that would refuse writes.
async fn compare_all(
    served: &Served<'_>,
    expected: &Expected<'_>,
    since: Instant,
) -> Result<(Findings, String)> {
    let mut findings = Findings::default();
    let mut version = String::new();
    for client in &served.clients {
        let found = compare(client, expected, since).await?;
        findings.differences.extend(found.differences);
        findings.remarks.extend(found.remarks);
        version = client.status().await?.version;
    }
    findings.differences.dedup();
    findings.remarks.dedup();
    if let (true, [client, ..]) = (!expected.contents.alarms.is_empty(), &served.clients[..]) {
        client.disarm().await?;
    }
    Ok((findings, version))
}

/// Blames the failure of a call on an ended or slow etcd, on the host, or on the data.
fn blamed<T>(result: Result<T>, served: &mut Served<'_>) -> Result<T> {
    result.map_err(|error| match error.kind() {
        _ if served.cluster.is_interrupted() => Error::new(Kind::Interrupted, "interrupted"),
        Kind::EtcdFault if host_fault(&error.to_string()).is_some() => {
            let words = error.to_string();
            blamed_on_host(words.clone(), host_fault(&words)).with_source(error)
        }
        Kind::EtcdFault | Kind::EtcdAuthentication | Kind::EtcdBadSnapshot => {
            failed(format!("etcd does not do its work on the data: {error}")).with_source(error)
        }
        Kind::EtcdUnreachable | Kind::EtcdTimeout | Kind::EtcdStalled | Kind::EtcdIncomplete => {
            match served.cluster.check_running() {
                Err(Trouble::Ended(ended)) => failed(format!("at work on the data, {ended}")),
                Err(Trouble::Other(ended)) => ended,
                Ok(()) => error.into_kind(Kind::EtcdNotRunning),
            }
        }
        _ => error,
    })
}

/// The kind of error where etcd's words blame its host and not the data.
fn host_fault(words: &str) -> Option<Kind> {
    const FULL: [&str; 2] = ["no space left on device", "disk quota exceeded"];
    const UNABLE: [&str; 4] =
        ["input/output error", "cannot allocate memory", "too many open files", "read-only file system"];
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    match (says(&FULL), says(&UNABLE)) {
        (true, _) => Some(Kind::NoSpace),
        (false, true) => Some(Kind::EtcdNotRunning),
        (false, false) => None,
    }
}

/// An error that is the host's fault.
fn blamed_on_host(message: String, kind: Option<Kind>) -> Error {
    let error = Error::new(kind.unwrap_or(Kind::EtcdNotRunning), message);
    match kind {
        Some(Kind::NoSpace) => error.with_hint("free some space there, or name another place with `scratch`"),
        _ => error,
    }
}

/// Starts an etcd without data, and returns its version.
fn without_data(site: &Site<'_>) -> Result<String> {
    site.scratch.rename("m1", "m1.aside")?;
    let served = Cluster::boot(site, &membership(1)?).map_err(Trouble::into_error)?;
    let [client, ..] = &served.clients[..] else { return Err(failed("there is no member")) };
    Ok(site.runtime.block_on(client.status())?.version)
}

/// A random key, which no cluster has.
fn random_key() -> Result<String> {
    let random = getrandom::u64()
        .map_err(|error| Error::io("read", "the system's random numbers", std::io::Error::other(error)))?;
    Ok(format!("etcd-seal-drill/{random:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_s_trouble_is_not_the_archive_s() {
        let refused = "etcd refused the defragmentation: write db.tmp: no space left on device";
        assert_eq!(host_fault(refused), Some(Kind::NoSpace));
        assert_eq!(host_fault("read db: input/output error"), Some(Kind::EtcdNotRunning));
        assert_eq!(host_fault("etcdserver: mvcc: required revision has been compacted"), None);
        assert!(blamed_on_host(refused.to_owned(), host_fault(refused)).hint().contains("`scratch`"));
    }
}
