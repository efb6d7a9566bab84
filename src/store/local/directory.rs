//! One open directory. Everything a save does in it goes through the same descriptor, so that all of it happens in the
//! directory the operator named, even if that is renamed or mounted over meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::walk::{self, Obstacle, Opened};
use crate::error::{Error, Kind, Result};

/// The hint for a permission error.
const PERMISSION_HINT: &str =
    "it needs a directory this user may read and write, on a filesystem mounted for writing";

/// A directory in which files are published.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    file: File,
}

impl Directory {
    /// Opens it for reading, which fsync and the search for stale temporaries need. It follows no link that another user may
    /// have put there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::open_if_there(path)?.ok_or_else(|| missing(path))
    }

    /// The same; `None` where the path leads to nothing.
    pub(super) fn open_if_there(path: &Path) -> Result<Option<Self>> {
        match walk::open_directory(path) {
            Ok(file) => Ok(Some(Self { path: path.to_owned(), file })),
            Err(Obstacle::System(Errno::NOENT)) => Ok(None),
            Err(Obstacle::System(Errno::NOTDIR)) => Err(not_a_directory(path)),
            Err(Obstacle::System(error)) => Err(refused("open the directory", path, error)),
            Err(Obstacle::ForeignLink(link)) => {
                Err(foreign_link(&link).with_hint(match path.canonicalize() {
                    Ok(real) => format!("if that is meant, name the directory itself: {}", real.display()),
                    Err(_) => "name a directory that is reached without it".to_owned(),
                }))
            }
        }
    }

    /// Wraps a directory that is already open.
    pub(super) fn of(path: PathBuf, file: File) -> Self {
        Self { path, file }
    }

    /// Its path, as the operator wrote it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` in it, as the operator would write it.
    pub(super) fn join(&self, name: &OsStr) -> PathBuf {
        if self.path == Path::new(".") { PathBuf::from(name) } else { self.path.join(name) }
    }

    /// Creates an empty file, which must be new, readable and writable by its owner alone from its first moment. It follows
    /// no link at `name`.
    pub(super) fn create_new(&self, name: &OsStr) -> rustix::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.file, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    /// Opens an existing regular file for writing; anything else is [`Errno::INVAL`].
    pub(super) fn open_existing(&self, name: &OsStr) -> rustix::io::Result<File> {
        self.open_regular(name, OFlags::WRONLY)
    }

    /// Opens an existing regular file for reading; anything else is [`Errno::INVAL`].
    pub(super) fn open_for_reading(&self, name: &OsStr) -> rustix::io::Result<File> {
        self.open_regular(name, OFlags::RDONLY)
    }

    /// Opens an existing regular file for both; anything else is [`Errno::INVAL`].
    pub(super) fn open_to_change(&self, name: &OsStr) -> rustix::io::Result<File> {
        self.open_regular(name, OFlags::RDWR)
    }

    /// Checks the type before it opens, because opening a device may have effects; and again after, because the name may be
    /// another file's by then. It never waits for the other end of a named pipe.
    fn open_regular(&self, name: &OsStr, access: OFlags) -> rustix::io::Result<File> {
        let regular = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular(&self.look(name)?.ok_or(Errno::NOENT)?) {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, name, access | flags, Mode::empty())?;
        if regular(&rustix::fs::fstat(&file)?) { Ok(File::from(file)) } else { Err(Errno::INVAL) }
    }

    /// The error of an operation that created something in it, in words for the operator.
    pub(super) fn creation_failed(&self, error: Errno) -> Error {
        match error {
            Errno::NOENT => missing(&self.path),
            error => refused("create a file in", &self.path, error),
        }
    }

    /// The entry at `name`, following no link; `None` where there is none.
    pub(super) fn look(&self, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
        self.stat(name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The type of the file that `name` leads to through links. A link that leads nowhere is a [`FileType::Symlink`].
    pub(super) fn look_through(&self, name: &OsStr) -> rustix::io::Result<Option<FileType>> {
        let Some(entry) = self.look(name)? else { return Ok(None) };
        let entry = FileType::from_raw_mode(entry.st_mode);
        if entry != FileType::Symlink {
            return Ok(Some(entry));
        }
        match self.stat(name, AtFlags::empty()) {
            Ok(target) => {
                Ok(Some(target.map_or(FileType::Symlink, |target| FileType::from_raw_mode(target.st_mode))))
            }
            Err(Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => Ok(Some(FileType::Symlink)),
            Err(error) => Err(error),
        }
    }

    fn stat(&self, name: &OsStr, flags: AtFlags) -> rustix::io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.file, name, flags) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the directory once more.
    pub(super) fn itself(&self) -> rustix::io::Result<File> {
        self.open_directory(OsStr::new("."))
    }

    /// Whether both are the same directory.
    pub(super) fn is(&self, other: &Self) -> Result<bool> {
        let stat = |directory: &Self| {
            rustix::fs::fstat(&directory.file)
                .map_err(|error| Error::io("look at", directory.path.display(), error.into()))
        };
        Ok(is_same(&stat(self)?, &stat(other)?))
    }

    /// Whether `name` is still the name of the open `file`.
    pub(super) fn names(&self, name: &OsStr, file: &File) -> rustix::io::Result<bool> {
        let open = rustix::fs::fstat(file)?;
        let named = self.look(name)?;
        Ok(named.is_some_and(|named| is_same(&named, &open)))
    }

    /// Removes `name`; a missing entry is no error.
    pub(super) fn remove(&self, name: &OsStr) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(&self.file, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Creates a directory, which must be new, for its owner alone.
    pub(super) fn create_directory(&self, name: &OsStr) -> rustix::io::Result<()> {
        rustix::fs::mkdirat(&self.file, name, Mode::RWXU)
    }

    /// Opens a directory in it; follows no link.
    pub(super) fn open_directory(&self, name: &OsStr) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.file, name, flags, Mode::empty()).map(File::from)
    }

    /// Opens a directory that was just created, after it restores the owner's permissions that a umask may have removed. It
    /// follows no link in its place.
    ///
    /// Where another user can have given its name to another directory, it refuses that one, and changes nothing about it.
    pub(super) fn open_created(&self, name: &OsStr) -> std::result::Result<File, Unusable> {
        let sure = self.protects_names()?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = rustix::fs::openat(&self.file, name, flags | OFlags::PATH, Mode::empty())?;
        let open =
            || rustix::fs::openat(&created, ".", flags | OFlags::RDONLY, Mode::empty()).map(File::from);
        if !sure && !is_just_created(&rustix::fs::fstat(&created)?) {
            return Err(Unusable::Replaced);
        }
        // A directory whose owner a umask locks out is checked below.
        if !sure && open().is_ok_and(|file| is_empty(&file) == Ok(false)) {
            return Err(Unusable::Replaced);
        }
        // A descriptor opened with `O_PATH` allows a change of permissions only through its name in /proc.
        match open() {
            Ok(file) => rustix::fs::fchmod(&file, Mode::RWXU)?,
            Err(_) => rustix::fs::chmod(format!("/proc/self/fd/{}", created.as_raw_fd()), Mode::RWXU)?,
        }
        let file = open()?;
        if sure || is_empty(&file)? { Ok(file) } else { Err(Unusable::Replaced) }
    }

    /// Opens the directory `name` in it; follows no link.
    pub(super) fn enter(&self, name: &OsStr) -> rustix::io::Result<Self> {
        Ok(Self { path: self.join(name), file: self.open_directory(name)? })
    }

    /// Opens the directory at `path` below it. Follows links as [`Self::open_file_below`] does.
    pub(super) fn enter_below(&self, path: &Path) -> rustix::io::Result<Self> {
        match walk::open_directory_below(&self.file, &self.path, path) {
            Ok(file) => Ok(Self { path: self.join(path.as_os_str()), file }),
            Err(Obstacle::System(error)) => Err(error),
            Err(Obstacle::ForeignLink(_)) => Err(Errno::LOOP),
        }
    }

    /// Opens the directory `name`; creates it if need be, for its owner alone whatever the umask is.
    pub(super) fn enter_or_create(&self, name: &OsStr) -> std::result::Result<Self, Unusable> {
        match self.create_directory(name) {
            Ok(()) => Ok(Self { path: self.join(name), file: self.open_created(name)? }),
            Err(Errno::EXIST) => Ok(self.enter(name)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a file, which must be new, for reading and writing, for its owner alone whatever the umask is.
    pub(super) fn create_to_read(&self, name: &OsStr) -> rustix::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let private = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.file, name, flags, private)?;
        rustix::fs::fchmod(&file, private)?;
        Ok(File::from(file))
    }

    /// Removes the empty directory `name`.
    pub(super) fn remove_directory(&self, name: &OsStr) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(&self.file, name, AtFlags::REMOVEDIR)
    }

    /// Every name in it, `.` and `..` included.
    pub(super) fn names_in_it(
        &self,
    ) -> rustix::io::Result<impl Iterator<Item = rustix::io::Result<Vec<u8>>>> {
        let entries = rustix::fs::Dir::read_from(&self.file)?;
        Ok(entries.map(|entry| entry.map(|entry| entry.file_name().to_bytes().to_owned())))
    }

    /// Makes the names in it durable. Some filesystems (FUSE, CIFS) support no fsync of directories at all: that is not an
    /// error, and only causes a warning.
    pub(super) fn sync(&self) -> Result<()> {
        match self.file.sync_all() {
            Err(error) if is_unsupported(&error) => {
                tracing::warn!(
                    "the filesystem of {} cannot sync directories: after a crash of the host the names in it may be \
                     missing",
                    self.path.display()
                );
                Ok(())
            }
            other => other.map_err(|error| Error::io("sync the directory", self.path.display(), error)),
        }
    }

    /// Refuses to publish into a directory that its path no longer leads to, where the file would not be found: it was
    /// moved, removed, unmounted or mounted over while the file was written. Nothing is done in the directory that the path
    /// leads to now.
    pub(super) fn check_in_place(&self) -> Result<()> {
        let failed = |error: io::Error| Error::io("find the directory", self.path.display(), error);
        let open = rustix::fs::fstat(&self.file).map_err(|error| failed(error.into()))?;
        match walk::open_directory(&self.path) {
            Ok(named) => {
                let named = rustix::fs::fstat(&named).map_err(|error| failed(error.into()))?;
                if is_same(&named, &open) {
                    return Ok(());
                }
            }
            Err(Obstacle::System(error)) => return Err(failed(error.into())),
            Err(Obstacle::ForeignLink(_)) => {}
        }
        let message = format!("the directory {} was replaced by another meanwhile", self.path.display());
        Err(Error::new(Kind::Io, message).with_hint("was it moved or mounted over? run it again"))
    }

    /// Opens the regular file at `path` below it for reading; `None` where there is none. Follows links only where other
    /// users cannot have put them, and opens nothing but a regular file.
    pub(super) fn open_file_below(&self, path: &Path) -> Result<Option<File>> {
        let shown = self.join(path.as_os_str());
        match walk::open_file_below(&self.file, &self.path, path) {
            Ok(Opened::File(file)) => Ok(Some(file)),
            Ok(Opened::Other(kind)) => {
                let message = format!("{} is {}, where a file is expected", shown.display(), describe(kind));
                Err(Error::new(Kind::Destination, message)
                    .with_hint("look who has put it there, and move it out of the way by hand"))
            }
            Err(Obstacle::System(Errno::NOENT | Errno::NOTDIR)) => Ok(None),
            Err(Obstacle::System(error)) => Err(Error::io("open", shown.display(), error.into())),
            Err(Obstacle::ForeignLink(link)) => {
                Err(foreign_link(&link).with_hint(match link.canonicalize() {
                    Ok(real) => {
                        format!("if that is meant, mount {} there in its place: mount --bind", real.display())
                    }
                    Err(_) => "remove it".to_owned(),
                }))
            }
        }
    }

    /// Whether `name` leads, through links, to an open file in `/proc`, as `/dev/stdout` does.
    pub(super) fn leads_through_proc(&self, name: &OsStr) -> bool {
        walk::find_below(&self.file, &self.path, Path::new(name)).is_ok_and(|found| found.through_proc)
    }

    /// Whether other users cannot change which file a name means, if that file belongs to root or the caller.
    pub(super) fn protects_names(&self) -> rustix::io::Result<bool> {
        let stat = rustix::fs::fstat(&self.file)?;
        Ok(walk::is_private(&stat) || walk::is_sticky(&stat))
    }

    /// The descriptor, for the system calls that take two directories.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

/// Why a directory that was just created cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// The system refuses it.
    System(Errno),
    /// Another user has put something else in its place.
    Replaced,
}

impl From<Errno> for Unusable {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

impl Unusable {
    /// The error of `action` on `path`, which failed because of the directory `created`.
    pub(super) fn into_error(self, action: &str, path: &Path, created: &Path) -> Error {
        match self {
            Self::System(error) => Error::io(action, path.display(), error.into()),
            Self::Replaced => meddled(format!("{} was replaced by another meanwhile", created.display())),
        }
    }
}

/// The error for what another user has done in a directory while files are made there.
pub(super) fn meddled(message: String) -> Error {
    Error::new(Kind::Io, message)
        .with_hint("another program or user writes into the same directory: stop that, and run it again")
}

/// Whether a directory looks as this program has just created it: a umask may have removed permissions, and the parent
/// directory may pass on its group.
fn is_just_created(stat: &Stat) -> bool {
    const SET_GROUP: u32 = 0o2000;
    stat.st_uid == rustix::process::geteuid().as_raw()
        && stat.st_mode & 0o7777 & !(Mode::RWXU.as_raw_mode() | SET_GROUP) == 0
}

/// Whether a directory is empty.
fn is_empty(directory: &File) -> rustix::io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        if is_file_name(OsStr::from_bytes(entry?.file_name().to_bytes())) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the error says that fsync is not supported, not that it failed. ENOTSUP has the number of EOPNOTSUPP on Linux.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP))
}

/// Whether both describe the same file.
pub(super) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// The name of a file type in a message.
pub(super) fn describe(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Directory => "a directory",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::Symlink => "a link to an open file",
        _ => "no regular file",
    }
}

/// The directory that contains `path`: `.` where the path names none.
pub(super) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The parent of an open directory.
pub(super) fn parent(directory: &File) -> rustix::io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, "..", flags, Mode::empty()).map(File::from)
}

/// Whether it is a link.
pub(super) fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// Whether it is a directory.
pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether `name` can be the name of a file: one component, and not `.` or `..`.
pub(super) fn is_file_name(name: &OsStr) -> bool {
    !matches!(name.as_bytes(), b"" | b"." | b"..")
        && !name.as_bytes().iter().any(|byte| b"/\0".contains(byte))
}

/// The error for a directory that does not exist.
pub(in crate::store) fn missing(path: &Path) -> Error {
    Error::new(Kind::Destination, format!("there is no directory {}", path.display()))
        .with_hint("directories are never created here: is it mounted?")
}

/// The error for a link that another user may have put there.
fn foreign_link(link: &Path) -> Error {
    let message = format!(
        "{} is a link in a directory that other users can write, and is not followed",
        link.display()
    );
    Error::new(Kind::Destination, message)
}

/// The error for something else in the place of a directory.
pub(in crate::store) fn not_a_directory(path: &Path) -> Error {
    Error::new(Kind::Destination, format!("{} is not a directory", path.display()))
}

/// Adds a hint only where permissions explain the error.
fn refused(action: &str, path: &Path, error: Errno) -> Error {
    let failure = Error::io(action, path.display(), error.into());
    match error {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => failure.with_hint(PERMISSION_HINT),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// What [`Directory::open_created`] makes of a directory that `prepare` has put in place of a new one, and its
    /// permissions afterwards.
    fn opened(around: u32, prepare: impl Fn(&Path)) -> (std::result::Result<File, Unusable>, u32) {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(around)).unwrap();
        let base = Directory::open(place.path()).unwrap();
        let path = place.path().join("made");
        base.create_directory(OsStr::new("made")).unwrap();
        prepare(&path);
        let file = base.open_created(OsStr::new("made"));
        (file, fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777)
    }

    fn is_replaced(around: u32, prepare: impl Fn(&Path)) -> bool {
        matches!(opened(around, prepare).0, Err(Unusable::Replaced))
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_is_for_its_owner_alone_whatever_the_umask_takes_away() {
        for around in [0o700, 0o777] {
            for mode in [0o700, 0o500, 0o300, 0o000] {
                let (file, mode) = opened(around, |path| set_mode(path, mode));
                assert_eq!((file.is_ok(), mode), (true, 0o700));
            }
        }
    }

    #[test]
    fn what_another_user_can_have_put_in_its_place_is_refused_and_stays_as_it_is() {
        let with_content = |path: &Path| fs::write(path.join("file"), "mine").unwrap();
        assert!(is_replaced(0o777, with_content));
        let (refused, mode) = opened(0o777, |path| set_mode(path, 0o755));
        assert!(matches!(refused, Err(Unusable::Replaced)));
        assert_eq!(mode, 0o755);
        // The program can inspect a directory once other users cannot enter it.
        let closed = |path: &Path| {
            with_content(path);
            set_mode(path, 0);
        };
        assert!(is_replaced(0o777, closed));
        let error = Unusable::Replaced.into_error("prepare", Path::new("x"), Path::new("x"));
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::Io, "x was replaced by another meanwhile".into())
        );
    }

    #[test]
    fn a_directory_of_another_user_in_its_place_is_refused() {
        if !crate::store::local::may_give_files_away() {
            return;
        }
        let given = |path: &Path| std::os::unix::fs::chown(path, Some(1234), Some(1234)).unwrap();
        assert!(is_replaced(0o777, given));
    }
}
