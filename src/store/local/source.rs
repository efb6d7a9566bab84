//! Input files that the operator named: regular files, devices and pipes.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::data_dir::data_dir_at;
use super::walk::{self, is_trusted};
use crate::error::{Error, Kind, Result};
use crate::store::remote::{Purpose, elsewhere};

/// How long to wait for the writer of a named pipe. The operator usually starts the writer just before or after.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens `path` for reading. It waits only for the writer of a named pipe, and then a few seconds at most; reads may wait, as
/// on standard input.
///
/// A glob may name what another user put into a directory. So a named pipe of another user is not opened, nor a device behind
/// a link of another user: to open some devices is enough to change them, and either may wait for ever.
///
/// # Errors
/// The error of the system, [`io::ErrorKind::PermissionDenied`] for such a pipe or device, and [`io::ErrorKind::TimedOut`] for
/// a pipe without a writer.
pub fn open(path: &Path) -> io::Result<File> {
    // To open the inode itself touches no device, and afterwards the name may change.
    let inode = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&inode)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => {
            if !is_trusted(stat.st_uid) && !is_descriptor(path) {
                return Err(refused("a named pipe of another user"));
            }
            return open_pipe(path);
        }
        FileType::CharacterDevice | FileType::BlockDevice if is_behind_foreign_link(path) => {
            return Err(refused("a device behind a link that another user can have placed"));
        }
        FileType::RegularFile if is_of_kernel(&inode)? && is_behind_foreign_link(path) => {
            return Err(refused("a file of the kernel behind a link that another user can have placed"));
        }
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let reopened = rustix::fs::open(format!("/proc/self/fd/{}", inode.as_raw_fd()), flags, Mode::empty());
    let file = match reopened {
        // Without /proc there is only the name.
        Err(Errno::NOENT) => rustix::fs::open(path, flags, Mode::empty())?,
        reopened => reopened?,
    };
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(File::from(file))
}

/// Opens a regular file, pipe or device; `what` names it in errors.
///
/// # Errors
/// [`Kind::NotFound`], and [`Kind::Io`] for the rest.
pub fn open_file(path: &Path, what: &str) -> Result<File> {
    let opened = open(path).and_then(|file| {
        if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    });
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::new(Kind::NotFound, format!("there is no {what} {}", path.display())).with_source(error)
        }
        io::ErrorKind::IsADirectory => is_a_directory(path, what).with_source(error),
        io::ErrorKind::TimedOut => Error::io("open", path.display(), error)
            .with_hint("start what writes into it first, or pipe that into this and name - instead"),
        _ => Error::io("open", path.display(), error),
    })
}

/// As [`open_file`], for a snapshot.
///
/// # Errors
/// The errors of [`open_file`].
pub fn open_snapshot(path: &Path) -> Result<File> {
    open_file(path, "snapshot").map_err(|error| or_elsewhere(error, path, Purpose::Snapshot))
}

/// The error for an address, in place of that where nothing is at this path.
pub(in crate::store) fn or_elsewhere(error: Error, path: &Path, purpose: Purpose) -> Error {
    match error.kind() {
        Kind::NotFound => elsewhere(path.as_os_str(), purpose).unwrap_or(error),
        _ => error,
    }
}

/// The error for a directory, which may be that of a member of etcd.
fn is_a_directory(path: &Path, what: &str) -> Error {
    is_of_etcd(path, what).unwrap_or_else(|| {
        Error::new(Kind::Io, format!("{} is a directory, no {what}", path.display()))
            .with_hint(format!("name the {what} in it"))
    })
}

/// The error for a directory with no `what` in it, which may be that of a member of etcd. The name of each ends in `suffix`.
pub(in crate::store) fn no_file_of_it(directory: &Path, what: &str, suffix: &str) -> Error {
    is_of_etcd(directory, what).unwrap_or_else(|| {
        let message =
            format!("there is no {what} in {}: no file there ends in {suffix}", directory.display());
        Error::new(Kind::NotFound, message).with_hint(format!(
            "is its filesystem mounted? Name the directory that the {what}s are in, or an {what} by its path"
        ))
    })
}

/// The error for a directory of etcd's data.
fn is_of_etcd(path: &Path, what: &str) -> Option<Error> {
    let data_dir = data_dir_at(path)?;
    let message = format!("{} is a directory of etcd's data, no {what}", path.display());
    Some(Error::new(Kind::Io, message).with_hint(format!(
        "stop the etcd that runs on it, then seal what it holds with etcd-seal save `from_data_dir` {0}, or restore from it with \
         etcd-seal restore `from_data_dir` {0}",
        data_dir.display()
    )))
}

fn refused(what: &str) -> io::Error {
    let message = format!("it is {what}; if it is wanted, pass its content on standard input (-)");
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

/// Whether it is a file of the kernel, such as `/proc/kmsg`, which waits like a device and loses what is read from it.
fn is_of_kernel(inode: &OwnedFd) -> io::Result<bool> {
    /// procfs, sysfs, debugfs and tracefs in `include/uapi/linux/magic.h` of Linux.
    const FILE_SYSTEMS: [u64; 4] = [0x9FA0, 0x6265_6572, 0x6462_6720, 0x7472_6163];
    let kind = rustix::fs::fstatfs(inode)?.f_type;
    Ok(u64::try_from(kind).is_ok_and(|kind| FILE_SYSTEMS.contains(&kind)))
}

/// Whether `path` names an open file of this process, such as the pipe of a process substitution of a shell.
fn is_descriptor(path: &Path) -> bool {
    ["/dev/fd", "/dev/stdin", "/proc"].iter().any(|place| path.starts_with(place))
}

fn is_behind_foreign_link(path: &Path) -> bool {
    matches!(walk::find(path), Err(walk::Obstacle::ForeignLink(_)))
}

/// Only a blocking open reports that there is a writer. It gets its own thread, which is left behind if no writer comes.
fn open_pipe(path: &Path) -> io::Result<File> {
    tracing::debug!("waiting until a program opens {} for writing", path.display());
    let (done, opened) = mpsc::channel();
    let pipe = path.to_owned();
    // The receiver may be gone.
    std::thread::Builder::new().spawn(move || drop(done.send(File::open(pipe))))?;
    opened.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let message = format!(
            "it is a named pipe, and no program has opened it for writing within {} s",
            PATIENCE.as_secs()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Command;
    use std::time::Instant;

    #[test]
    fn a_pipe_waits_for_its_writer_but_not_for_ever() {
        let place = tempfile::tempdir().unwrap();
        let pipe = place.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let writer = pipe.clone();
        let writing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            std::fs::write(writer, "late").unwrap();
        });
        let mut text = String::new();
        open(&pipe).unwrap().read_to_string(&mut text).unwrap();
        writing.join().unwrap();
        assert_eq!(text, "late");
        let began = Instant::now();
        assert_eq!(open(&pipe).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < 3 * PATIENCE);
    }

    /// A glob takes what another user has put there.
    #[test]
    fn neither_a_pipe_nor_a_device_of_another_user_s_choice_is_opened() {
        use std::os::unix::fs::{chown, symlink};
        if !crate::store::local::may_give_files_away() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        assert!(Command::new("mkfifo").arg(path("pipe.age")).status().unwrap().success());
        symlink("/dev/zero", path("device.age")).unwrap();
        symlink("/proc/version", path("kernel.age")).unwrap();
        std::fs::write(path("plain"), "").unwrap();
        symlink("plain", path("plain.age")).unwrap();
        assert!(open(&path("device.age")).is_ok());
        chown(path("pipe.age"), Some(1234), None).unwrap();
        chown(place.path(), Some(1234), None).unwrap();
        // Such as a link to the latest archive.
        assert!(open(&path("plain.age")).is_ok());
        for name in ["pipe.age", "device.age", "kernel.age"] {
            let began = Instant::now();
            assert_eq!(open(&path(name)).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{name}");
            assert!(began.elapsed() < PATIENCE, "{name}");
        }
        // A device itself is what was asked for.
        assert!(open(Path::new("/dev/zero")).is_ok());
    }

    #[test]
    fn a_data_directory_leads_to_its_database() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("member/snap")).unwrap();
        let refused = |below: &str| open_file(&place.path().join(below), "snapshot").unwrap_err();
        assert!(refused("").hint().contains("name the snapshot"));
        std::fs::write(place.path().join("member/snap/db"), "").unwrap();
        for below in ["", "member", "member/snap"] {
            let error = refused(below);
            assert_eq!(error.kind(), Kind::Io);
            assert!(error.to_string().ends_with("is a directory of etcd's data, no snapshot"), "{error}");
            let data_dir = format!("save `from_data_dir` {}", place.path().display());
            assert!(error.hint().contains(&data_dir), "{}", error.hint());
        }
    }

    #[test]
    fn what_is_opened_reads_as_ever() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let mut file = open(&path).unwrap();
        assert!(!fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert_eq!(open(&place.path().join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
