//! Turns a snapshot into the members of a new cluster, without etcd: `restore --data-dir` and `--output-dir`.
//!
//! In one pass it writes the snapshot into the file that becomes the database, and checks all digests. Then it checks every
//! page, rewrites the database for the member, and renames the member into place only if everything proved right.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::age::unknown_age;
use super::engine::buffer::Pool;
use super::engine::delivery::Delivery;
use super::engine::digest::{Digested, digest, queue};
use super::engine::plaintext::{fill, read_full};
use super::engine::stage::{Stop, Work, first_failure, join, no_reason, spawn};
use super::instructions::instructions;
use super::open::{Admit, Opened, Opening};
use super::packed::{Unpacked, fault, unpacked, unreadable};
use super::predecessor::{Predecessor, newest_reached, predecessors};
use super::restore::Restore;
use super::space::{MemberRoom, check_cluster};
use crate::archive::manifest::{Description, Digest};
use crate::database::bolt::Database;
use crate::database::contents::DatabaseContents;
use crate::database::member::{
    Bump, Member, Membership, WAL_NAME, WAL_SIZE, become_member, bump_for_kubernetes, first_wal,
    raft_snapshot, raft_snapshot_name,
};
use crate::database::snapshot::{Checked, SnapshotCheck};
use crate::error::{Error, Kind, Result, Subject};
use crate::interrupt::Interrupt;
use crate::store::Published;
use crate::store::growing::GrowingFile;
use crate::store::member::{
    LOG_DIRECTORY, MEMBER, MemberPlace, Owner, SNAPSHOT_DIRECTORY, UnpublishedMembers,
};

/// The file name of a member's database.
const DATABASE: &str = "db";
/// The file with instructions, beside `member`.
pub const INSTRUCTIONS: &str = "RESTORE.txt";
/// Bytes of a snapshot read at a time.
const READ_SIZE: usize = 1024 * 1024;

/// Whether to raise the revision, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedBump {
    /// Keep it.
    None,
    /// Raise it by this much.
    By(Bump),
    /// Raise it by what suits a Kubernetes cluster, with the age of the snapshot where the caller knows it.
    Kubernetes(Option<Duration>),
}

/// Members that were restored.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored {
    /// What was found in the archive; `None` for a plain snapshot.
    pub opened: Option<Opened>,
    /// Bytes of the snapshot.
    pub snapshot_size: u64,
    /// Whether etcd's own digest was present and right.
    pub digest: Digest,
    /// What the database holds.
    pub contents: DatabaseContents,
    /// The revision it was raised to, above that of the contents.
    pub raised_to: Option<i64>,
    /// By how much to raise an unraised revision if the cluster is a Kubernetes one; `None` without a known age.
    pub suggested_bump: Option<i64>,
    /// The previous members, at the same place or moved aside next to it.
    pub predecessors: Vec<Predecessor>,
    /// Where the new member is.
    pub published: Published,
}

/// Restores one member.
pub(super) fn restore_member(
    restore: &Restore<'_>,
    input: &mut (dyn Read + Send),
    member: &Member,
    place: MemberPlace,
) -> Result<Restored> {
    let (data_dir, wal_dir) = (place.data_dir.clone(), place.wal_dir.clone());
    let predecessors = predecessors(&place, &restore.watch.interrupt);
    // Removes what an earlier run left first, as that may take the space.
    let unpublished = place.begin()?;
    let (free, free_for_log) = unpublished.free_space()?;
    let room = MemberRoom { free, free_for_log };
    let check_room = |expected| room.check(&data_dir, wal_dir.as_deref(), expected);
    check_room(restore.expected_size)?;
    let database = unpublished.create_snapshot(DATABASE)?;
    let admit = |promised| check_room(Some(promised));
    let site = Site { given_out: newest_reached(&predecessors), admit: &admit };
    let (made, _) = make_database(restore, input, site, database)?;
    let log_place = wal_dir.as_ref().unwrap_or(&data_dir);
    write_log(&restore.membership, member, unpublished.create_log(WAL_NAME)?)
        .map_err(|error| error.within(log_place.display()))?;
    let raft_snapshot_file = unpublished.create_snapshot(&raft_snapshot_name(&restore.membership))?;
    write_whole(raft_snapshot_file, &raft_snapshot(&restore.membership))?;
    let published = unpublished.publish(&restore.watch.interrupt)?;
    Ok(made.published(predecessors, published))
}

/// Restores every member of the cluster into one new directory, each in a subdirectory of its name, with instructions.
pub(super) fn restore_cluster(
    restore: &Restore<'_>,
    input: &mut (dyn Read + Send),
    directory: &Path,
    owner: Option<Owner>,
) -> Result<Restored> {
    let members = restore.membership.members();
    let unpublished = UnpublishedMembers::begin(directory, owner)?;
    let free = unpublished.free_space()?;
    let check_room = |expected| check_cluster(directory, expected, members.len(), free);
    check_room(restore.expected_size)?;
    let (create, admit) = (|path: &Path| unpublished.create(path), |promised| check_room(Some(promised)));
    let (made, _) = write_members(restore, input, &create, &admit)?;
    for member in members {
        let (size, data) = (made.origin.snapshot_size, made.contents.versions().release());
        let text = instructions(&restore.membership, member, size, data);
        write_whole(unpublished.create(&Path::new(&member.name).join(INSTRUCTIONS))?, text.as_bytes())?;
    }
    Ok(made.published(Vec::new(), unpublished.publish(&restore.watch.interrupt)?))
}

/// The path of the database of the member `name` below the directory of the cluster.
pub(super) fn database_of(name: &str) -> PathBuf {
    [name, MEMBER, SNAPSHOT_DIRECTORY, DATABASE].iter().collect()
}

/// Writes every member of the cluster, each in a directory of its name, into files that `create` makes. Returns what is
/// known of the database, and the open database of the first member.
pub(super) fn write_members(
    restore: &Restore<'_>,
    input: &mut (dyn Read + Send),
    create: &dyn Fn(&Path) -> Result<GrowingFile>,
    admit: &Admit<'_>,
) -> Result<(Made, File)> {
    let site = Site { given_out: None, admit };
    let mut first = None;
    for member in restore.membership.members() {
        let path = database_of(&member.name);
        let database = create(&path)?;
        match &mut first {
            None => first = Some(make_database(restore, input, site, database)?),
            Some((_, first)) => copy_database(first, database, &restore.watch.interrupt)?,
        }
        let log: PathBuf = [member.name.as_str(), MEMBER, LOG_DIRECTORY, WAL_NAME].iter().collect();
        write_log(&restore.membership, member, create(&log)?)?;
        let raft_snapshot_file = create(&path.with_file_name(raft_snapshot_name(&restore.membership)))?;
        write_whole(raft_snapshot_file, &raft_snapshot(&restore.membership))?;
    }
    first.ok_or_else(no_reason)
}

/// A database rewritten for a member, and what is known of it.
pub(super) struct Made {
    pub(super) origin: Origin,
    pub(super) contents: DatabaseContents,
    raised_to: Option<i64>,
    suggested_bump: Option<i64>,
}

impl Made {
    fn published(self, predecessors: Vec<Predecessor>, published: Published) -> Restored {
        let Self { origin: Origin { opened, snapshot_size, digest }, contents, raised_to, suggested_bump } =
            self;
        Restored {
            opened,
            snapshot_size,
            digest,
            contents,
            raised_to,
            suggested_bump,
            predecessors,
            published,
        }
    }
}

/// The source of a snapshot that has been read.
pub(super) struct Origin {
    pub(super) opened: Option<Opened>,
    pub(super) snapshot_size: u64,
    pub(super) digest: Digest,
}

/// What is known of the place of a new member.
#[derive(Clone, Copy)]
struct Site<'a> {
    /// The newest revision of the previous members: their cluster may have continued from the same snapshot.
    given_out: Option<i64>,
    /// Whether a snapshot of the promised size fits.
    admit: &'a Admit<'a>,
}

/// Reads the snapshot into `output`, checks it, and rewrites the database for a member.
fn make_database(
    restore: &Restore<'_>,
    input: &mut (dyn Read + Send),
    site: Site<'_>,
    mut output: GrowingFile,
) -> Result<(Made, File)> {
    let Restore { options, watch, .. } = restore;
    let origin = match restore.identities {
        Some(identities) => {
            let output = &mut output;
            let opening = Opening { identities, options, admit: site.admit, watch };
            let opened = opening.open(input, output)?;
            let (snapshot_size, digest) = (opened.snapshot_size, opened.digest);
            Origin { opened: Some(opened), snapshot_size, digest }
        }
        None => copy_snapshot(restore, input, &mut output)?,
    };
    let database = Database::open(output.file())?;
    let contents = DatabaseContents::read(&database, &watch.interrupt)?;
    tracing::debug!("checked: every page of the database, revision {}", contents.revision);
    if let Some(fault) = contents.pages.as_ref().and_then(|pages| pages.freelist_fault.as_ref()) {
        pass_over_freelist(fault, restore.skip_hash_check)?;
    }
    let description = origin.opened.as_ref().and_then(|opened| opened.manifest.as_ref());
    let description = description.map(|manifest| &manifest.description);
    let kubernetes = |age| bump_for_kubernetes(contents.revision, age, site.given_out);
    let (bump, suggested_bump) = match restore.bump {
        WantedBump::None => (None, snapshot_age(restore, description).ok().map(kubernetes)),
        WantedBump::By(bump) => (Some(bump), None),
        WantedBump::Kubernetes(age) => {
            let age = age.map_or_else(|| snapshot_age(restore, description), Ok)?;
            (Some(Bump { by: kubernetes(age) }), None)
        }
    };
    let raised_to = bump.map(|bump| bump.target(contents.revision)).transpose()?;
    become_member(output.file(), &restore.membership, raised_to, &restore.watch.interrupt)?;
    let file = output.finish().map_err(|error| Error::io("write", "the database", error))?;
    Ok((Made { origin, contents, raised_to, suggested_bump }, file))
}

/// How old the snapshot is.
fn snapshot_age(restore: &Restore<'_>, description: Option<&Description>) -> Result<Duration> {
    restore.clock.map_or_else(|| Err(unknown_age()), |clock| clock.age(description))
}

/// Accepts a damaged freelist on request: no data depends on it, and a member gets none; but its writer was at fault.
fn pass_over_freelist(fault: &str, skip_hash_check: bool) -> Result<()> {
    if skip_hash_check {
        tracing::warn!("{fault}; going on without that list, as `skip_hash_check` asks for");
        return Ok(());
    }
    Err(Error::new(Kind::DatabaseDamaged, format!("the database is damaged: {fault}")).with_hint(
        "use another archive; if this is the last copy there is, restore its snapshot with `output`, and that with \
         `from_snapshot`, `skip_hash_check` and `force`: members do without this list",
    ))
}

/// Copies and checks a plain snapshot.
pub(super) fn copy_snapshot(
    restore: &Restore<'_>,
    input: &mut (dyn Read + Send),
    output: &mut (dyn Write + Send),
) -> Result<Origin> {
    let Restore { skip_hash_check, ref watch, .. } = *restore;
    let _work = Work::new(watch);
    let read = AtomicU64::new(0);
    let (copied, checked) = std::thread::scope(|scope| {
        let (pieces, digested) = queue();
        let check = SnapshotCheck::for_member(skip_hash_check);
        let check = spawn(scope, "digest", move || digest(check, digested))?;
        let mut delivery = Delivery::new(output, pieces, &read, watch);
        let copied = copy(restore, input, &mut delivery, &read);
        drop(delivery);
        Ok::<_, Error>((copied, join(check)))
    })?;
    let snapshot_size = read.into_inner();
    match (copied, checked) {
        (Ok(()), Ok(Digested { checked: Checked { digest, .. }, .. })) => {
            Ok(Origin { opened: None, snapshot_size, digest: digest.into() })
        }
        (Ok(()), Err(error)) if skip_hash_check && error.kind() == Kind::DigestMismatch => {
            tracing::warn!("{error}; going on, as `skip_hash_check` asks for");
            Ok(Origin { opened: None, snapshot_size, digest: Digest::Absent })
        }
        (copied, checked) => {
            let stops = [copied.err(), checked.err().map(Stop::Failed)];
            Err(first_failure(stops).unwrap_or_else(no_reason))
        }
    }
}

/// Reads the whole snapshot, unpacked where it is packed.
fn copy(
    restore: &Restore<'_>,
    input: &mut (dyn Read + Send),
    delivery: &mut Delivery<'_>,
    read: &AtomicU64,
) -> Result<(), Stop> {
    let subject = Subject::Stream("the snapshot".to_owned());
    let Unpacked { reader: mut input, packing } = unpacked(input, &subject)?;
    // The size of a packed file tells nothing of the snapshot in it.
    restore.watch.progress.start(restore.expected_size.filter(|_| packing.is_none()));
    let pool = Pool::default();
    loop {
        let mut piece = pool.take();
        piece.resize(READ_SIZE, 0);
        let length = fill(&mut input, &mut piece);
        let length = length.map_err(|error| fault(error, |error| unreadable(error, &subject)))?;
        if length == 0 {
            return Ok(());
        }
        piece.truncate(length);
        read.fetch_add(length as u64, Ordering::Relaxed);
        delivery.push(piece)?;
    }
}

/// Writes the write-ahead log and preallocates its full size, as etcd does, so that it cannot run out of space later.
fn write_log(membership: &Membership, member: &Member, mut file: GrowingFile) -> Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    let failed = |error| Error::io("write", "the log of the member", error);
    file.write_all(&first_wal(membership, member, true)).map_err(failed)?;
    let reserved = match fallocate(file.file(), FallocateFlags::empty(), 0, WAL_SIZE) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.file().set_len(WAL_SIZE),
        other => other.map_err(Into::into),
    };
    reserved.map_err(failed)?;
    file.finish().map(drop).map_err(failed)
}

fn write_whole(mut file: GrowingFile, content: &[u8]) -> Result<()> {
    let failed = |error| Error::io("write", "a file of the member", error);
    file.write_all(content).map_err(failed)?;
    file.finish().map(drop).map_err(failed)
}

/// Copies the first member's database, as all members have the same.
fn copy_database(first: &mut File, mut copy: GrowingFile, interrupt: &Interrupt) -> Result<()> {
    let failed = |error| Error::io("copy", "the database", error);
    first.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut buffer = vec![0; READ_SIZE];
    loop {
        interrupt.check()?;
        let length = read_full(first, &mut buffer)?;
        if length == 0 {
            return copy.finish().map(drop).map_err(failed);
        }
        copy.write_all(&buffer[..length]).map_err(failed)?;
    }
}
