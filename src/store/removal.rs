//! Removes a directory with all that is in it: through descriptors, following no link, at any depth.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use super::directory::{Directory, is_directory, is_file_name, is_same};

/// A directory on the way down to the one that is being emptied.
struct Level {
    /// The directory itself, to be known again on the way up.
    stat: Stat,
    /// Directories in it that are still to be removed; the one being emptied is the last.
    pending: Vec<OsString>,
}

impl Directory {
    /// Removes the directory `name` and all that is in it, following no link and entering no other filesystem; nothing
    /// there is fine. As much as possible goes, whatever one entry does.
    ///
    /// One descriptor is open at a time, however deep the tree is: the way up leads through `..`, and every directory must be
    /// the one that was left, so that a directory that is moved meanwhile leads nowhere else.
    pub(super) fn remove_tree(&self, name: &OsStr) -> rustix::io::Result<()> {
        let mut at = match self.enter(name) {
            Ok(tree) => tree,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        let device = stat_of(&at)?.st_dev;
        let mut removed = Ok(());
        let mut levels = vec![Level { stat: stat_of(&at)?, pending: empty(&at, &mut removed)? }];
        while let Some(level) = levels.last() {
            if let Some(name) = level.pending.last() {
                match enter_on(&at, name, device) {
                    Ok(child) => {
                        at = child;
                        let level = Level { stat: stat_of(&at)?, pending: empty(&at, &mut removed)? };
                        levels.push(level);
                    }
                    Err(error) => {
                        removed = removed.and(if error == Errno::NOENT { Ok(()) } else { Err(error) });
                        levels.last_mut().and_then(|level| level.pending.pop());
                    }
                }
                continue;
            }
            levels.pop();
            let Some(above) = levels.last_mut() else { break };
            at = leave(&at, &above.stat)?;
            if let Some(name) = above.pending.pop() {
                removed = removed.and(remove_empty(&at, &name));
            }
        }
        removed?;
        remove_empty(self, name)
    }
}

/// Removes everything in `directory` but directories, and returns the names of those.
fn empty(directory: &Directory, removed: &mut rustix::io::Result<()>) -> rustix::io::Result<Vec<OsString>> {
    let mut directories = Vec::new();
    for name in directory.names_in_it()? {
        let name = name?;
        let name = OsStr::from_bytes(&name);
        if !is_file_name(name) {
            continue;
        }
        let gone = match directory.look(name) {
            Ok(Some(stat)) if is_directory(&stat) => {
                directories.push(name.to_owned());
                Ok(())
            }
            Ok(Some(_)) => directory.remove(name),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        *removed = removed.and(gone);
    }
    Ok(directories)
}

fn enter_on(directory: &Directory, name: &OsStr, device: u64) -> rustix::io::Result<Directory> {
    // The path is for messages, which name the tree: one that grew with every level would cost its square.
    let child = Directory::of(directory.path().to_owned(), directory.open_directory(name)?);
    if stat_of(&child)?.st_dev == device { Ok(child) } else { Err(Errno::XDEV) }
}

/// The directory above, if it is still `expected`.
fn leave(directory: &Directory, expected: &Stat) -> rustix::io::Result<Directory> {
    let file = directory.open_directory(OsStr::new(".."))?;
    let above = Directory::of(directory.path().to_owned(), file);
    // Otherwise it was moved, and what lies above it now is not part of the tree.
    if is_same(&stat_of(&above)?, expected) { Ok(above) } else { Err(Errno::STALE) }
}

fn remove_empty(directory: &Directory, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory.file(), name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn stat_of(directory: &Directory) -> rustix::io::Result<Stat> {
    rustix::fs::fstat(directory.file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_of_any_depth_goes_with_few_descriptors_and_little_stack() {
        let place = tempfile::tempdir().unwrap();
        let base = Directory::open(place.path()).unwrap();
        base.create_directory(OsStr::new("tree")).unwrap();
        let mut at = base.enter(OsStr::new("tree")).unwrap();
        for _ in 0..5000 {
            at.create_directory(OsStr::new("d")).unwrap();
            at = Directory::of("d".into(), at.open_directory(OsStr::new("d")).unwrap());
        }
        drop(at.create_new(OsStr::new("file")).unwrap());
        let small = std::thread::Builder::new().stack_size(64 * 1024);
        let removing = small.spawn(move || base.remove_tree(OsStr::new("tree"))).unwrap();
        removing.join().unwrap().unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_link_leads_to_stays() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("tree/a/b")).unwrap();
        fs::create_dir(place.path().join("precious")).unwrap();
        fs::write(place.path().join("precious/file"), "mine").unwrap();
        for link in ["tree/link", "tree/a/b/link"] {
            std::os::unix::fs::symlink(place.path().join("precious"), place.path().join(link)).unwrap();
        }
        let base = Directory::open(place.path()).unwrap();
        base.remove_tree(OsStr::new("tree")).unwrap();
        assert!(!place.path().join("tree").exists());
        assert!(place.path().join("precious/file").exists());
        base.remove_tree(OsStr::new("tree")).unwrap();
    }
}
