//! The data directory of a member: one that was taken for a file, and one that is read as a source and never changed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::directory::Directory;
use super::layout::{LOG_DIRECTORY, MARKER, MEMBER, SNAPSHOT_DIRECTORY};
use super::scratch::Scratch;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

/// The name of a member's database.
const DATABASE: &str = "db";
/// How the name of a raft snapshot ends, of a database that a leader has sent, and of a file of a log.
const RAFT_SNAPSHOT: &str = ".snap";
const RECEIVED_DATABASE: &str = ".snap.db";
const LOG_FILE: &str = ".wal";
/// Bytes that are copied at a time.
const COPY_SIZE: usize = 1 << 20;

/// The data directory with a database that `directory` is, or of which it is the `member` or its `snap`: what `--data-dir` of
/// etcd names.
pub(super) fn data_dir_at(directory: &Path) -> Option<PathBuf> {
    let below: [(&[&str], usize); 3] = [
        (&[MEMBER, SNAPSHOT_DIRECTORY, DATABASE], 0),
        (&[SNAPSHOT_DIRECTORY, DATABASE], 1),
        (&[DATABASE], 2),
    ];
    let is_there = |names: &[&str]| directory.join(names.iter().collect::<PathBuf>()).is_file();
    let (_, up) = below.into_iter().find(|(names, _)| is_there(names))?;
    let above = directory.ancestors().nth(up).filter(|path| !path.as_os_str().is_empty());
    Some(above.map_or_else(|| directory.join(["", "..", "../.."][up]), Path::to_path_buf))
}

/// The data directory of a member that is not running, open for reading alone.
///
/// While this value lives, no etcd opens the database: it waits for a lock that is held here.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// The database first.
    files: Vec<SourceFile>,
}

#[derive(Debug)]
struct SourceFile {
    /// Its place in a data directory.
    place: PathBuf,
    shown: PathBuf,
    file: File,
    size: u64,
    modified: Option<SystemTime>,
}

impl SourceFile {
    fn new(place: PathBuf, shown: PathBuf, file: File) -> Result<Self> {
        let metadata = file.metadata().map_err(|error| Error::io("look at", shown.display(), error))?;
        Ok(Self { place, shown, size: metadata.len(), modified: metadata.modified().ok(), file })
    }
}

impl DataDirectory {
    /// Opens the database, the raft snapshots and the log in `path`; the log in `wal_dir` where it is apart.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where one of them is missing, [`Kind::Usage`] where an etcd runs on it, [`Kind::Io`].
    pub fn open(path: &Path, wal_dir: Option<&Path>) -> Result<Self> {
        let directory = open_directory(path, "data directory")?;
        let snapshots = member_part(&directory, SNAPSHOT_DIRECTORY)?.ok_or_else(|| no_member(path))?;
        let mut files = vec![open_database(&snapshots, path)?];
        for name in
            names(&snapshots, |name| ends_in(name, RAFT_SNAPSHOT) || ends_in(name, RECEIVED_DATABASE))?
        {
            files.push(open_source(&snapshots, SNAPSHOT_DIRECTORY, &name)?);
        }
        let log = match wal_dir {
            Some(path) => open_directory(path, "directory of a log")?,
            None => member_part(&directory, LOG_DIRECTORY)?.ok_or_else(|| no_log(path))?,
        };
        let log_names = names(&log, |name| ends_in(name, LOG_FILE))?;
        if log_names.iter().any(|name| name == MARKER) {
            let message = format!("a restore did not come to its end in {}", log.path().display());
            return Err(Error::new(Kind::NotFound, message).with_hint("restore from its archive again"));
        }
        if log_names.is_empty() {
            return Err(no_log(path));
        }
        for name in &log_names {
            let file = open_source(&log, LOG_DIRECTORY, name)?;
            refuse_locked(&file.file, path, is_log_in_use)?;
            files.push(file);
        }
        Ok(Self { path: path.to_owned(), files })
    }

    /// Its path, as the operator wrote it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Bytes of the database.
    #[must_use]
    pub fn database_size(&self) -> u64 {
        self.files.first().map_or(0, |database| database.size)
    }

    /// The database, once more.
    ///
    /// # Errors
    /// The error of the system.
    pub fn database(&self) -> io::Result<File> {
        self.files
            .first()
            .map_or_else(|| Err(io::ErrorKind::NotFound.into()), |database| database.file.try_clone())
    }

    /// When a file of it was last written.
    #[must_use]
    pub fn written(&self) -> Option<SystemTime> {
        self.files.iter().filter_map(|file| file.modified).max()
    }

    /// The names of the files of the log, in order.
    #[must_use]
    pub fn log_names(&self) -> Vec<String> {
        self.names_in(LOG_DIRECTORY, LOG_FILE)
    }

    /// The name of the newest raft snapshot, if there is one.
    #[must_use]
    pub fn newest_raft_snapshot(&self) -> Option<String> {
        self.names_in(SNAPSHOT_DIRECTORY, RAFT_SNAPSHOT).pop()
    }

    fn names_in(&self, directory: &str, suffix: &str) -> Vec<String> {
        let in_it =
            self.files.iter().filter(|file| file.place.parent().is_some_and(|at| at.ends_with(directory)));
        let names = in_it.filter_map(|file| Some(file.place.file_name()?.to_str()?.to_owned()));
        names.filter(|name| ends_in(name, suffix)).collect()
    }

    /// Copies it into the directory `name` of `scratch`, and tells `advance` how many bytes are copied.
    ///
    /// # Errors
    /// [`Kind::NoSpace`], [`Kind::Io`], [`Kind::Interrupted`].
    pub fn copy(
        &self,
        scratch: &Scratch,
        name: &str,
        interrupt: &Interrupt,
        advance: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut copied = 0;
        let mut buffer = vec![0; COPY_SIZE];
        for source in &self.files {
            let mut offset = 0;
            let mut to = scratch.create_file(&Path::new(name).join(&source.place))?;
            loop {
                interrupt.check()?;
                let length = match source.file.read_at(&mut buffer, offset) {
                    Ok(0) => break,
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(Error::io("read", source.shown.display(), error)),
                };
                let written = to.write_all(&buffer[..length]);
                written.map_err(|error| Error::io("write", "the scratch directory", error))?;
                (offset, copied) = (offset + length as u64, copied + length as u64);
                advance(copied);
            }
            to.finish().map_err(|error| Error::io("write", "the scratch directory", error))?;
        }
        Ok(())
    }
}

/// Whether the name of a file ends so, as etcd compares it.
fn ends_in(name: &str, suffix: &str) -> bool {
    name.ends_with(suffix)
}

fn open_directory(path: &Path, what: &str) -> Result<Directory> {
    Directory::open_if_there(path)?.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("there is no {what} {}", path.display()))
            .with_hint("check the path; is its filesystem mounted?")
    })
}

/// The directory `name` in the member of `directory`.
fn member_part(directory: &Directory, name: &str) -> Result<Option<Directory>> {
    let part = Path::new(MEMBER).join(name);
    let shown = || directory.join(part.as_os_str());
    match directory.enter_below(&part) {
        Ok(entered) => Ok(Some(entered)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(Errno::LOOP) => {
            let message = format!("{} is a link that another user can have put there", shown().display());
            Err(Error::new(Kind::Io, message)
                .with_hint("mount what it leads to in its place, or name a log with `from_wal_dir`"))
        }
        Err(error) => Err(Error::io("open", shown().display(), error.into()).with_hint(AS_OWNER)),
    }
}

/// The names in `directory` that are `wanted`, in order.
fn names(directory: &Directory, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let failed = |error: Errno| Error::io("read the directory", directory.path().display(), error.into());
    let mut found = Vec::new();
    for name in directory.names_in_it().map_err(failed)? {
        match String::from_utf8(name.map_err(failed)?) {
            Ok(name) if wanted(&name) => found.push(name),
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}

fn open_source(directory: &Directory, part: &str, name: &str) -> Result<SourceFile> {
    let shown = directory.join(OsStr::new(name));
    let opened = directory.open_for_reading(OsStr::new(name));
    let file =
        opened.map_err(|error| Error::io("open", shown.display(), error.into()).with_hint(AS_OWNER))?;
    SourceFile::new([MEMBER, part, name].iter().collect(), shown, file)
}

/// The hint where a file cannot be opened.
const AS_OWNER: &str = "run it as root, or as the user that etcd runs as; is the disk in order?";

/// Opens the database, and keeps every etcd from it.
fn open_database(snapshots: &Directory, path: &Path) -> Result<SourceFile> {
    match snapshots.look(OsStr::new(DATABASE)) {
        Ok(None) if !names(snapshots, |name| ends_in(name, RAFT_SNAPSHOT))?.is_empty() => {
            let message = format!("{} has no database, only raft snapshots", path.display());
            return Err(Error::new(Kind::NotFound, message).with_hint(
                "an etcd of version 2 leaves that, whose keys of the v2 API no snapshot holds: start that etcd on a copy and read \
                 them with etcdctl of its version; or db was lost, and another member's directory is needed",
            ));
        }
        Ok(None) => return Err(no_member(path)),
        Ok(Some(_)) | Err(_) => {}
    }
    let database = open_source(snapshots, SNAPSHOT_DIRECTORY, DATABASE)?;
    refuse_locked(&database.file, path, is_database_in_use)?;
    Ok(database)
}

/// bbolt locks its open database by `flock`. The lock that is taken here stays until the file is closed.
fn is_database_in_use(file: &File) -> bool {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// etcd locks the files of its log by `fcntl`.
fn is_log_in_use(file: &File) -> bool {
    let locked = rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockShared);
    matches!(locked, Err(Errno::AGAIN | Errno::ACCESS))
}

fn refuse_locked(file: &File, path: &Path, is_in_use: impl Fn(&File) -> bool) -> Result<()> {
    if !is_in_use(file) {
        return Ok(());
    }
    let message = format!("an etcd runs on {}", path.display());
    Err(Error::new(Kind::Usage, message).with_hint(
        "save from that etcd, which is better than from its files: etcd-seal save `endpoints` HOST:PORT; or stop it first, and \
         whatever starts it again",
    ))
}

fn no_member(path: &Path) -> Error {
    let message = format!("{} is no data directory of etcd: it has no member/snap/db", path.display());
    Error::new(Kind::NotFound, message).with_hint(match data_dir_at(path) {
        Some(data_dir) => format!("name {}", data_dir.display()),
        None => "name what `data_dir` of that etcd names, such as /var/lib/etcd; is its filesystem mounted?"
            .to_owned(),
    })
}

fn no_log(path: &Path) -> Error {
    let message = format!("the write-ahead log of {} is missing: there is no file of it", path.display());
    Error::new(Kind::NotFound, message).with_hint(format!(
        "name its directory with `from_wal_dir`, if that etcd had a `wal_dir`. Without it the newest writes are lost; what the \
         database alone holds: etcd-seal save `from` {} `allow_missing_digest`",
        path.join(MEMBER).join(SNAPSHOT_DIRECTORY).join(DATABASE).display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LOG: &str = "member/wal/0000000000000000-0000000000000000.wal";

    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("data/member/snap/db", "database"),
            ("data/member/snap/0000000000000001-0000000000000002.snap", "raft"),
            ("data/member/snap/db.tmp.1", "not this"),
            (&format!("data/{LOG}"), "log"),
            ("data/member/wal/0.tmp", "not this"),
        ] {
            fs::create_dir_all(place.path().join(path).parent().unwrap()).unwrap();
            fs::write(place.path().join(path), content).unwrap();
        }
        fs::create_dir(place.path().join("scratch")).unwrap();
        place
    }

    #[test]
    fn what_etcd_needs_is_copied() {
        let place = place();
        let source = DataDirectory::open(&place.path().join("data"), None).unwrap();
        assert_eq!((source.size(), source.database_size()), (15, 8));
        assert_eq!(source.log_names(), ["0000000000000000-0000000000000000.wal"]);
        assert_eq!(source.newest_raft_snapshot().unwrap(), "0000000000000001-0000000000000002.snap");
        let scratch = Scratch::create(&place.path().join("scratch")).unwrap();
        let mut copied = 0;
        source.copy(&scratch, "m1", &Interrupt::new(), &mut |bytes| copied = bytes).unwrap();
        assert_eq!(copied, 15);
        assert_eq!(fs::read(scratch.path().join("m1").join(LOG)).unwrap(), b"log");
        assert_eq!(fs::read_dir(scratch.path().join("m1/member/snap")).unwrap().count(), 2);
    }

    #[test]
    fn what_is_missing_is_named() {
        let place = place();
        let path = |name: &str| place.path().join(name);
        let refused = |name: &str| DataDirectory::open(&path(name), None).unwrap_err();
        for (name, what, way_out) in [
            ("nothing", "there is no data directory", "mounted"),
            ("scratch", "is no data directory of etcd", "/var/lib/etcd"),
            ("data/member", "is no data directory of etcd", "/data"),
            ("data/member/snap", "is no data directory of etcd", "/data"),
        ] {
            let error = refused(name);
            assert_eq!(error.kind(), Kind::NotFound);
            assert!(
                error.to_string().contains(what) && error.hint().contains(way_out),
                "{error}: {}",
                error.hint()
            );
        }
        fs::rename(path("data/member/wal"), path("log")).unwrap();
        assert!(refused("data").hint().contains("`from_wal_dir`"));
        assert!(DataDirectory::open(&path("data"), Some(&path("log"))).is_ok());
        fs::remove_file(path("data/member/snap/db")).unwrap();
        assert!(refused("data").to_string().contains("only raft snapshots"));
    }

    #[test]
    fn a_locked_one_is_refused() {
        let place = place();
        let data = place.path().join("data");
        let held = File::open(data.join("member/snap/db")).unwrap();
        rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        let error = DataDirectory::open(&data, None).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::Usage, format!("an etcd runs on {}", data.display()))
        );
        drop(held);
        let open = DataDirectory::open(&data, None).unwrap();
        let later = File::open(data.join("member/snap/db")).unwrap();
        let lock = || rustix::fs::flock(&later, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(lock(), Err(Errno::WOULDBLOCK));
        drop(open);
        assert_eq!(lock(), Ok(()));
    }
}
