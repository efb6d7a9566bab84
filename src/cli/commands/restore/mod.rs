//! `restore`: turns an archive back into the snapshot, into a member, or into a whole cluster.

mod settings;

use super::salvage::{check, salvage};
use crate::archive::contents::Kubernetes;
use crate::archive::manifest::Description;
use crate::cli::clock::{now, time_of};
use crate::cli::context::Context;
use crate::cli::downgrade::warn_of_downgrade;
use crate::cli::etcd_program::{find_etcd, version_of};
use crate::cli::exit::Exit;
use crate::cli::input::{Archive, standard_input_object};
use crate::cli::output::Place;
use crate::cli::render::{
    Made, MemberDirectories, MemberReport, Plan, RestoreReport, SalvageReport, keys, size,
};
use crate::cli::settings::data_directory::DataDirectorySettings;
use crate::cli::settings::environment::{self, Environment};
use crate::cli::terminal::printable::{quoted, sanitize};
use crate::database::member::Membership;
use crate::database::versions::{DataVersions, FIRST_CHECKING, Release, Start};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::keys::Identities;
use crate::pipeline::age::Clock;
use crate::pipeline::inspect::inspect;
use crate::pipeline::member::{Restored, WantedBump};
use crate::pipeline::open::{Opening, Options};
use crate::pipeline::predecessor::{Predecessor, predecessors};
use crate::pipeline::restore::Restore;
use crate::pipeline::salvage::{Found, Salvaged};
use crate::pipeline::space::{MemberRoom, check_cluster, check_snapshot};
use crate::store::Object;
use crate::store::local::LocalFile;
use crate::store::member::{MemberPlace, Owner, UnpublishedMembers};
use crate::store::source::open_snapshot;
use crate::store::space::free_space;
use jiff::Timestamp;
use settings::{ClusterSettings, RestoreSettings, Target};
pub(crate) use settings::{RestoreArguments, SourceSettings};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) fn run(arguments: RestoreArguments, context: &Context) -> Result<Exit> {
    let RestoreSettings { source, target, dry_run, options } =
        RestoreSettings::resolve(arguments, &context.environment)?;
    if let SourceSettings::DataDirectory(_) = source {
        // A copy and a start of etcd come first, so what the end would refuse is refused now.
        target.check()?;
    }
    let source = OpenSource::open(source, context, dry_run)?;
    match target {
        Target::Snapshot(output, force) => to_snapshot(source, &output, force, &options, context),
        Target::Member(cluster, name, place) => {
            let goal = Goal::Member { name, place };
            to_members(source, &cluster, goal, &options, context)
        }
        Target::Cluster(cluster, directory, owner) => {
            let goal = Goal::Cluster { directory, owner };
            to_members(source, &cluster, goal, &options, context)
        }
    }
}

/// An opened source.
pub(crate) struct OpenSource {
    archive: Archive,
    pub(crate) object: Box<dyn Object>,
    /// The identities for an archive; `None` for a plain snapshot.
    pub(crate) identities: Option<Identities>,
    /// The snapshot's scratch directory, and what was found in the data directory that it came from.
    salvaged: Option<Salvaged>,
    /// When the data directory was last written.
    written: Option<Timestamp>,
    /// Whether the command only plans.
    dry_run: bool,
}

impl OpenSource {
    /// Opens the file and reads the identities. A dry run needs no passphrase, so it asks for none.
    pub(crate) fn open(settings: SourceSettings, context: &Context, dry_run: bool) -> Result<Self> {
        match settings {
            SourceSettings::Snapshot(path) => {
                let archive = Archive::named(&path);
                let object: Box<dyn Object> = match archive.path() {
                    None => standard_input_object()?,
                    Some(path) => Box::new(LocalFile::from(open_snapshot(path)?)),
                };
                Ok(Self::new(archive, object, None, dry_run))
            }
            SourceSettings::DataDirectory(settings) => Self::salvage(&settings, context, dry_run),
            SourceSettings::Archive(path, identities) => {
                let archive = Archive::named(&path);
                let object = archive.open()?;
                let identities = if dry_run {
                    identities.read(&context.terminal)?;
                    Identities::default()
                } else {
                    identities.load(&context.terminal)?.unwrap_or_default()
                };
                Ok(Self::new(archive, object, Some(identities), dry_run))
            }
        }
    }

    fn new(archive: Archive, object: Box<dyn Object>, identities: Option<Identities>, dry_run: bool) -> Self {
        Self { archive, object, identities, salvaged: None, written: None, dry_run }
    }

    /// Makes a snapshot of the data directory. A dry run only looks at its files.
    fn salvage(settings: &DataDirectorySettings, context: &Context, dry_run: bool) -> Result<Self> {
        let archive = Archive::named(&settings.path);
        let failed = |error| Error::io("read", "the snapshot", error);
        let (object, written, salvaged) = if dry_run {
            let source = check(settings, context)?;
            (source.database().map_err(failed)?, source.written(), None)
        } else {
            let salvaged = salvage(settings, context)?;
            (salvaged.snapshot.try_clone().map_err(failed)?, salvaged.found.written, Some(salvaged))
        };
        let written = written.and_then(time_of);
        let object = Box::new(LocalFile::from(object));
        Ok(Self { salvaged, written, ..Self::new(archive, object, None, dry_run) })
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The description that is readable without a key, if the archive can be read in any order; nothing of it is authenticated.
    pub(crate) fn describe(&mut self) -> Option<Description> {
        if self.identities.is_none() || self.object.size().is_none() {
            return None;
        }
        let description = inspect(&mut self.object, None).ok().and_then(|seen| seen.visible.description);
        self.object.rewind().ok()?;
        description
    }

    /// The current time, and when the archive or the snapshot was written.
    fn clock(&self) -> Result<Clock> {
        if self.written.is_some() {
            return Ok(Clock { now: now()?, modified: self.written });
        }
        let modified = self.object.modified().and_then(|modified| time_of(modified.into()));
        Ok(Clock { now: now()?, modified })
    }

    /// Bytes of the snapshot as far as they are known beforehand, given the result of [`Self::describe`].
    pub(crate) fn expected_size(&self, description: Option<&Description>) -> Option<u64> {
        let length = self.object.size()?;
        // Without a description, the snapshot is at least as large as its compressed form.
        Some(description.and_then(|description| description.snapshot_size).unwrap_or(length))
    }
}

fn to_snapshot(
    mut source: OpenSource,
    output: &OsStr,
    force: bool,
    options: &Options,
    context: &Context,
) -> Result<Exit> {
    let place = Place::for_snapshot(output, force)?;
    let description = source.describe();
    let expected = source.expected_size(description.as_ref());
    let (named, free) = (place.to_string(), place.free_space()?);
    let admit = |promised| check_snapshot(Path::new(&named), promised, free.unwrap_or(u64::MAX));
    expected.map_or(Ok(()), admit)?;
    if source.dry_run {
        let plan = Plan::new("restore", source.archive.subject().to_string(), named, Vec::new());
        return context.reporter.result(&plan);
    }
    let began = Instant::now();
    if let Some(salvaged) = &source.salvaged {
        return salvaged_to_snapshot(&salvaged.found, &mut source.object, &place, context);
    }
    let identities = source.identities.take().unwrap_or_default();
    let mut output = place.begin()?;
    let watch = context.watch("restoring");
    let opening = Opening { identities: &identities, options, admit: &admit, watch: &watch };
    let opened = opening.open(&mut source.object, &mut output);
    let archive = source.archive();
    let opened = opened.map_err(|error| {
        let blame = |error: Error| match error.kind() {
            Kind::NoSpace => error,
            _ => archive.or_damaged(error, &context.interrupt).about(archive.subject()),
        };
        output.explain(error, blame)
    })?;
    let published = output.publish(None, &context.interrupt)?;
    context.reporter.result(&RestoreReport::new(opened, archive.path(), published, began.elapsed()))
}

/// Writes the snapshot of a data directory.
fn salvaged_to_snapshot(
    found: &Found,
    snapshot: &mut Box<dyn Object>,
    place: &Place,
    context: &Context,
) -> Result<Exit> {
    let began = Instant::now();
    let mut output = place.begin()?;
    let restore = Restore::from(None).watch(context.watch("restoring"));
    let written = restore.copy_to(snapshot, &mut output);
    let size = written.map_err(|error| output.explain(error, std::convert::identity))?;
    let published = output.publish(None, &context.interrupt)?;
    context.reporter.result(&SalvageReport::new(found, size, published, began.elapsed()))
}

impl Target {
    /// Refuses now what publishing would refuse at the end.
    fn check(&self) -> Result<()> {
        match self {
            Self::Snapshot(output, force) => Place::for_snapshot(output, *force).map(drop),
            Self::Member(_, _, place) => place.check(),
            Self::Cluster(_, directory, _) => UnpublishedMembers::check(directory),
        }
    }
}

/// The result to make of the snapshot.
enum Goal {
    Member { name: String, place: MemberPlace },
    Cluster { directory: PathBuf, owner: Option<Owner> },
}

impl Goal {
    /// The directory as the user named it.
    fn directory(&self) -> &Path {
        match self {
            Self::Member { place, .. } => &place.data_dir,
            Self::Cluster { directory, .. } => directory,
        }
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::Member { place, .. } => place.check(),
            Self::Cluster { directory, .. } => UnpublishedMembers::check(directory),
        }
    }

    /// Refuses what does not fit, as a real run would.
    fn check_room(&self, membership: &Membership, expected: Option<u64>) -> Result<()> {
        match self {
            Self::Member { place, .. } => {
                MemberRoom::of(place)?.check(&place.data_dir, place.wal_dir.as_deref(), expected)
            }
            Self::Cluster { directory, .. } => {
                check_cluster(directory, expected, membership.members().len(), free_space(directory)?)
            }
        }
    }

    /// The previous members.
    fn predecessors(&self, interrupt: &Interrupt) -> Vec<Predecessor> {
        match self {
            Self::Member { place, .. } => predecessors(place, interrupt),
            Self::Cluster { .. } => Vec::new(),
        }
    }

    /// The absolute directories of a single member, valid from whatever working directory its etcd starts in.
    fn directories(&self) -> Result<Option<MemberDirectories>> {
        let Self::Member { place, .. } = self else { return Ok(None) };
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|error| Error::io("find", path.display(), error));
        let wal_dir = place.wal_dir.as_deref().map(absolute).transpose()?;
        Ok(Some(MemberDirectories { data_dir: absolute(&place.data_dir)?, wal_dir }))
    }

    /// Names of the members to make.
    fn names<'a>(&'a self, membership: &'a Membership) -> Vec<&'a str> {
        match self {
            Self::Member { name, .. } => vec![name],
            Self::Cluster { .. } => membership.members().iter().map(|member| member.name.as_str()).collect(),
        }
    }
}

fn to_members(
    mut source: OpenSource,
    cluster: &ClusterSettings,
    goal: Goal,
    options: &Options,
    context: &Context,
) -> Result<Exit> {
    let membership = &cluster.membership;
    goal.check()?;
    let description = source.describe();
    let expected_size = source.expected_size(description.as_ref());
    let clock = source.clock()?;
    check_age(cluster.bump, &source, description.as_ref(), clock)?;
    if source.dry_run {
        goal.check_room(membership, expected_size)?;
        for predecessor in &goal.predecessors(&context.interrupt) {
            warn_of_unread(predecessor, cluster.bump);
            let lost = Lost::described(description.as_ref(), expected_size);
            lost.warn_of_replaced(predecessor, membership);
        }
        // It starts no program, so only a version that was named counts.
        if let Some(description) = description.as_ref().filter(|_| cluster.etcd_version.is_some()) {
            warn_of_version(versions_described(description), cluster.etcd_version, &context.environment);
        }
        let plan = plan(&source, membership, &goal).of_snapshot(description, expected_size, clock);
        return context.reporter.result(&plan);
    }
    let began = Instant::now();
    let identities = source.identities.take();
    let mut restore = Restore::from(identities.as_ref())
        .membership(membership.clone())
        .bump(cluster.bump)
        .options(options.clone())
        .expected_size(expected_size)
        .clock(clock)
        .watch(context.watch("restoring"));
    if cluster.skip_hash_check {
        restore = restore.skip_hash_check();
    }
    let (object, interrupt) = (&mut source.object, &context.interrupt);
    let names: Vec<String> = goal.names(membership).into_iter().map(str::to_owned).collect();
    let directories = goal.directories()?;
    let restored = match goal {
        Goal::Member { name, place } => restore.to_place(object, &name, place),
        Goal::Cluster { directory, owner } => restore.to_cluster_of(object, &directory, owner),
    };
    let archive = source.archive();
    let restored = restored.map_err(|error| archive.blamed(error, identities.is_some(), interrupt))?;
    warn(&restored, cluster);
    warn_of_version(restored.contents.versions(), cluster.etcd_version, &context.environment);
    let found = source.salvaged.as_ref().map(|salvaged| &salvaged.found);
    let made = Made { membership, names: &names, directories: directories.as_ref(), found };
    let report = MemberReport::new(restored, archive.path(), &made, clock, began.elapsed());
    context.reporter.result(&report)
}

/// Refuses `--kubernetes` without a known age before anything is read, because the run would fail at the end.
fn check_age(
    bump: WantedBump,
    source: &OpenSource,
    description: Option<&Description>,
    clock: Clock,
) -> Result<()> {
    let is_known_already = description.is_some() || source.identities.is_none();
    if bump == WantedBump::Kubernetes(None) && is_known_already {
        clock.age(description)?;
    }
    Ok(())
}

fn plan(source: &OpenSource, membership: &Membership, goal: &Goal) -> Plan {
    let mut destination = goal.directory().display().to_string();
    for name in goal.names(membership) {
        if let Ok(member) = membership.member(name, None) {
            let _ = write!(destination, ", member {} ({})", quoted(name), member.hex_id());
        }
    }
    let (cluster, all) = (membership.cluster_id(), membership.initial_cluster());
    let _ = write!(destination, " of cluster {cluster:x}, {all}");
    Plan::new("restore", source.archive.subject().to_string(), destination, Vec::new())
}

/// What is known of the snapshot's cluster, to compare with a previous member.
struct Lost {
    cluster_id: Option<u64>,
    revision: Option<i64>,
    size: Option<u64>,
}

impl Lost {
    /// Facts from the description.
    fn described(description: Option<&Description>, size: Option<u64>) -> Self {
        let revision = description.and_then(|description| description.revision);
        Self {
            cluster_id: description.and_then(cluster_id),
            revision: revision.and_then(|revision| i64::try_from(revision).ok()),
            size,
        }
    }

    /// Facts from the restored database.
    fn restored(restored: &Restored) -> Self {
        let manifest = restored.opened.as_ref().and_then(|opened| opened.manifest.as_ref());
        Self {
            cluster_id: manifest.and_then(|manifest| cluster_id(&manifest.description)),
            revision: Some(restored.contents.revision),
            size: Some(restored.snapshot_size),
        }
    }

    /// Warns of signs that this is the wrong archive or the wrong directory.
    fn warn_of_replaced(&self, replaced: &Predecessor, membership: &Membership) {
        if !replaced.is_replaced {
            return;
        }
        let path = replaced.path.display();
        if let (Some(other), Some(lost)) = (replaced.cluster_id, self.cluster_id)
            && ![lost, membership.cluster_id()].contains(&other)
        {
            tracing::warn!(
                "the member that is replaced, {path}, is of the cluster {other:016x}, but the archive is of {lost:016x}: is it \
                 the right archive, and the right directory?"
            );
        }
        let Ok(reached) = &replaced.reached else { return };
        if let Some(revision) = self.revision.filter(|revision| *revision < reached.revision) {
            tracing::warn!(
                "the member that is replaced, {path}, had reached revision {}, and the snapshot is of revision {revision}: what \
                 was written in between is only in what is moved aside",
                reached.revision
            );
        }
        if let Some(bytes) = self.size.filter(|bytes| bytes.saturating_mul(TEN_TIMES) <= reached.size) {
            tracing::warn!(
                "the member that is replaced, {path}, has a database of {}, and the snapshot has {}: is it the right archive?",
                size(reached.size),
                size(bytes)
            );
        }
    }
}

/// A member that is larger by this factor is hardly of the same cluster.
const TEN_TIMES: u64 = 10;

/// The id of the cluster of an archive.
fn cluster_id(description: &Description) -> Option<u64> {
    u64::from_str_radix(description.cluster_id.as_ref()?, 16).ok()
}

/// Warns of what the operator has to know before starting the cluster.
fn warn(restored: &Restored, cluster: &ClusterSettings) {
    warn_of_old_id(restored, &cluster.membership);
    let contents = &restored.contents;
    if contents.kubernetes.is_some() && restored.raised_to.is_none() {
        let number = restored.suggested_bump;
        let number = number.map(|by| format!(", or with --bump-revision {by} --mark-compacted"));
        tracing::warn!(
            "this is the data of a Kubernetes cluster, and its revision was not raised: controllers and kubelets that watched \
             the lost cluster have seen revisions above {}, and will miss changes, in silence, until they are restarted. \
             Restore again with --kubernetes{}, or restart all of them",
            contents.revision,
            number.unwrap_or_default()
        );
    }
    let lost = Lost::restored(restored);
    for predecessor in &restored.predecessors {
        lost.warn_of_replaced(predecessor, &cluster.membership);
        warn_of_unread(predecessor, cluster.bump);
        warn_of_revisions_twice(predecessor, restored.raised_to);
    }
    let encryption = contents.kubernetes.as_ref().map(Kubernetes::from).unwrap_or_default().encryption;
    if !encryption.is_empty() {
        tracing::warn!(
            "Kubernetes has encrypted values in it ({}): kube-apiserver needs its EncryptionConfiguration, with the same keys, \
             to read them",
            keys(&encryption)
        );
    }
    for alarm in &contents.alarms {
        tracing::warn!(
            "the alarm {} of member {:x} is raised in it, and will be in the new cluster: see etcdctl alarm list, and disarm it \
             when its cause is gone",
            alarm.kind,
            alarm.member
        );
    }
    if contents.unnamed_alarms() > 0 {
        tracing::warn!("… and {} more alarms are raised in it", contents.unnamed_alarms());
    }
    warn_of_downgrade(restored.published.path.display(), contents.downgrade.as_deref());
}

/// Warns of a member with an unknown revision, whose revisions the new member may assign again.
fn warn_of_unread(predecessor: &Predecessor, bump: WantedBump) {
    let Err(error) = &predecessor.reached else { return };
    let consequence = match bump {
        WantedBump::Kubernetes(_) => {
            ": --kubernetes did not take it into account. If it was restored from the same snapshot, restart all that watched it"
        }
        _ => "",
    };
    tracing::warn!("the revision of {} cannot be read ({error}){consequence}", predecessor.path.display());
}

/// Warns if clients of the previous member would see the same revisions again with other changes.
fn warn_of_revisions_twice(predecessor: &Predecessor, raised_to: Option<i64>) {
    let (Some(raised_to), Ok(reached)) = (raised_to, &predecessor.reached) else { return };
    if raised_to <= reached.revision {
        tracing::warn!(
            "the revision was raised to {raised_to}, but {} had reached {}: what watched that one will miss changes, in \
             silence, until it is restarted. Restore again with a larger --bump-revision, or with --kubernetes",
            predecessor.path.display(),
            reached.revision
        );
    }
}

/// Warns of a reused cluster id. The id keeps old members out, and it is a digest of names that may not have changed.
fn warn_of_old_id(restored: &Restored, membership: &Membership) {
    let lost = restored.opened.as_ref().and_then(|opened| opened.manifest.as_ref());
    let lost = lost.and_then(|manifest| manifest.description.cluster_id.as_ref());
    if lost.is_some_and(|lost| *lost == format!("{:016x}", membership.cluster_id())) {
        tracing::warn!(
            "the new cluster has the id of the lost one ({:x}): an old member that still runs would take it for its own. \
             Restore again with an --initial-cluster-token it never had, or make sure that none runs",
            membership.cluster_id()
        );
    }
}

/// The versions of the data as far as the description tells them.
fn versions_described(description: &Description) -> DataVersions {
    let version = description.storage_version.as_ref().or(description.etcd_version.as_ref());
    DataVersions { cluster: version.and_then(|version| Release::of(version)), ..DataVersions::default() }
}

/// Warns if the etcd that will run the member is none for these data: the one of `--etcd-version`, else the one on `PATH`.
fn warn_of_version(data: DataVersions, named: Option<Release>, environment: &Environment) {
    let Some((etcd, name, other)) =
        named.map_or_else(|| found(environment), |etcd| Some((etcd, format!("etcd {etcd}"), "")))
    else {
        return;
    };
    match data.start(etcd) {
        Start::Starts => {}
        Start::Unchecked(release) => tracing::warn!(
            "the data are of etcd {release}, newer than {name}, which starts without a check that it understands them, and may \
             have no upgrade that does: start etcd {release} or newer{other}"
        ),
        Start::Refuses(release) => tracing::warn!(
            "the data are of etcd {release}, and {name} does not start on them: start etcd {release} or newer{other}"
        ),
        Start::RefusesDowngrade(target) => tracing::warn!(
            "a downgrade to {target} is pending in the data, and {name} does not start on them: start etcd {} or newer{other}",
            data.release().unwrap_or(etcd).max(FIRST_CHECKING)
        ),
    }
}

/// The release of the etcd on `PATH`, its name in a warning, and what to do if another will run the member.
fn found(environment: &Environment) -> Option<(Release, String, &'static str)> {
    let search_path = environment.get(environment::PATH);
    let path = find_etcd(None, search_path).ok()?;
    let version = version_of(&path, search_path)?;
    let name = format!("{} ({})", sanitize(&path.display().to_string()), sanitize(&version));
    Some((
        Release::of(&version)?,
        name,
        "; if another etcd will run the member, tell which with --etcd-version",
    ))
}

/// The hint where only etcd's digest can vouch for a snapshot.
const LAST_COPY: &str = "take another copy; if this is the last one there is, or the db file of a member that was stopped, \
     etcd-seal restore with --skip-hash-check --force takes it as it is";

impl Archive {
    /// Names the source in an error about it; an error about a destination names that already.
    pub(crate) fn blamed(&self, error: Error, sealed: bool, interrupt: &Interrupt) -> Error {
        match error.kind() {
            Kind::DestinationExists
            | Kind::Destination
            | Kind::NoSpace
            | Kind::Io
            | Kind::Usage
            | Kind::Interrupted
            | Kind::PartlyPublished => error,
            _ if sealed => self.or_damaged(error, interrupt).about(self.subject()),
            Kind::DigestAbsent | Kind::DigestMismatch => error.with_hint(LAST_COPY).about(self.subject()),
            _ => error.about(self.subject()),
        }
    }
}
