//! A temporary file: private, locked while it is written, removed when it is dropped.
//!
//! A temporary lies in the directory of its final name, because a rename can publish it only there. Its own name is random
//! and never that of a published file, so removing a temporary by its name, at any moment, cannot hit a published file.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, RenameFlags, Stat};
use rustix::io::Errno;

use super::directory::Directory;
use super::stale::{Unfinished, try_lock};
use crate::error::{Error, Result};

const PREFIX: &str = ".etcd-seal-";
const SUFFIX: &str = ".tmp";

/// Hexadecimal digits between prefix and suffix.
const RANDOM_DIGITS: usize = 16;

/// How many names are tried. One is enough unless another process interferes.
pub(super) const ATTEMPTS: usize = 16;

/// Every unfinished temporary of this process, for [`abandon_all`].
static LIVING: Mutex<Vec<Living>> = Mutex::new(Vec::new());

struct Living {
    directory: Arc<Directory>,
    name: OsString,
    remove: Remove,
}

/// Removes a temporary, given its directory and its name there.
type Remove = Box<dyn Fn(&Directory, &OsStr) -> rustix::io::Result<()> + Send>;

/// Has [`abandon_all`] call `remove` for the entry at `name`, until [`deregister`].
pub(super) fn register(
    directory: &Arc<Directory>,
    name: &OsStr,
    remove: impl Fn(&Directory, &OsStr) -> rustix::io::Result<()> + Send + 'static,
) {
    let mut all = living();
    all.retain(|living| living.name != name);
    all.push(Living { directory: Arc::clone(directory), name: name.to_owned(), remove: Box::new(remove) });
}

/// Takes `name` off that list: its entry is published or gone.
pub(super) fn deregister(name: &OsStr) {
    living().retain(|living| living.name != name);
}

/// A locked file under a temporary name; removed on drop.
#[derive(Debug)]
pub(super) struct Temporary {
    directory: Arc<Directory>,
    name: OsString,
    file: File,
    /// Whether the filesystem granted the lock.
    locked: bool,
    /// Whether the file may still have its temporary name.
    named: bool,
}

impl Temporary {
    /// Creates an empty file, with mode 0600 whatever the umask is, and locks it.
    pub(super) fn create(directory: &Arc<Directory>) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let name = random_name(PREFIX, SUFFIX)?;
            let file = match directory.create_new(&name) {
                Ok(file) => file,
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(directory.creation_failed(error)),
            };
            let mut temporary =
                Self { directory: Arc::clone(directory), name, file, locked: false, named: true };
            register(directory, &temporary.name, Directory::remove);
            let kept = temporary.make_private().and_then(|()| temporary.lock());
            match kept {
                Ok(true) => return Ok(temporary),
                Ok(false) => {}
                Err(error) => {
                    return Err(Error::io("prepare", temporary.path().display(), error.into()));
                }
            }
        }
        let message = format!("{ATTEMPTS} temporaries in a row were taken by others");
        Err(Error::io("create a file in", directory.path().display(), io::Error::other(message)))
    }

    /// Restores the owner's permissions, which a umask may have removed; a umask cannot have added any.
    fn make_private(&self) -> rustix::io::Result<()> {
        let private = Mode::RUSR | Mode::WUSR;
        let mode = Mode::from_raw_mode(self.stat()?.st_mode);
        if mode == private {
            return Ok(());
        }
        match rustix::fs::fchmod(&self.file, private) {
            // FAT and similar filesystems store no permissions: there the mount options decide which users can read the
            // files.
            Err(Errno::PERM | Errno::OPNOTSUPP) => {
                tracing::warn!(path = %self.path().display(), ?mode, "the filesystem keeps no permissions");
                Ok(())
            }
            other => other,
        }
    }

    /// Locks it for as long as it is open. False where another process took it for a stale one between creation and lock:
    /// then this one is lost and another must be created.
    fn lock(&mut self) -> rustix::io::Result<bool> {
        match try_lock(&self.file) {
            Ok(()) => {
                self.locked = true;
                self.directory.names(&self.name, &self.file)
            }
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => {
                // It stays unlocked: no process removes temporaries where locks do not work.
                tracing::debug!(path = %self.path().display(), %error, "cannot lock");
                Ok(true)
            }
        }
    }

    /// Its current metadata.
    pub(super) fn stat(&self) -> rustix::io::Result<Stat> {
        rustix::fs::fstat(&self.file)
    }

    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(super) fn open_file(&self) -> &File {
        &self.file
    }

    /// Makes its content durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Renames it to `to`, and replaces any entry of that name.
    pub(super) fn rename(&mut self, to: &OsStr) -> rustix::io::Result<()> {
        let directory = self.directory.file();
        rustix::fs::renameat(directory, &*self.name, directory, to)?;
        self.forget();
        Ok(())
    }

    /// Renames it to `to` unless that is taken; `renameat2` with `RENAME_NOREPLACE`.
    pub(super) fn rename_without_replacing(&mut self, to: &OsStr) -> rustix::io::Result<()> {
        let directory = self.directory.file();
        rustix::fs::renameat_with(directory, &*self.name, directory, to, RenameFlags::NOREPLACE)?;
        self.forget();
        Ok(())
    }

    /// Adds the second name `to` unless that is taken. The temporary name stays.
    pub(super) fn link(&self, to: &OsStr) -> rustix::io::Result<()> {
        let directory = self.directory.file();
        match rustix::fs::linkat(directory, &*self.name, directory, to, AtFlags::empty()) {
            // NFS may create the link, lose the answer, repeat the request, and find the name taken by the file itself.
            Err(error) if self.directory.names(to, &self.file) != Ok(true) => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the temporary name, if it still exists.
    pub(super) fn remove(&mut self) -> rustix::io::Result<()> {
        if self.named {
            self.directory.remove(&self.name)?;
            self.forget();
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.named = false;
        deregister(&self.name);
    }
}

impl Unfinished for Temporary {
    const FILE_TYPE: FileType = FileType::RegularFile;

    fn is_name(name: &[u8]) -> bool {
        is_temporary_name(name)
    }

    fn owners(&self) -> rustix::io::Result<Vec<u32>> {
        Ok(Vec::new())
    }

    /// All files look alike. Where other users can rename this user's files, any of them may have got the name.
    fn doubt(&self, _name: &OsStr, _file: &File) -> rustix::io::Result<Option<String>> {
        let sure = self.directory.protects_names()?;
        Ok((!sure).then(|| {
            "another user can have renamed it, for the directory is not this user's alone".to_owned()
        }))
    }

    fn open(directory: &Directory, name: &OsStr) -> rustix::io::Result<File> {
        directory.open_existing(name)
    }

    fn remove(directory: &Directory, name: &OsStr, _file: &File) -> rustix::io::Result<()> {
        directory.remove(name)
    }

    fn directory(&self) -> &Directory {
        &self.directory
    }

    fn name(&self) -> &OsStr {
        &self.name
    }

    fn descriptor(&self) -> &File {
        &self.file
    }

    fn locked(&self) -> bool {
        self.locked
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(path = %self.path().display(), %error, "cannot remove a temporary; a later run will");
            self.forget();
        }
    }
}

/// Removes every unfinished temporary of this process; for a process that must exit while a thread is stuck.
///
/// Published files are safe: this removes temporaries by their temporary names, which no published file has. A later run
/// removes those that cannot be removed now.
pub fn abandon_all() {
    abandon(|_| true);
}

/// Does the same for those whose names are `wanted`.
pub(super) fn abandon(wanted: impl Fn(&OsStr) -> bool) {
    let abandoned: Vec<Living> = living().extract_if(.., |living| wanted(&living.name)).collect();
    for Living { directory, name, remove } in abandoned {
        if let Err(error) = remove(&directory, &name) {
            tracing::warn!(path = %directory.join(&name).display(), %error, "cannot remove a temporary");
        }
    }
}

fn living() -> MutexGuard<'static, Vec<Living>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `name` is one that [`Temporary::create`] makes.
pub(super) fn is_temporary_name(name: &[u8]) -> bool {
    let rest = name.strip_prefix(PREFIX.as_bytes());
    rest.and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes())).is_some_and(is_random)
}

/// Whether `digits` has the form that [`random_name`] puts between prefix and suffix.
pub(super) fn is_random(digits: &[u8]) -> bool {
    digits.len() == RANDOM_DIGITS && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A random name that cannot be guessed.
pub(super) fn random_name(prefix: &str, suffix: &str) -> Result<OsString> {
    let random = getrandom::u64()
        .map_err(|error| Error::io("read", "the system's random numbers", io::Error::other(error)))?;
    Ok(OsString::from(format!("{prefix}{random:0RANDOM_DIGITS$x}{suffix}")))
}
