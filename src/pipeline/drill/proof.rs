//! Proves restored members: etcd serves them, its answers are compared with the data, and a save of them opens again.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::checks::{Expected, Findings, agree, compare, failed, try_out};
use super::resave::save_and_open;
use crate::database::bolt::Database;
use crate::database::hash_kv::{KeysAtRevision, read_keys};
use crate::database::leases::{Lease, read_leases};
use crate::database::member::turn_authentication_off_in_a_scratch_copy;
use crate::database::versions::{DataVersions, FIRST_CHECKING, Release, Start};
use crate::error::{Error, Kind, Result};
use crate::pipeline::member::{Made, database_of, write_members};
use crate::pipeline::open::Admit;
use crate::pipeline::private_etcd::cluster::{Cluster, Served, Site, Trouble, version_without_data};
use crate::pipeline::private_etcd::host::{blamed_on_host, host_fault};
use crate::pipeline::restore::Restore;
use crate::store::scratch::Scratch;

/// The members on disk, and what is known of them before an etcd changes anything.
pub(super) struct Restored {
    pub(super) made: Made,
    pub(super) took: Duration,
    pub(super) keys: KeysAtRevision,
    leases: Option<Vec<Lease>>,
}

/// What a running cluster proved.
pub(super) struct Proved {
    pub(super) boot: Duration,
    pub(super) etcd_version: String,
    pub(super) remarks: Vec<String>,
}

impl Restored {
    pub(super) fn new(
        restore: &Restore<'_>,
        input: &mut (dyn Read + Send),
        scratch: &Scratch,
        admit: &Admit<'_>,
    ) -> Result<Self> {
        let (began, watch) = (Instant::now(), &restore.watch);
        let interrupt = &watch.interrupt;
        let members = restore.membership.members().len();
        let plural = if members == 1 { "" } else { "s" };
        watch.progress.step(&format!("restoring {members} member{plural}, checking every byte"));
        let create = |path: &Path| scratch.create_file(path);
        let (made, file) = write_members(restore, input, &create, admit)?;
        let took = began.elapsed();
        watch.progress.step("counting and hashing the keys, without etcd");
        let database = Database::open(&file)?;
        let contents = &made.contents;
        let keys = read_keys(&database, contents.revision, contents.compacted, interrupt)?;
        let leases = read_leases(&database, interrupt)?;
        if contents.auth_enabled {
            for member in restore.membership.members() {
                let file = scratch.open_file(&database_of(&member.name))?;
                turn_authentication_off_in_a_scratch_copy(&file, interrupt)?;
            }
        }
        Ok(Self { made, took, keys, leases })
    }

    pub(super) fn prove(&self, site: &Site<'_>, restore: &Restore<'_>, now: SystemTime) -> Result<Proved> {
        let membership = &restore.membership;
        let contents = &self.made.contents;
        site.step("starting etcd");
        let since = Instant::now();
        let mut served = match Cluster::boot(site, membership) {
            Err(Trouble::Ended(error)) => return Err(self.whose_fault(site, error)),
            booted => booted.map_err(Trouble::into_error)?,
        };
        let boot = served.after;
        let expected = Expected { contents, keys: self.keys, leases: self.leases.as_deref(), membership };
        let runtime = site.runtime;
        site.step("comparing HashKV, keys, leases, users, roles and members");
        let checked = runtime.block_on(compare_all(&served, &expected, since));
        let (findings, etcd_version) = blamed(checked, &mut served)?;
        if !findings.differences.is_empty() {
            let differences = findings.differences.join(", ");
            return Err(failed(format!(
                "etcd {etcd_version} does not serve what the archive holds, revision {}: it has {differences}",
                contents.revision
            )));
        }
        site.step("putting, deleting, compacting and defragmenting");
        let tried = runtime.block_on(try_out(&served, random_key()?));
        let tried = blamed(tried, &mut served)?;
        site.step("saving the member again, and verifying that archive");
        let connection = served.cluster.connection(0);
        let again = save_and_open(&connection, site, restore.options.jobs, now);
        blamed(again, &mut served)?;
        site.step("stopping etcd, and starting it once more");
        served.cluster.stop()?;
        let mut served = Cluster::boot(site, membership).map_err(|trouble| match trouble {
            Trouble::Ended(error) => failed(format!("started once more, {error}")),
            Trouble::Other(error) => error.within("started once more"),
        })?;
        site.step("comparing once more");
        let agreed = runtime.block_on(agree(&served.clients, &tried));
        blamed(agreed, &mut served)?;
        let remarks = self.remarks(findings, &etcd_version);
        Ok(Proved { boot, etcd_version, remarks })
    }

    /// The error of an etcd that ended by itself: the data are at fault if it starts without them.
    fn whose_fault(&self, site: &Site<'_>, ended: Error) -> Error {
        let version = match version_without_data(site) {
            Ok(Some(version)) => version,
            Ok(None) => return ended,
            Err(error) => return error,
        };
        match unfit(self.made.contents.versions(), &version) {
            Some(error) => error.with_source(ended),
            None => {
                failed(format!("started without the data, etcd {version} serves; started on them, {ended}"))
            }
        }
    }

    /// What a reader of the verdict has to know.
    fn remarks(&self, findings: Findings, etcd_version: &str) -> Vec<String> {
        let contents = &self.made.contents;
        let mut remarks = findings.remarks;
        let start = Release::of(etcd_version).map(|etcd| contents.versions().start(etcd));
        if let Some(Start::Unchecked(data)) = start {
            remarks.push(format!(
                "the data are of etcd {data}, newer than etcd {etcd_version}, which does not check that it understands them"
            ));
        }
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

/// The error where etcd of this version is not one for data of these versions: the archive is not at fault.
fn unfit(data: DataVersions, version: &str) -> Option<Error> {
    let etcd = Release::of(version)?;
    let (why, fit) = match data.start(etcd) {
        Start::Starts => return None,
        Start::Refuses(release) | Start::Unchecked(release) => {
            (format!("which are of etcd {release}"), release)
        }
        Start::RefusesDowngrade(target) => (
            format!("in which a downgrade to {target} is pending"),
            data.release().unwrap_or(etcd).max(FIRST_CHECKING),
        ),
    };
    let message = format!("etcd {version} does not start on the data, {why}");
    let hint = format!("name etcd {fit} or newer with `etcd`: the archive is not at fault");
    Some(Error::new(Kind::EtcdNotRunning, message).with_hint(hint))
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

/// A random key, which no cluster has.
fn random_key() -> Result<String> {
    let random = getrandom::u64()
        .map_err(|error| Error::io("read", "the system's random numbers", std::io::Error::other(error)))?;
    Ok(format!("etcd-seal-drill/{random:016x}"))
}
