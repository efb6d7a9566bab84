//! The directories of a member, published whole or not at all: its data directory, and a separate directory of its
//! write-ahead log where `--wal-dir` names one.
//!
//! etcd looks for `member` in a data directory. The last step gives that directory its name, by one rename; the data
//! directory itself is often a mount point, which cannot be renamed. A separate log needs an earlier rename: a marker beside
//! it tells a later run that its member was never published, and that the log may be removed.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, Stat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::directory::{Directory, is_file_name, is_link, is_same, parent, parent_of};
use super::growing::GrowingFile;
use super::space::free_space_of;
use super::stale::try_lock;
pub use super::tree::Owner;
use super::tree::{Tree, exchange, is_tree_name, move_back, rename_without_replacing};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::store::contract::Published;
use crate::store::shell::shell_word;

/// The entry that etcd looks for in a data directory.
pub const MEMBER: &str = "member";
/// The directory of the log in a `member` directory, unless it is separate.
pub const LOG_DIRECTORY: &str = "wal";
/// The directory of the database and the raft snapshots in a `member` directory.
pub const SNAPSHOT_DIRECTORY: &str = "snap";
/// A directory that every filesystem of the ext family has in its root.
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// The infix between the name of what is moved aside and the time.
pub(super) const ASIDE: &str = ".replaced-";
/// The marker of an unfinished restore in the directory of a log. It has the name of a log's last file, so that every etcd
/// reads it, and begins with [`NO_LOG`], so that no etcd starts there before the restore is complete.
pub(super) const MARKER: &str = "ffffffffffffffff-ffffffffffffffff.wal";
/// A record of etcd's log: its length of four bytes and four of padding, its type, which is a checksum of everything before,
/// and a wrong checksum. etcd refuses to start on it; a record that merely looked torn it would cut off.
const NO_LOG: [u8; 16] = [4, 0, 0, 0, 0, 0, 0, 0x84, 0x08, 4, 0x10, 1, 0, 0, 0, 0];
/// Longer than any path, so a longer file is no marker.
const MARKER_SIZE_MAX: u64 = 64 * 1024;

/// The place for a new member.
#[derive(Clone, Debug)]
pub struct MemberPlace {
    /// `--data-dir` of etcd. It does not exist, or holds no member.
    pub data_dir: PathBuf,
    /// `--wal-dir` of etcd, where the log is separate. It does not exist, or is empty.
    pub wal_dir: Option<PathBuf>,
    /// Moves existing entries aside, under names that end in this time, instead of refusing them.
    pub replace: Option<String>,
    /// The owner of all that is published.
    pub owner: Option<Owner>,
    /// The name of the first file of the log.
    pub log_name: &'static str,
}

impl MemberPlace {
    /// Refuses now what publishing would refuse at the end.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Destination`], [`Kind::Io`].
    pub fn check(&self) -> Result<()> {
        self.find().map(drop)
    }

    /// Free bytes where the database would go; and where the log would go, if that is another filesystem.
    ///
    /// # Errors
    /// The errors of [`Self::check`].
    pub fn free_space(&self) -> Result<(u64, Option<u64>)> {
        let (data, log) = self.find()?;
        let free = |part: &Part| free_space_of(part.base.file(), part.base.path());
        let apart = match &log {
            Some(log) if !data.is_beside(log)? => Some(free(log)?),
            _ => None,
        };
        Ok((free(&data)?, apart))
    }

    /// Begins to write the member.
    ///
    /// # Errors
    /// The errors of [`Self::check`], [`Kind::NoSpace`].
    pub fn begin(self) -> Result<UnpublishedMember> {
        let (data, log) = self.find()?;
        let data = data.begin(self.owner)?;
        let log = log.map(|log| log.begin(self.owner)).transpose()?;
        Ok(UnpublishedMember { place: self, data, log })
    }

    /// Opens the directories. From then on, nothing is looked up by path.
    fn find(&self) -> Result<(Part, Option<Part>)> {
        let Some(wal_dir) = &self.wal_dir else {
            let data = Part::find(&self.data_dir)?;
            self.check_parts(&data, None)?;
            return Ok((data, None));
        };
        if one_in_the_other(&as_written(wal_dir), &as_written(&self.data_dir)) {
            return Err(self.not_apart(wal_dir));
        }
        let (data, log) = (Part::find(&self.data_dir)?, Part::find(wal_dir)?);
        if data.is_within(&log)? || log.is_within_member_of(&data)? {
            return Err(self.not_apart(wal_dir));
        }
        self.check_parts(&data, Some(&log))?;
        Ok((data, Some(log)))
    }

    fn check_parts(&self, data: &Part, log: Option<&Part>) -> Result<()> {
        let published = match data.target {
            Target::Inside => member_of(&data.base)?,
            Target::Beside(_) => false,
        };
        if published && self.replace.is_none() {
            let member = data.base.join(OsStr::new(MEMBER));
            return Err(Error::new(Kind::DestinationExists, format!("{} exists already", member.display()))
                .with_hint(match log {
                    Some(log) if log.has_marker() => format!(
                        "a restore did not come to its end there, and no etcd starts while {} is there: pass --replace, which \
                         moves everything aside and restores again",
                        log.base.join(OsStr::new(MARKER)).display()
                    ),
                    _ => "if its etcd is stopped for good, pass --replace: it is moved aside, never deleted"
                        .to_owned(),
                }));
        }
        if published {
            refuse_running(&data.base)?;
        }
        let log_in_data = |name: &[u8]| {
            let name = OsStr::from_bytes(name);
            log.is_some_and(|log| log.is_entry_of(&data.base, name))
                || self.wal_dir.as_deref().is_some_and(|log| log == self.data_dir.join(name))
        };
        if let Target::Inside = data.target
            && let Some(other) = data.content(|name| name == MEMBER.as_bytes() || log_in_data(name))?
            && self.replace.is_none()
        {
            return Err(not_empty(&data.base, &other, "the data directory"));
        }
        log.map_or(Ok(()), |log| self.check_log(log, published))
    }

    /// The error for a log that would be moved with the member, or a member that would be moved with the log.
    fn not_apart(&self, wal_dir: &Path) -> Error {
        let message = format!(
            "--wal-dir {} and --data-dir {} lie one in the other",
            wal_dir.display(),
            self.data_dir.display()
        );
        Error::new(Kind::Usage, message)
            .with_hint("name another directory, or leave --wal-dir out: then the log is in member/wal")
    }

    fn check_log(&self, log: &Part, published: bool) -> Result<()> {
        let Target::Inside = log.target else { return Ok(()) };
        refuse_running_log(&log.base)?;
        let leftover = !published && self.is_leftover(&log.base)?;
        let of_leftover = |name: &[u8]| [MARKER, self.log_name].map(str::as_bytes).contains(&name);
        // `--replace` moves aside only files of a log here.
        let replaced = |name: &[u8]| self.replace.is_some() && is_of_log(name);
        match log.content(|name| (leftover && of_leftover(name)) || replaced(name))? {
            Some(other) => Err(not_empty(&log.base, &other, "the directory of the log")),
            None => Ok(()),
        }
    }

    /// Whether `log` holds what an earlier run wrote for the same data directory without publishing its member.
    fn is_leftover(&self, log: &Directory) -> Result<bool> {
        let Ok(marker) = log.open_for_reading(OsStr::new(MARKER)) else { return Ok(false) };
        let mut content = Vec::new();
        marker
            .take(MARKER_SIZE_MAX)
            .read_to_end(&mut content)
            .map_err(|error| Error::io("read", log.join(OsStr::new(MARKER)).display(), error))?;
        // An etcd that has run on the log has changed its modification time.
        let written = log.look(OsStr::new(self.log_name)).ok().flatten();
        let expected = written.map(|stat| self.marker(&stat)).transpose()?;
        // A run killed after it placed the marker and before the log left only the marker.
        let alone = expected.is_none() && content.starts_with(&self.marker_start()?);
        Ok(alone || expected == Some(content))
    }

    /// The content of the marker: the data directory, and the inode and modification time of the log, which show that it is
    /// unchanged since.
    fn marker(&self, log: &Stat) -> Result<Vec<u8>> {
        let mut marker = self.marker_start()?;
        marker.extend(format!("{} {}.{:09}\n", log.st_ino, log.st_mtime, log.st_mtime_nsec).into_bytes());
        Ok(marker)
    }

    fn marker_start(&self) -> Result<Vec<u8>> {
        let absolute = std::path::absolute(&self.data_dir)
            .map_err(|error| Error::io("find", self.data_dir.display(), error))?;
        Ok([&NO_LOG[..], absolute.as_os_str().as_bytes(), b"\n"].concat())
    }
}

/// The absolute path, without resolving links.
fn as_written(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn one_in_the_other(log: &Path, data: &Path) -> bool {
    data.starts_with(log) || log.starts_with(data.join(MEMBER))
}

/// `directory` and all directories above it, up to the root.
fn ancestors(directory: &Directory) -> Result<Vec<Stat>> {
    let failed =
        |error: Errno| Error::io("look at the directories above", directory.path().display(), error.into());
    let mut at = directory.itself().map_err(failed)?;
    let mut found: Vec<Stat> = Vec::new();
    loop {
        let stat = rustix::fs::fstat(&at).map_err(failed)?;
        // The parent of the root is the root.
        if found.last().is_some_and(|below| is_same(below, &stat)) {
            return Ok(found);
        }
        found.push(stat);
        at = parent(&at).map_err(failed)?;
    }
}

/// Whether `name` is that of a file of a log, finished or not, or of the marker.
fn is_of_log(name: &[u8]) -> bool {
    name.ends_with(b".wal") || name.ends_with(b".tmp") || name.ends_with(b".wal.broken")
}

/// Whether there is a `member` in `directory`.
fn member_of(directory: &Directory) -> Result<bool> {
    let found = directory.look(OsStr::new(MEMBER));
    let found = found
        .map_err(|error| Error::io("look at", directory.join(OsStr::new(MEMBER)).display(), error.into()))?;
    Ok(found.is_some())
}

/// Refuses to move a member aside while an etcd runs on it, since that etcd would go on serving it. bbolt locks its open
/// database.
fn refuse_running(data_dir: &Directory) -> Result<()> {
    let database: PathBuf = [MEMBER, SNAPSHOT_DIRECTORY, "db"].iter().collect();
    // A directory without a database is no member of etcd's, and no etcd runs on it.
    let Some(database) = data_dir.open_file_below(&database)? else { return Ok(()) };
    if try_lock(&database) == Err(Errno::WOULDBLOCK) {
        return Err(in_use(&data_dir.join(OsStr::new(MEMBER))));
    }
    Ok(())
}

/// Refuses a log that an etcd is writing. etcd locks the files of its log by `fcntl`, not by `flock` as bbolt does.
fn refuse_running_log(log: &Directory) -> Result<()> {
    for name in contents(log)?.iter().filter(|name| is_of_log(name)) {
        let Ok(file) = log.open_existing(OsStr::from_bytes(name)) else { continue };
        let locked = rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
        if matches!(locked, Err(Errno::AGAIN | Errno::ACCESS)) {
            return Err(in_use(log.path()));
        }
    }
    Ok(())
}

fn in_use(path: &Path) -> Error {
    Error::new(Kind::DestinationExists, format!("{} is in use: an etcd runs on it", path.display()))
        .with_hint("stop that etcd for good first, and whatever starts it again")
}

fn not_empty(directory: &Directory, other: &[u8], what: &str) -> Error {
    let path = directory.path().display();
    let other = String::from_utf8_lossy(other);
    Error::new(Kind::DestinationExists, format!("{what} {path} is not empty: there is {other:?} in it"))
        .with_hint(
            "name a new or an empty directory; or pass --replace: it moves aside a member and its log, nothing else",
        )
}

/// One directory to be published.
struct Part {
    /// The directory itself, or the one that will contain it.
    base: Arc<Directory>,
    target: Target,
}

/// How it is published.
#[derive(Clone, Debug)]
enum Target {
    /// It exists: the entries are renamed into it.
    Inside,
    /// It is renamed to this name in `base`.
    Beside(OsString),
}

impl Part {
    fn find(path: &Path) -> Result<Self> {
        let missing = match Directory::open_if_there(path)? {
            Some(base) => return Ok(Self { base: Arc::new(base), target: Target::Inside }),
            None => path.file_name(),
        };
        let Some(name) = missing else {
            return Err(Error::new(Kind::Destination, format!("{} names no directory", path.display())));
        };
        let base = Directory::open(parent_of(path))?;
        let there = base.look(name);
        let there = there.map_err(|error| Error::io("look at", path.display(), error.into()))?;
        if there.is_some_and(|stat| is_link(&stat)) {
            let message = format!("{} is a link that leads to no directory", path.display());
            return Err(Error::new(Kind::Destination, message).with_hint(
                "is what it leads to mounted? else remove the link, or name the directory itself",
            ));
        }
        Ok(Self { base: Arc::new(base), target: Target::Beside(name.to_owned()) })
    }

    /// Whether `other` is, or will be, this directory or one above it.
    fn is_within(&self, other: &Self) -> Result<bool> {
        match (&self.target, &other.target) {
            (Target::Beside(name), Target::Beside(other_name)) if name == other_name => {
                self.base.is(&other.base)
            }
            (_, Target::Beside(_)) => Ok(false),
            (_, Target::Inside) => is_among(&other.base, &ancestors(&self.base)?),
        }
    }

    /// Whether both are, or will be, on the same filesystem.
    fn is_beside(&self, other: &Self) -> Result<bool> {
        let device = |directory: &Directory| {
            let stat = rustix::fs::fstat(directory.file());
            stat.map(|stat| stat.st_dev)
                .map_err(|error| Error::io("look at", directory.path().display(), error.into()))
        };
        Ok(device(&self.base)? == device(&other.base)?)
    }

    /// Whether this directory is, or will be, in the `member` of `data`.
    fn is_within_member_of(&self, data: &Self) -> Result<bool> {
        let Target::Inside = data.target else { return Ok(false) };
        if let Target::Beside(name) = &self.target
            && name == MEMBER
            && self.base.is(&data.base)?
        {
            return Ok(true);
        }
        let member = data.base.look(OsStr::new(MEMBER)).ok().flatten();
        let Some(member) = member else { return Ok(false) };
        Ok(ancestors(&self.base)?.iter().any(|above| is_same(above, &member)))
    }

    /// Whether it holds the marker of an unfinished restore.
    fn has_marker(&self) -> bool {
        matches!(self.target, Target::Inside)
            && self.base.look(OsStr::new(MARKER)).is_ok_and(|found| found.is_some())
    }

    /// Whether it is the entry `name` of `directory`.
    fn is_entry_of(&self, directory: &Directory, name: &OsStr) -> bool {
        matches!(self.target, Target::Inside) && directory.names(name, self.base.file()) == Ok(true)
    }

    /// The first of its entries that belongs neither to this program, nor to the filesystem, and is not `expected`.
    fn content(&self, expected: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
        Ok(contents(&self.base)?.into_iter().find(|name| !expected(name)))
    }

    fn begin(self, owner: Option<Owner>) -> Result<Unfinished> {
        let tree = Tree::create(&self.base, owner)?;
        Ok(Unfinished { tree, target: self.target, published: Vec::new() })
    }
}

fn is_among(directory: &Directory, others: &[Stat]) -> Result<bool> {
    let stat = rustix::fs::fstat(directory.file());
    let stat = stat.map_err(|error| Error::io("look at", directory.path().display(), error.into()))?;
    Ok(others.iter().any(|other| is_same(other, &stat)))
}

/// Its entries that belong neither to this program nor to the filesystem.
fn contents(directory: &Directory) -> Result<Vec<Vec<u8>>> {
    let mut names = names_in(directory)?;
    names.retain(|name| !is_tree_name(name) && !is_aside(name) && name != LOST_AND_FOUND);
    Ok(names)
}

fn names_in(directory: &Directory) -> Result<Vec<Vec<u8>>> {
    let failed = |error: Errno| Error::io("read the directory", directory.path().display(), error.into());
    let mut names = Vec::new();
    for name in directory.names_in_it().map_err(failed)? {
        let name = name.map_err(failed)?;
        if is_file_name(OsStr::from_bytes(&name)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether `name` is that of something moved aside.
fn is_aside(name: &[u8]) -> bool {
    name.windows(ASIDE.len()).any(|window| window == ASIDE.as_bytes())
}

/// One directory being made.
#[derive(Debug)]
struct Unfinished {
    tree: Tree,
    target: Target,
    /// The names that were published, and the files that have them, to be taken back if a later step fails.
    published: Vec<(OsString, Option<Stat>)>,
}

impl Unfinished {
    /// Gives all its entries their names.
    fn publish(&mut self, entries: &[&str]) -> Result<()> {
        match &self.target {
            Target::Beside(name) => {
                self.tree.publish(name)?;
                self.published.push((name.clone(), None));
            }
            Target::Inside => {
                for entry in entries.iter().map(OsStr::new) {
                    let published = self.tree.publish_entry(entry, self.tree.base())?;
                    self.published.push((entry.to_owned(), Some(published)));
                }
            }
        }
        Ok(())
    }

    /// The same directory as a [`Part`], to check again what is there now.
    fn part(&self) -> Part {
        Part { base: Arc::clone(self.tree.base()), target: self.target.clone() }
    }

    fn seal(&self) -> Result<()> {
        self.tree.seal(matches!(self.target, Target::Beside(_)))
    }

    /// Takes back what was published; false where that fails.
    fn take_back(&mut self) -> bool {
        let base = Arc::clone(self.tree.base());
        let taken =
            std::mem::take(&mut self.published).iter().rev().try_for_each(|(name, entry)| match entry {
                None => self.tree.unpublish(name),
                Some(entry) => self.tree.take_back(name, &base, name, entry),
            });
        if let Err(error) = &taken {
            tracing::warn!(path = %self.tree.path().display(), %error, "cannot take back what was published");
        }
        taken.is_ok()
    }

    fn path(&self) -> PathBuf {
        match &self.target {
            Target::Inside => self.tree.base().path().to_owned(),
            Target::Beside(name) => self.tree.base().join(name),
        }
    }
}

/// A member being written; removed on drop unless published.
#[derive(Debug)]
pub struct UnpublishedMember {
    place: MemberPlace,
    data: Unfinished,
    log: Option<Unfinished>,
}

impl UnpublishedMember {
    /// Creates a file in the directory of snapshots.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create_snapshot(&self, name: &str) -> Result<GrowingFile> {
        let path: PathBuf = [MEMBER, SNAPSHOT_DIRECTORY, name].iter().collect();
        self.data.tree.create_file(&path).map(GrowingFile::new)
    }

    /// Creates a file in the directory of the log.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create_log(&self, name: &str) -> Result<GrowingFile> {
        let inside: PathBuf = [MEMBER, LOG_DIRECTORY, name].iter().collect();
        let apart = self.log.as_ref().map(|log| log.tree.create_file(Path::new(name)));
        apart.unwrap_or_else(|| self.data.tree.create_file(&inside)).map(GrowingFile::new)
    }

    /// Free bytes where the database goes; and where the log goes, if that is another filesystem.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn free_space(&self) -> Result<(u64, Option<u64>)> {
        let free = self.data.tree.free_space()?;
        match &self.log {
            Some(log) if !log.tree.is_beside(&self.data.tree) => Ok((free, Some(log.tree.free_space()?))),
            _ => Ok((free, None)),
        }
    }

    /// Publishes the member. The order is:
    ///
    /// 1. fsync everything, from the files to the directories, and give it to its owner;
    /// 2. [`Interrupt::begin_commit`]: an interrupt before this point leaves everything unchanged;
    /// 3. give `member` its name, in exchange for an old one that is to be replaced: this is the commit;
    /// 4. fsync the directory.
    ///
    /// No single rename can publish a member and a separate log, and etcd would start on one without the other, even if only
    /// to make a new cluster. So for a separate log, before step 3:
    ///
    /// 1. put the marker where the log goes, which keeps every etcd from starting there; it replaces the marker of an
    ///    earlier run in one step, so that there is always one;
    /// 2. move the files of an old log aside, and give the new log its name.
    ///
    /// The marker is removed once the member is durable.
    ///
    /// A failure before the commit is undone. A process killed before it leaves the old member under one name or the other,
    /// and a later run removes the rest; one killed between the two renames of an exchange leaves the new member beside the
    /// old one, under the name for what is moved aside. A failure after the commit is no error but a
    /// [shortfall](Published::shortfall).
    ///
    /// # Errors
    /// With nothing left behind: [`Kind::DestinationExists`], [`Kind::Interrupted`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn publish(mut self, interrupt: &Interrupt) -> Result<Published> {
        let log = self.log.as_ref().map(Unfinished::part);
        self.place.check_parts(&self.data.part(), log.as_ref())?;
        if let Some(log) = &self.log {
            self.write_marker(log)?;
            log.seal()?;
        }
        self.data.seal()?;
        for part in std::iter::once(&self.data).chain(&self.log) {
            part.tree.check_in_place()?;
        }
        interrupt.begin_commit()?;
        let mut aside = Aside::default();
        let committed = self.commit(&mut aside);
        if let Err(error) = committed {
            let log_is_back = self.log.as_mut().is_none_or(Unfinished::take_back);
            aside.take_back(&mut self.data.tree, self.log.as_mut().map(|log| &mut log.tree), log_is_back);
            return Err(error);
        }
        aside.tell();
        let path = self.data.path().join(MEMBER);
        let shortfall = self.finish().err().map(|error| {
            Error::new(Kind::PartlyPublished, format!("{} is complete, but {error}", path.display()))
                .with_hint("the member itself is complete; check the disk before relying on it")
        });
        Ok(Published { path, shortfall })
    }

    fn commit(&mut self, aside: &mut Aside) -> Result<()> {
        let base = Arc::clone(self.data.tree.base());
        let member = OsStr::new(MEMBER);
        let replaced = match (self.place.replace.clone(), &self.data.target) {
            (Some(time), Target::Inside) if member_of(&base)? => Some(time),
            _ => None,
        };
        if let Some(log) = &mut self.log {
            publish_log(&self.place, log, aside)?;
            log.tree.base().check_in_place()?;
        }
        base.check_in_place()?;
        if let Some(time) = &replaced {
            if aside.exchange(&mut self.data.tree, &base, member, time)? {
                return Ok(());
            }
            aside.rename(&base, member, time)?;
        }
        self.data.publish(&[MEMBER])
    }

    /// The steps after the commit.
    fn finish(&mut self) -> Result<()> {
        // The log needs its marker until the member is durable.
        self.data.tree.base().sync()?;
        let Some(log) = &self.log else { return Ok(()) };
        let path = log.path();
        match &log.target {
            Target::Inside => remove_marker(log.tree.base()),
            Target::Beside(_) => log.tree.directory_at(path).and_then(|directory| remove_marker(&directory)),
        }
    }

    fn write_marker(&self, log: &Unfinished) -> Result<()> {
        let stat = log.tree.look(OsStr::new(self.place.log_name))?;
        let mut file = log.tree.create_file(Path::new(MARKER))?;
        let written = file.write_all(&self.place.marker(&stat)?);
        written.map_err(|error| Error::io("write", log.tree.path().join(MARKER).display(), error))
    }
}

fn remove_marker(directory: &Directory) -> Result<()> {
    let marker = OsStr::new(MARKER);
    directory
        .remove(marker)
        .map_err(|error| Error::io("remove", directory.join(marker).display(), error.into()))?;
    directory.sync()
}

/// Gives the log its name, and moves aside what it replaces.
fn publish_log(place: &MemberPlace, log: &mut Unfinished, aside: &mut Aside) -> Result<()> {
    let Target::Inside = log.target else {
        log.publish(&[])?;
        return log.tree.base().sync();
    };
    let base = Arc::clone(log.tree.base());
    let leftover = place.is_leftover(&base)?;
    let of_leftover = |name: &[u8]| leftover && [place.log_name, MARKER].map(str::as_bytes).contains(&name);
    let mut old = match &place.replace {
        Some(time) => OldLog::collect(&base, of_leftover, time, aside)?,
        None => None,
    };
    let earlier = marker_in(&base)?.filter(|_| leftover || old.is_some());
    if let Some(earlier) = &earlier {
        aside.mark_in_place_of(earlier, &mut log.tree)?;
    } else {
        // A file that only has the name of a marker is moved aside.
        if let Some(old) = &mut old {
            old.shift(|name| name == MARKER.as_bytes(), aside)?;
        }
        aside.mark(&log.tree)?;
    }
    base.sync()?;
    if leftover {
        remove_leftover(&base, place.log_name)?;
    }
    if let Some(old) = &mut old {
        old.shift(|name| name != MARKER.as_bytes(), aside)?;
        if earlier.is_some() {
            old.shift_marker(&log.tree, aside)?;
        }
        old.give_to_owner_of_log();
        old.collected.sync()?;
    }
    log.publish(&[place.log_name])?;
    base.sync()
}

/// The marker of a restore in `directory`, of this run or another. A file that only has the name of a marker is none.
fn marker_in(directory: &Directory) -> Result<Option<Stat>> {
    let Ok(file) = directory.open_for_reading(OsStr::new(MARKER)) else { return Ok(None) };
    let failed = |error| Error::io("read", directory.join(OsStr::new(MARKER)).display(), error);
    let mut beginning = Vec::new();
    (&file).take(NO_LOG.len() as u64).read_to_end(&mut beginning).map_err(failed)?;
    let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    Ok((beginning == NO_LOG).then_some(stat))
}

/// The files of an old log, which are moved aside into a directory of their own.
struct OldLog {
    base: Arc<Directory>,
    names: Vec<Vec<u8>>,
    collected: Arc<Directory>,
}

impl OldLog {
    /// Makes that directory; `None` where there is no log, except a leftover.
    fn collect(
        base: &Arc<Directory>,
        of_leftover: impl Fn(&[u8]) -> bool,
        time: &str,
        aside: &mut Aside,
    ) -> Result<Option<Self>> {
        let mut names = contents(base)?;
        names.retain(|name| is_of_log(name) && !of_leftover(name));
        if names.is_empty() {
            return Ok(None);
        }
        let name = free_name(base, OsStr::new(LOG_DIRECTORY), time)?;
        base.create_directory(&name).map_err(|error| base.creation_failed(error))?;
        aside.made = Some((Arc::clone(base), name.clone()));
        let path = base.join(&name);
        let collected = base.open_created(&name);
        let collected = collected.map_err(|error| error.into_error("open", &path, &path))?;
        let collected = Arc::new(Directory::of(path, collected));
        Ok(Some(Self { base: Arc::clone(base), names, collected }))
    }

    /// Moves aside the files that are `wanted`.
    fn shift(&mut self, wanted: impl Fn(&[u8]) -> bool, aside: &mut Aside) -> Result<()> {
        for name in self.names.extract_if(.., |name| wanted(name)) {
            let name = OsStr::from_bytes(&name);
            aside.shift(&self.base, name, &self.collected, name)?;
        }
        Ok(())
    }

    /// Gives its directory the owner and the permissions of the directory of the old log, so that the same users can read
    /// it. A user other than root may lack the right to do so, and stays the owner.
    fn give_to_owner_of_log(&self) {
        let given = rustix::fs::fstat(self.base.file()).and_then(|from| {
            let collected = self.collected.file();
            let own = rustix::fs::fstat(collected)?;
            if (own.st_uid, own.st_gid) != (from.st_uid, from.st_gid) {
                let (user, group) = (Uid::from_raw(from.st_uid), Gid::from_raw(from.st_gid));
                rustix::fs::fchown(collected, Some(user), Some(group))?;
            }
            rustix::fs::fchmod(collected, Mode::from_raw_mode(from.st_mode & 0o1777))
        });
        if let Err(error) = given {
            tracing::debug!(path = %self.collected.path().display(), %error, "cannot give it to the owner of the log");
        }
    }

    /// Moves the marker of an earlier run aside, if `tree` has received it in exchange for its own.
    fn shift_marker(&self, tree: &Tree, aside: &mut Aside) -> Result<()> {
        let name = OsStr::new(MARKER);
        let itself = tree.itself().map_err(|error| Error::io("open", tree.path().display(), error.into()))?;
        match itself.look(name) {
            Ok(None) => Ok(()),
            _ => aside.shift(&Arc::new(itself), name, &self.collected, name),
        }
    }
}

/// Removes the log that an unfinished run has left. Its marker is already replaced by that of this run.
fn remove_leftover(directory: &Directory, log_name: &str) -> Result<()> {
    let name = OsStr::new(log_name);
    directory.remove(name).map_err(|error| {
        Error::io("remove what an earlier run left,", directory.join(name).display(), error.into())
    })
}

/// The moves aside so far, to be undone if a later step fails.
#[derive(Default)]
struct Aside {
    steps: Vec<Step>,
    /// The directory made for the moved files: its parent and its name.
    made: Option<(Arc<Directory>, OsString)>,
}

/// One rename, by the names before and after it.
struct Step {
    from: Arc<Directory>,
    name: OsString,
    to: Arc<Directory>,
    new_name: OsString,
    /// The file that was moved.
    moved: Stat,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// The second name was free.
    Renamed,
    /// The two entries exchanged their names.
    Exchanged,
    /// The new entry got the second name, from which it is exchanged.
    Staged,
    /// The marker of this run got its name, which was free.
    Marked,
    /// The marker of this run got the name of an earlier one, which is now in the tree of the log.
    MarkedInExchange,
    /// The same where names cannot be exchanged: the earlier marker is gone.
    MarkedInPlace,
}

impl How {
    fn is_marking(self) -> bool {
        matches!(self, Self::Marked | Self::MarkedInExchange | Self::MarkedInPlace)
    }
}

impl Aside {
    /// Moves one entry aside, to a name made of its own and `time`.
    fn rename(&mut self, directory: &Arc<Directory>, name: &OsStr, time: &str) -> Result<()> {
        let new_name = free_name(directory, name, time)?;
        self.shift(directory, name, directory, &new_name)
    }

    /// Gives the entry `name` of `tree` the same name in `to`, and the entry that had it a name with `time`, so that one of
    /// the two has it at every moment. Returns false, with nothing changed, where the filesystem cannot do that.
    fn exchange(&mut self, tree: &mut Tree, to: &Arc<Directory>, name: &OsStr, time: &str) -> Result<bool> {
        let new_name = &*free_name(to, name, time)?;
        let itself = tree.itself().map_err(|error| Error::io("open", tree.path().display(), error.into()))?;
        let old = to.look(name).and_then(|old| old.ok_or(Errno::NOENT));
        let old = old.map_err(|error| Error::io("look at", to.join(name).display(), error.into()))?;
        // The new entry takes the aside name first, so that the old one is never in a tree, which a later run removes.
        self.step(&Arc::new(itself), name, to, new_name, How::Staged)?;
        match exchange(to, name, to, new_name) {
            Ok(()) => {
                self.remember(to, name, to, new_name, old, How::Exchanged);
                Ok(true)
            }
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                self.steps
                    .pop()
                    .map_or(Ok(()), |step| step.undo(tree, None))
                    .map_err(|error| Error::io("take back", to.join(new_name).display(), error.into()))?;
                tracing::warn!(
                    "the filesystem of {} cannot exchange two names: for a moment nothing has that name, so let no etcd start \
                     there",
                    to.join(name).display()
                );
                Ok(false)
            }
            Err(error) => Err(cannot_move(&to.join(name), error)),
        }
    }

    /// Gives the marker in `tree` its name, which must be free.
    fn mark(&mut self, tree: &Tree) -> Result<()> {
        let (base, marker) = (tree.base(), OsStr::new(MARKER));
        let published = tree.publish_entry(marker, base)?;
        self.remember(base, marker, base, marker, published, How::Marked);
        Ok(())
    }

    /// Gives the marker in `tree` its name in place of the `earlier` one by one rename, so that there is always one of the
    /// two.
    fn mark_in_place_of(&mut self, earlier: &Stat, tree: &mut Tree) -> Result<()> {
        let (base, marker) = (&Arc::clone(tree.base()), OsStr::new(MARKER));
        let own = tree.look(marker)?;
        let (replaced, how) = match tree.exchange_entry(marker, base, earlier) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                let renamed = rustix::fs::renameat(tree.file(), marker, base.file(), marker);
                (renamed, How::MarkedInPlace)
            }
            exchanged => (exchanged, How::MarkedInExchange),
        };
        replaced.map_err(|error| Error::io("replace", base.join(marker).display(), error.into()))?;
        self.remember(base, marker, base, marker, own, how);
        Ok(())
    }

    fn shift(
        &mut self,
        from: &Arc<Directory>,
        name: &OsStr,
        to: &Arc<Directory>,
        new_name: &OsStr,
    ) -> Result<()> {
        self.step(from, name, to, new_name, How::Renamed)
    }

    fn step(
        &mut self,
        from: &Arc<Directory>,
        name: &OsStr,
        to: &Arc<Directory>,
        new_name: &OsStr,
        how: How,
    ) -> Result<()> {
        let moved = from.look(name).and_then(|found| found.ok_or(Errno::NOENT));
        let moved = moved.and_then(|moved| {
            rename_without_replacing(from.file(), name, to, new_name)?;
            Ok(moved)
        });
        let moved = moved.map_err(|error| cannot_move(&from.join(name), error))?;
        self.remember(from, name, to, new_name, moved, how);
        Ok(())
    }

    fn remember(
        &mut self,
        from: &Arc<Directory>,
        name: &OsStr,
        to: &Arc<Directory>,
        new_name: &OsStr,
        moved: Stat,
        how: How,
    ) {
        self.steps.push(Step {
            from: Arc::clone(from),
            name: name.to_owned(),
            to: Arc::clone(to),
            new_name: new_name.to_owned(),
            moved,
            how,
        });
    }

    /// Undoes the steps; entries from the tree of the data or of the log go back there. The marker goes last, and only if
    /// the old log is whole again; `log_is_back` says that the new log is out of its way.
    fn take_back(self, data: &mut Tree, mut log: Option<&mut Tree>, log_is_back: bool) {
        let mut is_whole = log_is_back;
        for step in self.steps.into_iter().rev() {
            if step.how.is_marking() && !is_whole {
                tracing::warn!(
                    "{} stays, so that no etcd starts there",
                    step.to.join(&step.new_name).display()
                );
                continue;
            }
            if let Err(error) = step.undo(data, log.as_deref_mut()) {
                let path = step.to.join(&step.new_name);
                tracing::warn!("{} could not get its name back: {error}", path.display());
                is_whole = false;
            }
        }
        if let Some((directory, name)) = self.made {
            // A directory that is not empty stays.
            let _ = directory.remove_directory(&name);
        }
    }

    /// Logs where everything is now.
    fn tell(&self) {
        let in_directory = |directory: &Arc<Directory>| {
            self.made.as_ref().is_some_and(|(base, name)| directory.path() == base.join(name))
        };
        let moved =
            |step: &&Step| matches!(step.how, How::Renamed | How::Exchanged) && !in_directory(&step.to);
        for step in self.steps.iter().filter(moved) {
            let (old, new) = (step.from.join(&step.name), step.to.join(&step.new_name));
            tracing::warn!("{} is now {}", old.display(), new.display());
        }
        if let Some((directory, name)) = &self.made {
            tracing::warn!("the old log is now in {}", directory.join(name).display());
        }
    }
}

impl Step {
    fn undo(&self, data: &mut Tree, log: Option<&mut Tree>) -> rustix::io::Result<()> {
        match (self.how, log) {
            (How::Exchanged, _) => exchange(&self.from, &self.name, &self.to, &self.new_name),
            (How::Renamed, _) => move_back(&self.to, &self.new_name, &self.from, &self.name, &self.moved),
            (How::Staged, _) => data.take_back(&self.name, &self.to, &self.new_name, &self.moved),
            (How::Marked, Some(log)) => log.take_back(&self.name, &self.to, &self.new_name, &self.moved),
            (How::MarkedInExchange, Some(log)) => log.exchange_entry(&self.name, &self.to, &self.moved),
            // A later run finds a marker without a log, and replaces it.
            (How::Marked | How::MarkedInExchange | How::MarkedInPlace, _) => Ok(()),
        }
    }
}

/// The error of a move aside. A mount point cannot be renamed. In an overlay, a directory that came with the image can be
/// changed, but neither renamed nor exchanged.
fn cannot_move(path: &Path, error: Errno) -> Error {
    let failure = Error::io("move aside", path.display(), error.into());
    if error == Errno::BUSY {
        return failure.with_hint(format!(
            "{} is a mount point, which cannot be renamed: restore into a new --data-dir; or unmount it (umount {}) and run \
             this again",
            path.display(),
            shell_word(path)
        ));
    }
    if error != Errno::XDEV {
        return failure;
    }
    failure.with_hint(format!(
        "it lies in the lower layer of an overlay filesystem, or is a mount point, and cannot be renamed: restore into a \
         volume or a new --data-dir; or copy it to a directory that only root can write (cp -a {}), remove it, and run \
         this again",
        shell_word(path)
    ))
}

/// `NAME.replaced-TIME`, with a number appended where another run of the same second has taken the name.
fn free_name(directory: &Directory, name: &OsStr, time: &str) -> Result<OsString> {
    let mut free = name.to_owned();
    free.push(ASIDE);
    free.push(time);
    let first = free.clone();
    for number in 2.. {
        let found = directory.look(&free);
        if found
            .map_err(|error| Error::io("look at", directory.join(&free).display(), error.into()))?
            .is_none()
        {
            break;
        }
        free.clone_from(&first);
        free.push(format!("-{number}"));
    }
    Ok(free)
}

/// Several members in one directory, which is published whole; it did not exist before, or was empty.
#[derive(Debug)]
pub struct UnpublishedMembers {
    tree: Tree,
    name: OsString,
}

impl UnpublishedMembers {
    /// Refuses what [`Self::begin`] would refuse.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Destination`], [`Kind::Io`].
    pub fn check(directory: &Path) -> Result<()> {
        Self::base(directory).map(drop)
    }

    fn base(directory: &Path) -> Result<(Arc<Directory>, OsString)> {
        let refused = |message: String| {
            Err(Error::new(Kind::Destination, message).with_hint("name a new directory in an existing one"))
        };
        let Some(name) = directory.file_name() else {
            return refused(format!("{} names no new directory", directory.display()));
        };
        let part = Part::find(directory)?;
        if let Target::Beside(_) = part.target {
            return Ok((part.base, name.to_owned()));
        }
        if let Some(other) = part.content(|_| false)? {
            return Err(
                not_empty(&part.base, &other, "the directory").with_hint("name a new or an empty directory")
            );
        }
        let base = Directory::open(parent_of(directory))?;
        let device = |directory: &Directory| rustix::fs::fstat(directory.file()).map(|stat| stat.st_dev);
        if base.names(name, part.base.file()) != Ok(true) || device(&base) != device(&part.base) {
            return refused(format!(
                "{} is a mount point or a link, which no directory can replace",
                directory.display()
            ));
        }
        Ok((Arc::new(base), name.to_owned()))
    }

    /// Begins to write the members.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Destination`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn begin(directory: &Path, owner: Option<Owner>) -> Result<Self> {
        let (base, name) = Self::base(directory)?;
        Ok(Self { tree: Tree::create(&base, owner)?, name })
    }

    /// Free bytes where the directory goes.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn free_space(&self) -> Result<u64> {
        self.tree.free_space()
    }

    /// Creates a file at `path` in it, with its parent directories.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`].
    pub fn create(&self, path: &Path) -> Result<GrowingFile> {
        self.tree.create_file(path).map(GrowingFile::new)
    }

    /// Publishes all of it by one rename.
    ///
    /// # Errors
    /// With nothing left behind: [`Kind::DestinationExists`], [`Kind::Interrupted`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn publish(mut self, interrupt: &Interrupt) -> Result<Published> {
        self.tree.seal(true)?;
        self.tree.check_in_place()?;
        interrupt.begin_commit()?;
        self.tree.publish(&self.name)?;
        let path = self.tree.base().join(&self.name);
        let shortfall = self.tree.base().sync().err().map(|error| {
            Error::new(Kind::PartlyPublished, format!("{} is complete, but {error}", path.display()))
        });
        Ok(Published { path, shortfall })
    }
}
