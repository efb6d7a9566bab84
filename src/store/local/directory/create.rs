//! Creates files and directories in a directory.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Directory, is_file_name, meddled};
use crate::error::Error;

impl Directory {
    /// Creates an empty file, which must be new, readable and writable by its owner alone from its first moment. It follows
    /// no link at `name`.
    pub(in crate::store::local) fn create_new(&self, name: &OsStr) -> rustix::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.file, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    /// Creates a directory, which must be new, for its owner alone.
    pub(in crate::store::local) fn create_directory(&self, name: &OsStr) -> rustix::io::Result<()> {
        rustix::fs::mkdirat(&self.file, name, Mode::RWXU)
    }

    /// Opens a directory that was just created, after it restores the owner's permissions that a umask may have removed. It
    /// follows no link in its place.
    ///
    /// Where another user can have given its name to another directory, it refuses that one, and changes nothing about it.
    pub(in crate::store::local) fn open_created(&self, name: &OsStr) -> std::result::Result<File, Unusable> {
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

    /// Opens the directory `name`; creates it if need be, for its owner alone whatever the umask is.
    pub(in crate::store::local) fn enter_or_create(
        &self,
        name: &OsStr,
    ) -> std::result::Result<Self, Unusable> {
        match self.create_directory(name) {
            Ok(()) => Ok(Self { path: self.join(name), file: self.open_created(name)? }),
            Err(Errno::EXIST) => Ok(self.enter(name)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a file, which must be new, for reading and writing, for its owner alone whatever the umask is.
    pub(in crate::store::local) fn create_to_read(&self, name: &OsStr) -> rustix::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let private = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.file, name, flags, private)?;
        rustix::fs::fchmod(&file, private)?;
        Ok(File::from(file))
    }
}

/// Why a directory that was just created cannot be used.
#[derive(Debug)]
pub(in crate::store::local) enum Unusable {
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
    pub(in crate::store::local) fn into_error(self, action: &str, path: &Path, created: &Path) -> Error {
        match self {
            Self::System(error) => Error::io(action, path.display(), error.into()),
            Self::Replaced => meddled(format!("{} was replaced by another meanwhile", created.display())),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
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
