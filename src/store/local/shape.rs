//! Tells a tree that a killed run has left from any other directory under the same name.
//!
//! A user who can write where the tree lies can give its name to any directory there, even to one of root's that this user
//! could neither change nor remove, and an operator can rename a complete member to it by mistake. So a tree is removed only
//! if it holds the file [`UNFINISHED`], which it loses before it is published, and if every name in it is one that this
//! program's trees have.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{FileType, Stat};

use super::directory::{Directory, is_file_name};
use super::layout::{LOG_DIRECTORY, MARKER, MEMBER, SNAPSHOT_DIRECTORY, UNFINISHED};

/// None of this program's trees has more entries in one directory, however long an etcd has run on it.
const ENTRIES_MAX: usize = 10_000;
/// The file that etcd creates to test whether it may write.
const TOUCHED: &[u8] = b".touch";

/// The kind of a directory in a tree, which decides what may be in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DirectoryKind {
    /// The tree itself.
    Tree,
    /// A data directory of a new cluster: `--output-dir`.
    DataDirectory,
    /// A data directory of a drill, on which an etcd has run.
    Drilled,
    /// `member` and its two directories, as a restore makes them.
    Member,
    Snapshots,
    Log,
    /// The same after an etcd has run on them.
    DrilledMember,
    DrilledSnapshots,
    DrilledLog,
}

/// The reason to doubt that a killed run left `tree`; `None` where there is none. Removing an empty tree loses nothing.
pub(super) fn doubt_of(tree: &Directory) -> rustix::io::Result<Option<String>> {
    let unfinished = tree.look(OsStr::new(UNFINISHED))?;
    if unfinished.is_none_or(|stat| type_of(&stat) != FileType::RegularFile) {
        let mut names = tree.names_in_it()?;
        let is_empty = names.all(|name| name.is_ok_and(|name| !is_file_name(OsStr::from_bytes(&name))));
        return Ok((!is_empty).then(|| format!("it holds no file {UNFINISHED}, so it may be complete")));
    }
    let stranger = stranger_in(tree)?;
    Ok(stranger.map(|stranger| format!("it holds {}, which no run of etcd-seal makes", stranger.display())))
}

/// The first entry of `tree` that no tree of this program holds; `None` where there is none. It checks at most five levels,
/// and one filesystem.
fn stranger_in(tree: &Directory) -> rustix::io::Result<Option<PathBuf>> {
    let device = rustix::fs::fstat(tree.file())?.st_dev;
    stranger(tree, DirectoryKind::Tree, device)
}

fn stranger(directory: &Directory, kind: DirectoryKind, device: u64) -> rustix::io::Result<Option<PathBuf>> {
    for (number, name) in directory.names_in_it()?.enumerate() {
        let name = name?;
        let name = OsStr::from_bytes(&name);
        if !is_file_name(name) {
            continue;
        }
        let Some(stat) = directory.look(name)? else { continue };
        let found = match type_of(&stat) {
            FileType::Directory => match kind.directory(name.as_bytes()) {
                Some(below) if stat.st_dev == device => stranger(&directory.enter(name)?, below, device)?,
                _ => Some(directory.join(name)),
            },
            FileType::RegularFile if kind.may_hold_file(name.as_bytes()) => None,
            FileType::Socket if kind == DirectoryKind::Tree && name.as_bytes().starts_with(b"localhost:") => {
                None
            }
            _ => Some(directory.join(name)),
        };
        if found.is_some() || number > ENTRIES_MAX {
            return Ok(found.or_else(|| Some(directory.join(name))));
        }
    }
    Ok(None)
}

fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl DirectoryKind {
    /// The kind of the directory `name` in it; `None` where this program's trees have none of that name.
    fn directory(self, name: &[u8]) -> Option<Self> {
        match (self, name) {
            (Self::Tree | Self::DataDirectory, name) if name == MEMBER.as_bytes() => Some(Self::Member),
            (Self::Drilled, name) if name == MEMBER.as_bytes() => Some(Self::DrilledMember),
            (Self::Tree, name) if is_of_drill(name) => Some(Self::Drilled),
            (Self::Tree, _) => Some(Self::DataDirectory),
            (Self::Member, name) if name == SNAPSHOT_DIRECTORY.as_bytes() => Some(Self::Snapshots),
            (Self::Member, name) if name == LOG_DIRECTORY.as_bytes() => Some(Self::Log),
            (Self::DrilledMember, name) if name == SNAPSHOT_DIRECTORY.as_bytes() => {
                Some(Self::DrilledSnapshots)
            }
            (Self::DrilledMember, name) if name == LOG_DIRECTORY.as_bytes() => Some(Self::DrilledLog),
            _ => None,
        }
    }

    fn may_hold_file(self, name: &[u8]) -> bool {
        match self {
            // The directory of a log, the archive and database that a drill saves again, and the output of its members.
            Self::Tree => {
                [UNFINISHED, MARKER, "RESTORE.txt", "again.age", "again.db"]
                    .map(str::as_bytes)
                    .contains(&name)
                    || is_first_log(name)
                    || name.strip_suffix(b".log").is_some_and(is_of_drill)
            }
            Self::DataDirectory => name == b"RESTORE.txt",
            Self::Drilled => [&b"RESTORE.txt"[..], TOUCHED].contains(&name),
            Self::Member => false,
            Self::DrilledMember => name == TOUCHED,
            Self::Snapshots => name == b"db" || is_first_snapshot(name),
            Self::Log => is_first_log(name),
            Self::DrilledSnapshots => {
                let endings: [&[u8]; 3] = [b".snap", b".snap.db", b".snap.broken"];
                [&b"db"[..], TOUCHED].contains(&name)
                    || name.starts_with(b"db.tmp")
                    || name.starts_with(b"tmp")
                    || endings.iter().any(|ending| name.ends_with(ending))
            }
            Self::DrilledLog => {
                let endings: [&[u8]; 3] = [b".wal", b".tmp", b".wal.broken"];
                name == TOUCHED || endings.iter().any(|ending| name.ends_with(ending))
            }
        }
    }
}

/// Whether `name` is that of a member of a drill, or of one moved aside: `m1`, `m1.aside`.
fn is_of_drill(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".aside").unwrap_or(name);
    name.strip_prefix(b"m").is_some_and(|number| matches!(number, [b'1'..=b'9']))
}

/// Whether `name` is that of the first file of a log: only zeros. After an etcd has run, there are later ones beside it.
fn is_first_log(name: &[u8]) -> bool {
    name.strip_suffix(b".wal").is_some_and(|name| name.iter().all(|byte| b"0-".contains(byte)))
}

/// Whether `name` is that of the raft snapshot of a restored member, which is of the first term.
fn is_first_snapshot(name: &[u8]) -> bool {
    name.strip_suffix(b".snap").is_some_and(|name| name.starts_with(b"0000000000000001-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn stranger_among(files: &[&str]) -> Option<PathBuf> {
        let place = tempfile::tempdir().unwrap();
        for file in files {
            let path = place.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if file.ends_with('/') { fs::create_dir_all(path).unwrap() } else { fs::write(path, "").unwrap() }
        }
        let found = stranger_in(&Directory::open(place.path()).unwrap()).unwrap();
        found.map(|path| path.strip_prefix(place.path()).unwrap().to_owned())
    }

    const LOG: &str = "0000000000000000-0000000000000000.wal";

    #[test]
    fn what_a_restore_and_a_drill_leave_is_known() {
        for files in [
            &[][..],
            &["member/"],
            &["member/snap/db", "member/snap/0000000000000001-0000000000000003.snap"],
            &[&format!("member/wal/{LOG}")],
            &[LOG, MARKER],
            &["prod-1/RESTORE.txt", "prod-1/member/snap/db", &format!("prod-2/member/wal/{LOG}")],
            &["m1.log", "again.age", "again.db", "m1.aside/member/snap/db", "m3/member/wal/0.tmp"],
            &["m2/member/snap/0000000000000002-0000000000002711.snap", "m2/member/snap/db.tmp.123"],
        ] {
            assert_eq!(stranger_among(files), None, "{files:?}");
        }
    }

    #[test]
    fn what_holds_no_mark_of_being_unfinished_is_in_doubt() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let doubt = || doubt_of(&Directory::open(place.path()).unwrap()).unwrap();
        assert_eq!(doubt(), None);
        fs::create_dir_all(path("member/snap")).unwrap();
        assert!(doubt().unwrap().contains("may be complete"));
        fs::create_dir(path(UNFINISHED)).unwrap();
        assert!(doubt().unwrap().contains("may be complete"));
        fs::remove_dir(path(UNFINISHED)).unwrap();
        fs::write(path(UNFINISHED), "").unwrap();
        assert_eq!(doubt(), None);
        fs::write(path("member/notes"), "").unwrap();
        assert!(doubt().unwrap().ends_with("member/notes, which no run of etcd-seal makes"));
    }

    #[test]
    fn what_another_program_has_made_is_named() {
        for (files, stranger) in [
            (&["prod-1.age"][..], "prod-1.age"),
            (&["db"], "db"),
            (&["member/snap/db", "member/notes"], "member/notes"),
            (&["backups/prod.age"], "backups/prod.age"),
            (&["d/d/d/d/"], "d/d"),
            (&["member/member/snap/db"], "member/member"),
            (&["member/wal/0.tmp"], "member/wal/0.tmp"),
            (
                &["member/snap/0000000000000002-0000000000002711.snap"],
                "member/snap/0000000000000002-0000000000002711.snap",
            ),
        ] {
            assert_eq!(stranger_among(files).as_deref(), Some(Path::new(stranger)), "{files:?}");
        }
    }
}
