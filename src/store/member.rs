//! The directories of a member, published whole or not at all: its data directory, and that of its log where the two are
//! apart.
//!
//! What etcd looks for in a data directory is `member`, so that is what gets its name by one rename, as the last step. The
//! directory around it is often a mount point, which cannot be renamed. A log apart needs a rename of its own before: a
//! marker beside it tells a later run that the member it belongs to was never published, and that it may be removed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Stat};

use super::directory::{Directory, is_directory, is_file_name, parent_of};
use super::growing::GrowingFile;
use super::local::Published;
use super::stale::try_lock;
pub use super::tree::Owner;
use super::tree::{Tree, is_tree_name, rename_without_replacing};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

/// What etcd looks for in a data directory.
pub const MEMBER: &str = "member";
/// Where the log is in a `member` directory, unless it is apart.
pub const LOG_DIRECTORY: &str = "wal";
/// Where the database and the raft snapshots are in a `member` directory.
pub const SNAPSHOT_DIRECTORY: &str = "snap";
/// What every filesystem of the ext family has in its root.
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// Between the name of what is moved aside and the time.
pub(super) const ASIDE: &str = ".replaced-";
/// The marker of an unfinished restore in the directory of a log. etcd passes over files with this ending there.
const MARKER: &str = "etcd-seal-restore.tmp";
/// Longer than any path: what is longer is no marker.
const MARKER_SIZE_MAX: u64 = 64 * 1024;

/// Where a member goes.
#[derive(Clone, Debug)]
pub struct MemberPlace {
    /// `--data-dir` of etcd. Absent, or without a member.
    pub data_dir: PathBuf,
    /// `--wal-dir` of etcd, where the log is apart. Absent, or empty.
    pub wal_dir: Option<PathBuf>,
    /// Moves what is there aside, under names that end in this time, instead of refusing it.
    pub replace: Option<String>,
    /// Who is to own it all.
    pub owner: Option<Owner>,
    /// What the first file of the log is called.
    pub log_name: &'static str,
}

impl MemberPlace {
    /// Refuses what publishing would refuse at the end, as things stand.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Destination`], [`Kind::Io`].
    pub fn check(&self) -> Result<()> {
        self.parts().map(drop)
    }

    /// Begins to write.
    ///
    /// # Errors
    /// Those of [`Self::check`], [`Kind::NoSpace`].
    pub fn begin(self) -> Result<UnpublishedMember> {
        let (data, log) = self.parts()?;
        let data = data.begin()?;
        let log = log.map(Part::begin).transpose()?;
        Ok(UnpublishedMember { place: self, data, log })
    }

    fn parts(&self) -> Result<(Part, Option<Part>)> {
        self.check_apart()?;
        let data = Part::find(&self.data_dir)?;
        let apart = self.wal_dir.as_deref().map(Part::find).transpose()?;
        let published = match data.target {
            Target::Inside => member_of(&data.base)?,
            Target::Beside(_) => false,
        };
        if published && self.replace.is_none() {
            let member = data.base.join(OsStr::new(MEMBER));
            return Err(Error::new(Kind::DestinationExists, format!("{} exists already", member.display()))
                .with_hint(
                    "if its etcd is stopped for good, pass --replace: it is moved aside, never deleted",
                ));
        }
        if published {
            refuse_running(&data.base)?;
        }
        let log_in_data = |name: &[u8]| {
            self.wal_dir.as_deref().is_some_and(|log| log == self.data_dir.join(OsStr::from_bytes(name)))
        };
        if let Target::Inside = data.target
            && let Some(other) = data.content(|name| name == MEMBER.as_bytes() || log_in_data(name))?
            && self.replace.is_none()
        {
            return Err(not_empty(&data.base, &other, "the data directory"));
        }
        if let Some(log) = &apart {
            self.check_log(log, published)?;
        }
        Ok((data, apart))
    }

    /// Refuses a log that would be moved with the member, or the member with the log.
    fn check_apart(&self) -> Result<()> {
        let Some(wal_dir) = &self.wal_dir else { return Ok(()) };
        let (log, data) = (resolved(wal_dir), resolved(&self.data_dir));
        if !data.starts_with(&log) && !log.starts_with(data.join(MEMBER)) {
            return Ok(());
        }
        let message = format!(
            "--wal-dir {} and --data-dir {} lie one in the other",
            wal_dir.display(),
            self.data_dir.display()
        );
        Err(Error::new(Kind::Usage, message)
            .with_hint("name another directory, or leave --wal-dir out: then the log is in member/wal"))
    }

    fn check_log(&self, log: &Part, published: bool) -> Result<()> {
        let Target::Inside = log.target else { return Ok(()) };
        refuse_running_log(&log.base)?;
        let leftover = !published && self.is_leftover(&log.base)?;
        let of_leftover = |name: &[u8]| [MARKER, self.log_name].map(str::as_bytes).contains(&name);
        // Only what is a log is ever moved aside as one.
        let replaced = |name: &[u8]| self.replace.is_some() && is_of_log(name);
        match log.content(|name| (leftover && of_leftover(name)) || replaced(name))? {
            Some(other) => Err(not_empty(&log.base, &other, "the directory of the log")),
            None => Ok(()),
        }
    }

    /// Whether what lies in `log` was put there by a run that never came to publish its member in the same data directory.
    fn is_leftover(&self, log: &Directory) -> Result<bool> {
        let Ok(marker) = log.open_for_reading(OsStr::new(MARKER)) else { return Ok(false) };
        let mut content = Vec::new();
        marker
            .take(MARKER_SIZE_MAX)
            .read_to_end(&mut content)
            .map_err(|error| Error::io("read", log.join(OsStr::new(MARKER)).display(), error))?;
        // An etcd that has run on it has written into it.
        let written = log.look(OsStr::new(self.log_name)).ok().flatten();
        let expected = written.map(|stat| self.marker(&stat)).transpose()?;
        // Killed between the two, it left the marker alone.
        let alone = expected.is_none() && content.starts_with(&self.data_dir_line()?);
        Ok(alone || expected == Some(content))
    }

    /// What the marker says: the data directory, and which file the log is, as nobody has written it since.
    fn marker(&self, log: &Stat) -> Result<Vec<u8>> {
        let mut marker = self.data_dir_line()?;
        marker.extend(format!("{} {}.{:09}\n", log.st_ino, log.st_mtime, log.st_mtime_nsec).into_bytes());
        Ok(marker)
    }

    fn data_dir_line(&self) -> Result<Vec<u8>> {
        let absolute = std::path::absolute(&self.data_dir)
            .map_err(|error| Error::io("find", self.data_dir.display(), error))?;
        let mut line = absolute.into_os_string().into_vec();
        line.push(b'\n');
        Ok(line)
    }
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let whole = path.canonicalize().ok();
    let beside = || Some(parent_of(path).canonicalize().ok()?.join(path.file_name()?));
    whole.or_else(beside).or_else(|| std::path::absolute(path).ok()).unwrap_or_else(|| path.to_owned())
}

/// Whether it is the name of a file of a log, finished or not, or of the marker.
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

/// Refuses a member that an etcd runs on: moved aside under it, it would go on being served. bbolt locks the database it has open.
fn refuse_running(data_dir: &Directory) -> Result<()> {
    let member = data_dir.join(OsStr::new(MEMBER));
    // It may be a link to another disk: whoever runs on that runs on it.
    let database = data_dir.path().join(MEMBER).join(SNAPSHOT_DIRECTORY).join("db");
    let database = match File::open(&database) {
        Ok(database) => database,
        // What is no member of etcd's is nobody's to lock.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(Error::io("look whether an etcd runs on", database.display(), error)),
    };
    if try_lock(&database) == Err(rustix::io::Errno::WOULDBLOCK) { Err(in_use(&member)) } else { Ok(()) }
}

/// Refuses a log that an etcd writes. etcd locks the files of its log by `fcntl`, not by `flock` as bbolt does.
fn refuse_running_log(log: &Directory) -> Result<()> {
    for name in contents(log)?.iter().filter(|name| is_of_log(name)) {
        let Ok(file) = log.open_existing(OsStr::from_bytes(name)) else { continue };
        let locked = rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
        if matches!(locked, Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS)) {
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

/// One directory to be.
struct Part {
    /// The directory itself, or where it will be.
    base: Arc<Directory>,
    target: Target,
}

/// How it comes to be.
#[derive(Clone, Debug)]
enum Target {
    /// It exists: its entries are renamed into it.
    Inside,
    /// It is renamed to this, beside it.
    Beside(OsString),
}

impl Part {
    fn find(path: &Path) -> Result<Self> {
        let found = path.metadata();
        if found.is_ok() {
            return Ok(Self { base: Arc::new(Directory::open(path)?), target: Target::Inside });
        }
        let (Some(name), Err(error)) = (path.file_name(), found) else {
            return Err(Error::new(Kind::Destination, format!("{} names no directory", path.display())));
        };
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            let message = format!("{} is a link that leads to no directory", path.display());
            return Err(Error::new(Kind::Destination, message).with_hint(
                "is what it leads to mounted? else remove the link, or name the directory itself",
            ));
        }
        if error.kind() != ErrorKind::NotFound {
            return Err(Error::io("look at", path.display(), error));
        }
        Ok(Self {
            base: Arc::new(Directory::open(parent_of(path))?),
            target: Target::Beside(name.to_owned()),
        })
    }

    /// The first of its entries that is neither ours, nor the filesystem's, nor `expected`.
    fn content(&self, expected: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
        Ok(contents(&self.base)?.into_iter().find(|name| !expected(name)))
    }

    fn begin(self) -> Result<Unfinished> {
        let tree = Tree::create(&self.base)?;
        Ok(Unfinished { tree, target: self.target, published: Vec::new() })
    }
}

/// Its entries that are neither ours nor the filesystem's.
fn contents(directory: &Directory) -> Result<Vec<Vec<u8>>> {
    let mut names = names_in(directory)?;
    names.retain(|name| !is_tree_name(name) && !is_aside(name) && name != LOST_AND_FOUND);
    Ok(names)
}

fn names_in(directory: &Directory) -> Result<Vec<Vec<u8>>> {
    let failed =
        |error: rustix::io::Errno| Error::io("read the directory", directory.path().display(), error.into());
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

/// Whether it is the name of something moved aside.
fn is_aside(name: &[u8]) -> bool {
    name.windows(ASIDE.len()).any(|window| window == ASIDE.as_bytes())
}

/// One directory being made.
#[derive(Debug)]
struct Unfinished {
    tree: Tree,
    target: Target,
    /// What has its name, to be taken back should a later step fail.
    published: Vec<OsString>,
}

impl Unfinished {
    /// Gives everything in it its name.
    fn publish(&mut self, entries: &[&str]) -> Result<()> {
        match &self.target {
            Target::Beside(name) => {
                self.tree.publish(name)?;
                self.published.push(name.clone());
            }
            Target::Inside => {
                for entry in entries.iter().map(OsStr::new) {
                    self.tree.publish_entry(entry, self.tree.base())?;
                    self.published.push(entry.to_owned());
                }
            }
        }
        Ok(())
    }

    /// What was published stays nobody's.
    fn take_back(&mut self) {
        let base = Arc::clone(self.tree.base());
        let taken =
            std::mem::take(&mut self.published).iter().rev().try_for_each(|name| match &self.target {
                Target::Beside(_) => self.tree.unpublish(name),
                Target::Inside => self.tree.take_back(name, &base),
            });
        if let Err(error) = taken {
            tracing::warn!(path = %self.tree.path().display(), %error, "cannot take back what was published");
        }
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

    /// Bytes that are free where the database goes; and where the log goes, if that is another filesystem.
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

    /// Publishes it. In this order:
    ///
    /// 1. everything is fsynced, from the files to the directories, and given to its owner;
    /// 2. [`Interrupt::begin_commit`]: whoever asked to stop before changed nothing;
    /// 3. an old member, and the log of one, are moved aside where that was asked for;
    /// 4. the log gets its name, where it is apart, with a marker beside it;
    /// 5. `member` gets its name: this is the commit;
    /// 6. the marker goes, and the directories are fsynced.
    ///
    /// What fails before the commit is undone. A process killed before it leaves no `member`, and a later run removes what it
    /// left. What fails after it is no error but a [shortfall](Published::shortfall).
    ///
    /// # Errors
    /// With nothing left behind: [`Kind::DestinationExists`], [`Kind::Interrupted`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn publish(mut self, interrupt: &Interrupt) -> Result<Published> {
        self.place.check()?;
        if let Some(log) = &self.log {
            self.write_marker(log)?;
            log.tree.seal(self.place.owner)?;
        }
        self.data.tree.seal(self.place.owner)?;
        for part in std::iter::once(&self.data).chain(&self.log) {
            part.tree.check_in_place()?;
        }
        interrupt.begin_commit()?;
        let mut aside = Aside::default();
        let committed = self.commit(&mut aside);
        if let Err(error) = committed {
            if let Some(log) = &mut self.log {
                log.take_back();
            }
            aside.take_back();
            return Err(error);
        }
        let path = self.data.path().join(MEMBER);
        let shortfall = self.finish().err().map(|error| {
            Error::new(Kind::PartlyPublished, format!("{} is complete, but {error}", path.display()))
                .with_hint("the member itself is complete; check the disk before relying on it")
        });
        Ok(Published { path, shortfall })
    }

    fn commit(&mut self, aside: &mut Aside) -> Result<()> {
        if let Some(time) = self.place.replace.clone() {
            if let Target::Inside = self.data.target
                && member_of(self.data.tree.base())?
            {
                aside.rename(self.data.tree.base(), OsStr::new(MEMBER), &time)?;
                // The old member must not come back beside the new log.
                self.data.tree.base().sync()?;
            }
            if let Some(log) = &self.log
                && let Target::Inside = log.target
            {
                aside.collect(log.tree.base(), &time)?;
            }
        }
        if let Some(log) = &mut self.log {
            if let Target::Inside = log.target
                && self.place.is_leftover(log.tree.base())?
            {
                remove_leftover(log.tree.base(), self.place.log_name)?;
            }
            // The marker first: the log never lies there without it.
            let steps: &[&[&str]] = match log.target {
                Target::Beside(_) => &[&[]],
                Target::Inside => &[&[MARKER], &[self.place.log_name]],
            };
            for step in steps {
                log.publish(step)?;
                log.tree.base().sync()?;
            }
        }
        self.data.tree.base().check_in_place()?;
        self.data.publish(&[MEMBER])
    }

    /// What follows the commit.
    fn finish(&mut self) -> Result<()> {
        // As long as the member is not known to be durable, the log needs its marker.
        self.data.tree.base().sync()?;
        self.log.as_ref().map_or(Ok(()), |log| {
            let directory = Directory::open(&log.path())?;
            let removed = directory.remove(OsStr::new(MARKER));
            removed.map_err(|error| {
                Error::io("remove", directory.join(OsStr::new(MARKER)).display(), error.into())
            })?;
            directory.sync()
        })
    }

    fn write_marker(&self, log: &Unfinished) -> Result<()> {
        let stat = log.tree.look(OsStr::new(self.place.log_name))?;
        let mut file = log.tree.create_file(Path::new(MARKER))?;
        let written = file.write_all(&self.place.marker(&stat)?);
        written.map_err(|error| Error::io("write", log.tree.path().join(MARKER).display(), error))
    }
}

/// Removes what an unfinished run has left in the directory of a log, its marker last.
fn remove_leftover(directory: &Directory, log_name: &str) -> Result<()> {
    for name in [log_name, MARKER].map(OsStr::new) {
        directory.remove(name).map_err(|error| {
            let path = directory.join(name);
            Error::io("remove what an earlier run left,", path.display(), error.into())
        })?;
    }
    Ok(())
}

/// What was moved aside, to be moved back should a later step fail.
#[derive(Default)]
struct Aside {
    /// In each directory: the name it had, and the directory and name it has.
    moved: Vec<(Arc<Directory>, OsString, Arc<Directory>, OsString)>,
    /// A directory made for them, in the first.
    made: Option<(Arc<Directory>, OsString)>,
}

impl Aside {
    /// Moves one entry aside, under its name and `time`.
    fn rename(&mut self, directory: &Arc<Directory>, name: &OsStr, time: &str) -> Result<()> {
        let new_name = free_name(directory, name, time)?;
        self.shift(directory, name, directory, &new_name)?;
        tracing::warn!("{} is now {}", directory.join(name).display(), directory.join(&new_name).display());
        Ok(())
    }

    /// Moves the log in `directory` into a directory in it.
    fn collect(&mut self, directory: &Arc<Directory>, time: &str) -> Result<()> {
        let mut contents = contents(directory)?;
        contents.retain(|name| is_of_log(name));
        if contents.is_empty() {
            return Ok(());
        }
        let name = free_name(directory, OsStr::new(LOG_DIRECTORY), time)?;
        directory.create_directory(&name).map_err(|error| directory.creation_failed(error))?;
        self.made = Some((Arc::clone(directory), name.clone()));
        let collected = Arc::new(Directory::open(&directory.path().join(&name))?);
        for name in contents {
            let name = OsStr::from_bytes(&name);
            self.shift(directory, name, &collected, name)?;
        }
        collected.sync()?;
        tracing::warn!("the old log is now in {}", collected.path().display());
        Ok(())
    }

    fn shift(
        &mut self,
        from: &Arc<Directory>,
        name: &OsStr,
        to: &Arc<Directory>,
        new_name: &OsStr,
    ) -> Result<()> {
        rename_without_replacing(from.file(), name, to, new_name)
            .map_err(|error| Error::io("move aside", from.join(name).display(), error.into()))?;
        self.moved.push((Arc::clone(from), name.to_owned(), Arc::clone(to), new_name.to_owned()));
        Ok(())
    }

    fn take_back(self) {
        for (from, name, to, new_name) in self.moved.into_iter().rev() {
            if let Err(error) = rename_without_replacing(to.file(), &new_name, &from, &name) {
                tracing::warn!("{} could not get its name back: {error}", to.join(&new_name).display());
            }
        }
        if let Some((directory, name)) = self.made {
            // One that is not empty stays.
            let _ = directory.remove_directory(&name);
        }
    }
}

/// `NAME.replaced-TIME`, or with a number behind it where another run of the same second was faster.
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

/// Several members in one directory, which appears whole: absent before, or empty.
#[derive(Debug)]
pub struct UnpublishedMembers {
    tree: Tree,
    name: OsString,
    owner: Option<Owner>,
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
        let stat = base.look(name).ok().flatten();
        let device = |directory: &Directory| rustix::fs::fstat(directory.file()).map(|stat| stat.st_dev);
        if !stat.is_some_and(|stat| is_directory(&stat)) || device(&base) != device(&part.base) {
            return refused(format!(
                "{} is a mount point or a link, which no directory can replace",
                directory.display()
            ));
        }
        Ok((Arc::new(base), name.to_owned()))
    }

    /// Begins to write.
    ///
    /// # Errors
    /// [`Kind::DestinationExists`], [`Kind::Destination`], [`Kind::NoSpace`], [`Kind::Io`].
    pub fn begin(directory: &Path, owner: Option<Owner>) -> Result<Self> {
        let (base, name) = Self::base(directory)?;
        Ok(Self { tree: Tree::create(&base)?, name, owner })
    }

    /// Bytes that are free where it goes.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn free_space(&self) -> Result<u64> {
        self.tree.free_space()
    }

    /// Creates a file at `path` in it, with the directories above.
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
        self.tree.seal(self.owner)?;
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
