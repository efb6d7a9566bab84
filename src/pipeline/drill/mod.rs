//! The proof of an archive: restored into a scratch directory, served by a real etcd, compared with what the data say, used,
//! saved again, restarted, and thrown away.
//!
//! What was restored is served without etcd's own authentication, which nobody here has passwords for: it is turned off in the
//! scratch copy, after users and roles were counted. So the members listen where nobody else can reach them.

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
pub(crate) use self::adoption::children;
use self::checks::{Expected, Findings, agree, compare, failed, try_out};
use self::cluster::{Cluster, Served, Site, Trouble, membership};
pub use self::process::Program;
use super::member::{Made, Request as MemberRequest, Source, WantedBump, database_of, write_members};
use super::open::{self, Admit, Opened};
use super::space;
use crate::archive::manifest::Digest;
use crate::database::contents::{Contents, major_and_minor};
use crate::database::edit::turn_authentication_off_in_a_scratch_copy;
use crate::database::file::Database;
use crate::database::hash_kv::{Keys, read_keys};
use crate::database::leases::{Lease, read_leases};
use crate::database::member::LOG_SIZE;
use crate::database::membership::Membership;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::store::scratch::Scratch;

/// How to drill.
pub struct Request<'a> {
    /// What is started.
    pub program: &'a Program,
    /// How many members.
    pub members: usize,
    /// An existing directory, in which the scratch directory is made.
    pub scratch: &'a Path,
    /// How long the members may take until they serve.
    pub timeout: Duration,
    /// Bytes of the snapshot, where somebody has said them before.
    pub expected_size: Option<u64>,
    /// How archives are read.
    pub options: &'a open::Options,
    /// What time it is.
    pub now: Timestamp,
    /// Where etcd is talked to.
    pub runtime: &'a Handle,
}

/// Refuses a snapshot of `expected` bytes for which there is not enough room in `scratch`, where `free` bytes are free: two more
/// copies than members are needed, as etcd defragments into one, and the member is saved again.
///
/// # Errors
/// [`Kind::NoSpace`].
pub fn check_room(scratch: &Path, expected: Option<u64>, members: usize, free: u64) -> Result<()> {
    let expected = expected.map(|size| size.saturating_add(LOG_SIZE));
    space::check(scratch, expected, members as u64 + 2, LOG_SIZE, free)
}

/// What was proved, and how long it took.
#[derive(Debug)]
pub struct Drilled {
    /// What was found in the archive; `None` for a plain snapshot.
    pub opened: Option<Opened>,
    /// Bytes of the snapshot.
    pub snapshot_size: u64,
    /// Whether etcd's own digest was there and right.
    pub digest: Digest,
    /// What the database holds.
    pub contents: Contents,
    /// Its keys, and their checksum, which etcd came to, too.
    pub keys: Keys,
    /// The version of the etcd that served it.
    pub etcd_version: String,
    /// How many members did.
    pub members: usize,
    /// What whoever reads the verdict has to know.
    pub remarks: Vec<String>,
    /// How long it took.
    pub times: Times,
}

/// How long a drill took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// From the first byte of the archive to members on the disk.
    pub restore: Duration,
    /// From there to the first read that etcd served.
    pub boot: Duration,
    /// Everything else.
    pub check: Duration,
}

impl Times {
    /// The time to recovery: what a bad day would take, hardware and hands apart.
    #[must_use]
    pub fn recovery(self) -> Duration {
        self.restore + self.boot
    }
}

/// Drills. However it ends, no etcd and no scratch directory remain.
///
/// # Errors
/// [`Kind::DrillFailed`] where etcd does not serve what the data say or breaks on it; [`Kind::NoEtcd`] and
/// [`Kind::EtcdNotRunning`] where etcd itself is what is wrong; those of restoring a member.
pub fn drill(
    input: &mut (dyn Read + Send),
    source: &Source<'_>,
    request: &Request<'_>,
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Drilled> {
    let began = Instant::now();
    let membership = membership(request.members)?;
    let scratch = Scratch::create(request.scratch)?;
    let free = scratch.free_space()?;
    let admit = |promised| check_room(request.scratch, Some(promised), request.members, free);
    request.expected_size.map_or(Ok(()), admit)?;
    let restored = Restored::new(input, source, &membership, &scratch, &admit, progress, interrupt)?;
    let site = Site {
        program: request.program,
        scratch: &scratch,
        runtime: request.runtime,
        timeout: request.timeout,
        interrupt,
    };
    // From here on every child of this process is an etcd of the drill, where a launcher starts those: no plugin is run.
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

/// Members on the disk, and all that is to be known of them before an etcd changes anything.
struct Restored {
    made: Made,
    took: Duration,
    keys: Keys,
    leases: Option<Vec<Lease>>,
}

/// What a cluster has proved.
struct Proved {
    boot: Duration,
    etcd_version: String,
    remarks: Vec<String>,
}

impl Restored {
    fn new(
        input: &mut (dyn Read + Send),
        source: &Source<'_>,
        membership: &Membership,
        scratch: &Scratch,
        admit: &Admit<'_>,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let began = Instant::now();
        let wanted = MemberRequest {
            membership,
            bump: WantedBump::None,
            skip_hash_check: false,
            expected_size: None,
            clock: None,
        };
        let create = |path: &Path| scratch.create_file(path);
        let (made, file) = write_members(input, source, &wanted, &create, admit, progress, interrupt)?;
        let took = began.elapsed();
        let database = Database::open(&file)?;
        let contents = &made.contents;
        let keys = read_keys(&database, contents.revision, contents.compacted, interrupt)?;
        let leases = read_leases(&database, interrupt)?;
        if contents.auth_enabled {
            for member in membership.members() {
                let file = scratch.open_file(&database_of(&member.name))?;
                turn_authentication_off_in_a_scratch_copy(&Database::open(&file)?, interrupt)?;
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
        let again = resave::save_and_open(
            &connection,
            site.scratch,
            runtime,
            request.options,
            request.now,
            site.interrupt,
        );
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

    /// An etcd that starts on nothing, but not on the data, says something about the data.
    fn whose_fault(&self, site: &Site<'_>, ended: Error) -> Error {
        tracing::info!("etcd ended by itself: trying it without the data");
        let version = match without_data(site) {
            Ok(version) => version,
            Err(error) if error.kind() == Kind::Interrupted => return error,
            // Whatever is wrong, it is not the data.
            Err(error) => {
                tracing::debug!(%error, "etcd does not start without the data either");
                return ended;
            }
        };
        let needed = self.made.contents.data_version().and_then(major_and_minor);
        match needed.zip(major_and_minor(&version)) {
            Some((needed, have)) if needed > have => ended.with_hint(format!(
                "the data are of etcd {}.{}, and this one is {version}: name one as new with --etcd",
                needed.0, needed.1
            )),
            _ => failed(format!("started without the data, etcd {version} serves; started on them, {ended}")),
        }
    }

    /// What whoever reads the verdict has to know.
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

/// Compares every member with the data, and disarms what would refuse writes.
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

/// What a call failed with says that etcd is gone, that it takes too long, or that it does not do its work on the data.
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

/// What etcd says where its host, and not the data, is at fault.
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

/// An error of the host's.
fn blamed_on_host(message: String, kind: Option<Kind>) -> Error {
    let error = Error::new(kind.unwrap_or(Kind::EtcdNotRunning), message);
    match kind {
        Some(Kind::NoSpace) => error.with_hint("free some space there, or name another place with --scratch"),
        _ => error,
    }
}

/// Starts an etcd on nothing, and returns its version.
fn without_data(site: &Site<'_>) -> Result<String> {
    site.scratch.rename("m1", "m1.aside")?;
    let served = Cluster::boot(site, &membership(1)?).map_err(Trouble::into_error)?;
    let [client, ..] = &served.clients[..] else { return Err(failed("there is no member")) };
    Ok(site.runtime.block_on(client.status())?.version)
}

/// A key that nobody has.
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
        assert!(blamed_on_host(refused.to_owned(), host_fault(refused)).hint().contains("--scratch"));
    }
}
