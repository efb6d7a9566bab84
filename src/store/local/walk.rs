//! Resolves a path without trusting directories that other users can write.
//!
//! A link is followed only if no user but root and the caller can have put it there, or can have put a directory there on
//! the way to it. Every other link is refused, because the user who placed it would choose where this process, often root,
//! reads and writes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, Stat};
use rustix::io::Errno;

/// The most links followed in one path, as in Linux itself.
const LINKS_MAX: usize = 40;
/// Sticky bit, and the write permissions of group and others, in `st_mode`.
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Why a path cannot be resolved.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The system refuses it.
    System(Errno),
    /// This link is in, or below, a directory that another user can write.
    ForeignLink(PathBuf),
}

impl From<Errno> for Obstacle {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

/// The entry at the end of a path. It may have been replaced since: compare what is opened with `stat`.
pub(super) struct Found {
    /// The directory that contains it, or itself where `name` is `.`; opened with `O_PATH`.
    pub(super) directory: OwnedFd,
    /// Its name in that directory.
    pub(super) name: OsString,
    /// Its metadata; never a link's, except for a link to an open file in `/proc`.
    pub(super) stat: Stat,
    /// Whether the path led through a link of `/proc`, which stands for an open file and not for a path.
    pub(super) through_proc: bool,
}

/// Opens a directory for reading.
pub(super) fn open_directory(path: &Path) -> Result<File, Obstacle> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Most paths contain no link: the kernel finds that out in one step.
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(file) => return Ok(File::from(file)),
        Err(Errno::LOOP) => {}
        Err(error) if is_unsupported(error) => {}
        Err(error) => return Err(error.into()),
    }
    open_found_directory(&Walk::begin(path)?.finish()?)
}

/// Opens a directory below `directory`, which messages call `shown`, for reading.
pub(super) fn open_directory_below(directory: &File, shown: &Path, path: &Path) -> Result<File, Obstacle> {
    open_found_directory(&find_below(directory, shown, path)?)
}

fn open_found_directory(found: &Found) -> Result<File, Obstacle> {
    if FileType::from_raw_mode(found.stat.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR.into());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(&found.directory, &*found.name, flags, Mode::empty())?))
}

/// Resolves `path`.
pub(super) fn find(path: &Path) -> Result<Found, Obstacle> {
    Walk::begin(path)?.finish()
}

/// Resolves the relative `path` below `directory`, which messages call `shown`.
pub(super) fn find_below(directory: &File, shown: &Path, path: &Path) -> Result<Found, Obstacle> {
    let at = rustix::fs::openat(
        directory,
        ".",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Walk { at, shown: shown.to_owned(), pending: components(path), links: 0, through_proc: false }.finish()
}

/// Opens a regular file below `directory` for reading. Never blocks, and opens no device, named pipe or socket.
pub(super) fn open_file_below(directory: &File, shown: &Path, path: &Path) -> Result<FoundFile, Obstacle> {
    let found = find_below(directory, shown, path)?;
    let kind = FileType::from_raw_mode(found.stat.st_mode);
    if kind != FileType::RegularFile {
        return Ok(FoundFile::Other(kind));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&found.directory, &*found.name, flags, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(FoundFile::File(File::from(file))),
        other => Ok(FoundFile::Other(other)),
    }
}

/// The result of [`open_file_below`].
pub(super) enum FoundFile {
    /// A regular file.
    File(File),
    /// A file of another type, which was not opened.
    Other(FileType),
}

/// Whether only root and the caller can change the entries of a directory. An ordinary user's own group may write, as it may
/// with a umask of 002: on such systems every user has a separate group.
pub(super) fn is_private(directory: &Stat) -> bool {
    let caller = rustix::process::geteuid();
    let own_group = !caller.is_root()
        && directory.st_uid == caller.as_raw()
        && directory.st_gid == rustix::process::getegid().as_raw();
    let shared = if own_group { OTHERS_WRITE } else { OTHERS_WRITE | GROUP_WRITES };
    is_trusted(directory.st_uid) && directory.st_mode & shared == 0
}

/// Whether other users may add names to a directory, but can neither rename nor remove those of others.
pub(super) fn is_sticky(directory: &Stat) -> bool {
    directory.st_mode & STICKY != 0 && is_trusted(directory.st_uid)
}

/// Whether no other user can give the name of `entry` in `directory` to something else. In a sticky directory that depends
/// on the owner of the entry: another user can rename only that user's own entries.
fn keeps(directory: &Stat, entry: &Stat) -> bool {
    is_private(directory) || is_sticky(directory) && is_trusted(entry.st_uid)
}

/// Whether no other user can replace `directory`, whose metadata is `stat`, or a directory above it: then a link of root's
/// in it would be one of the other user's choice. The check goes up from the directory itself, so that the path by which it
/// was reached does not matter, nor that the caller was in it from the start.
fn is_out_of_reach(directory: &OwnedFd, mut stat: Stat) -> rustix::io::Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    loop {
        at = rustix::fs::openat(&at, "..", flags, Mode::empty())?;
        let above = rustix::fs::fstat(&at)?;
        // The parent of the root is the root.
        if (above.st_dev, above.st_ino) == (stat.st_dev, stat.st_ino) {
            return Ok(true);
        }
        if !keeps(&above, &stat) {
            return Ok(false);
        }
        stat = above;
    }
}

/// Trusts root, the caller, and the owner of `/`: in a user namespace, that is another user, since the outer root has no
/// name.
pub(super) fn is_trusted(user: u32) -> bool {
    user == 0
        || user == rustix::process::geteuid().as_raw()
        || rustix::fs::stat("/").is_ok_and(|root| root.st_uid == user)
}

/// Whether the kernel, or a sandbox around this process, does not support `openat2`.
fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::NOSYS | Errno::PERM)
}

/// A path being resolved, one name at a time.
struct Walk {
    /// The directory reached so far, opened with `O_PATH`.
    at: OwnedFd,
    /// The same, as the operator would write it.
    shown: PathBuf,
    /// The remaining names, the next one last.
    pending: Vec<OsString>,
    links: usize,
    through_proc: bool,
}

impl Walk {
    fn begin(path: &Path) -> Result<Self, Obstacle> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        let (start, shown) = if path.is_absolute() { ("/", "/") } else { (".", "") };
        Ok(Self {
            at: open_start(start)?,
            shown: PathBuf::from(shown),
            pending: components(path),
            links: 0,
            through_proc: false,
        })
    }

    fn finish(mut self) -> Result<Found, Obstacle> {
        while let Some(name) = self.pending.pop() {
            let child = open_name(&self.at, &name)?;
            let stat = rustix::fs::fstat(&child)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                self.follow(&name, &child, &stat)?;
            } else if self.pending.is_empty() && name != ".." {
                return Ok(Found { directory: self.at, name, stat, through_proc: self.through_proc });
            } else {
                self.enter(&name, child);
            }
        }
        let stat = rustix::fs::fstat(&self.at)?;
        Ok(Found { directory: self.at, name: OsString::from("."), stat, through_proc: self.through_proc })
    }

    fn enter(&mut self, name: &OsStr, child: OwnedFd) {
        // Opens its `.`, so that an automount is mounted.
        let mut inside = name.to_owned();
        inside.push("/.");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS;
        self.at = rustix::fs::openat2(&self.at, &*inside, flags, Mode::empty(), resolve).unwrap_or(child);
        self.shown.push(name);
    }

    fn follow(&mut self, name: &OsStr, link: &OwnedFd, stat: &Stat) -> Result<(), Obstacle> {
        let directory = rustix::fs::fstat(&self.at)?;
        if !keeps(&directory, stat) || !is_out_of_reach(&self.at, directory)? {
            return Err(Obstacle::ForeignLink(self.shown.join(name)));
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        if rustix::fs::fstatfs(&self.at)?.f_type == PROC_SUPER_MAGIC {
            // The target text of such a link is no path: only the kernel can follow it.
            self.at = rustix::fs::openat(&self.at, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            self.shown.push(name);
            self.through_proc = true;
            return Ok(());
        }
        let target = OsString::from_vec(rustix::fs::readlinkat(link, "", Vec::new())?.into_bytes());
        let target = Path::new(&target);
        if target.is_absolute() {
            self.at = open_start("/")?;
            self.shown = PathBuf::from("/");
        }
        self.pending.extend(components(target));
        Ok(())
    }
}

fn open_start(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_name(directory: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The names of a path, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// Another user decides where a link of root's below that user's directory lies, together with its parent directory.
    #[test]
    fn a_link_is_followed_only_where_no_other_user_can_replace_what_leads_to_it() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        if !crate::store::local::may_give_files_away() {
            return;
        }
        for (mode, owner, child, followed) in [
            (0o755, 0, 0, true),
            (0o755, 1234, 0, false),
            (0o777, 0, 0, false),
            (0o775, 0, 0, false),
            (0o1777, 0, 0, true),
            (0o1777, 1234, 0, false),
            (0o1777, 0, 1234, false),
        ] {
            let place = tempfile::tempdir().unwrap();
            let path = |name: &str| place.path().join(name);
            std::fs::create_dir_all(path("around/child/below")).unwrap();
            std::fs::create_dir(path("target")).unwrap();
            symlink(path("target"), path("around/child/below/link")).unwrap();
            std::fs::set_permissions(path("around"), std::fs::Permissions::from_mode(mode)).unwrap();
            chown(path("around"), Some(owner), None).unwrap();
            chown(path("around/child"), Some(child), None).unwrap();
            let link = path("around/child/below/link");
            let what = format!("{mode:o} {owner} {child}");
            match open_directory(&link) {
                Ok(_) => assert!(followed, "{what}"),
                Err(Obstacle::ForeignLink(found)) => assert!(!followed && found == link, "{what}"),
                Err(Obstacle::System(error)) => panic!("{what}: {error}"),
            }
            // The same holds from a directory that is already open.
            let below = File::open(path("around/child/below")).unwrap();
            let opened = open_directory_below(&below, Path::new("below"), Path::new("link"));
            assert_eq!(opened.is_ok(), followed, "{what}");
        }
    }

    /// `/proc/self/cwd` stands for a directory, and the rest of the path lies in that.
    #[test]
    fn a_path_goes_on_behind_a_link_of_proc() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("one/two")).unwrap();
        let open = File::open(place.path()).unwrap();
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        for below in ["", "/", "/one", "/one/two", "/one/../one/two"] {
            let opened = open_directory(Path::new(&format!("{link}{below}"))).ok().unwrap();
            let expected = std::fs::metadata(format!("{link}{below}")).unwrap();
            assert_eq!(opened.metadata().unwrap().ino(), expected.ino(), "{below:?}");
        }
    }
}
