//! Finds what a path names without trusting directories that other users can write.
//!
//! A link is followed only if no user but root and the caller can have put it there, or can have put a directory there on the
//! way to it. Everything else is refused, because the user who placed the link would choose where this process, often root,
//! reads and writes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, Stat};
use rustix::io::Errno;

/// Links followed in one path at most, as in Linux itself.
const LINKS_MAX: usize = 40;
/// Sticky bit and the permissions of group and others to write, in `st_mode`.
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// Why a path cannot be walked to its end.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The system refuses.
    System(Errno),
    /// This link stands in, or below, a directory that another user can write.
    ForeignLink(PathBuf),
}

impl From<Errno> for Obstacle {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

/// What lies at the end of a path. It may have been replaced since: compare what is opened with `stat`.
pub(super) struct Found {
    /// The directory it lies in, or itself where `name` is `.`; open as a path alone.
    pub(super) directory: OwnedFd,
    /// Its name there.
    pub(super) name: OsString,
    /// What it is; never a link, except to an open file in `/proc`.
    pub(super) stat: Stat,
    /// Whether the way led through a link of `/proc`, which stands for an open file and not for a path.
    pub(super) through_proc: bool,
}

/// Opens a directory for reading.
pub(super) fn open_directory(path: &Path) -> Result<File, Obstacle> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Most paths have no link in them at all: the kernel finds that out in one step.
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(file) => return Ok(File::from(file)),
        Err(Errno::LOOP) => {}
        Err(error) if is_unsupported(error) => {}
        Err(error) => return Err(error.into()),
    }
    open_found_directory(&Walk::begin(path)?.finish()?)
}

/// Opens a directory below `directory`, shown as `shown`, for reading.
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

/// Finds what `path`, which is relative, names below `directory`, shown as `shown`.
pub(super) fn find_below(directory: &File, shown: &Path, path: &Path) -> Result<Found, Obstacle> {
    let at = rustix::fs::openat(
        directory,
        ".",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Walk { at, shown: shown.to_owned(), pending: components(path), links: 0, through_proc: false }.finish()
}

/// Opens a regular file below `directory` for reading. Waits for nothing, and opens neither device, named pipe nor socket.
pub(super) fn open_file_below(directory: &File, shown: &Path, path: &Path) -> Result<Opened, Obstacle> {
    let found = find_below(directory, shown, path)?;
    let kind = FileType::from_raw_mode(found.stat.st_mode);
    if kind != FileType::RegularFile {
        return Ok(Opened::Other(kind));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&found.directory, &*found.name, flags, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(Opened::File(File::from(file))),
        other => Ok(Opened::Other(other)),
    }
}

/// What [`open_file_below`] comes to.
pub(super) enum Opened {
    /// A regular file.
    File(File),
    /// Something else, which was not opened.
    Other(FileType),
}

/// Whether only root and the caller can change what is in a directory. A plain user's own group may write, as it may with
/// a umask of 002: on such systems every user has a group of his own.
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

/// Whether no other user can give the name of `entry` in `directory` to something else. In a sticky directory that depends on
/// whose the entry is: another user can rename only what is that user's own.
fn keeps(directory: &Stat, entry: &Stat) -> bool {
    is_private(directory) || is_sticky(directory) && is_trusted(entry.st_uid)
}

/// Whether no other user can put another directory in the place of `directory`, which has this `stat`, or of one above it:
/// with a link of root's in it, that would be one of the other user's choice. It goes up from the directory itself, so that
/// it does not matter by which path that was reached, or that the caller was in it from the start.
fn is_out_of_reach(directory: &OwnedFd, mut stat: Stat) -> rustix::io::Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    loop {
        at = rustix::fs::openat(&at, "..", flags, Mode::empty())?;
        let above = rustix::fs::fstat(&at)?;
        // Above the root there is the root.
        if (above.st_dev, above.st_ino) == (stat.st_dev, stat.st_ino) {
            return Ok(true);
        }
        if !keeps(&above, &stat) {
            return Ok(false);
        }
        stat = above;
    }
}

/// Root, the caller, and the owner of `/`: that is another one in a user namespace, where root outside has no name.
fn is_trusted(user: u32) -> bool {
    user == 0
        || user == rustix::process::geteuid().as_raw()
        || rustix::fs::stat("/").is_ok_and(|root| root.st_uid == user)
}

/// Whether the kernel, or what confines this process, knows no `openat2`.
fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::NOSYS | Errno::PERM)
}

/// A path being walked, one name at a time.
struct Walk {
    /// How far it came, open as a path alone.
    at: OwnedFd,
    /// The same, as the operator would write it.
    shown: PathBuf,
    /// The names still to come, the next one last.
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
        // Through its own `.`, so that something that mounts on demand is mounted.
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
            // What such a link says is no path: only the kernel can follow it.
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

    /// A link of root's below a directory of another user is where that user wants it, with the directory it stands in.
    #[test]
    #[expect(clippy::print_stderr, reason = "what was not tested must be seen")]
    fn a_link_is_followed_only_where_no_other_user_can_replace_what_leads_to_it() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can give a directory to another user");
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
            // From a directory that is open already, the same holds.
            let below = File::open(path("around/child/below")).unwrap();
            let opened = open_directory_below(&below, Path::new("below"), Path::new("link"));
            assert_eq!(opened.is_ok(), followed, "{what}");
        }
    }

    /// `/proc/self/cwd` stands for a directory, and what follows it lies in that.
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
