//! Removes a directory with everything in it: through descriptors, following no link, at any depth.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use super::directory::{Directory, is_directory, is_file_name, is_same};
use super::layout::UNFINISHED;
use super::walk::is_private;

/// A directory on the path to the one that is being emptied.
struct Level {
    /// The directory's metadata, to recognise it on the way up.
    stat: Stat,
    /// Directories in it that are still to be removed; the last one is being emptied.
    pending: Vec<OsString>,
}

impl Directory {
    /// Removes everything in the open directory `tree`, and then its name here, `name`.
    ///
    /// Another user may have given that name to another directory meanwhile. So the content is removed through the
    /// descriptor, wherever the tree lies by now, and the name only if it still is the tree's; the kernel removes no
    /// directory that is not empty. [`UNFINISHED`] is removed last, so that a later run recognises what a killed run has
    /// left.
    pub(super) fn remove_tree(&self, name: &OsStr, tree: &File) -> rustix::io::Result<()> {
        let file = tree.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let tree_itself = Self::of(self.join(name), file);
        tree_itself.remove_content()?;
        tree_itself.remove(OsStr::new(UNFINISHED))?;
        if self.names(name, tree)? {
            return remove_empty(self, name);
        }
        tracing::warn!(
            "{} was moved or replaced meanwhile: it is empty now, and stays where it is",
            self.join(name).display()
        );
        Ok(())
    }

    /// Removes everything in it except the file [`UNFINISHED`]. It follows no link, enters no other filesystem, and, in a
    /// directory of another user, enters no directory that is not that user's. It removes as much as possible, even if one
    /// entry fails.
    ///
    /// Only one descriptor is open at a time, however deep the tree is: the way up leads through `..`, and every directory
    /// must be the one it came from, so that a directory that is moved meanwhile leads nowhere else.
    fn remove_content(&self) -> rustix::io::Result<()> {
        let mut at = Self::of(self.path().to_owned(), self.open_directory(OsStr::new("."))?);
        let mut removed = Ok(());
        let spared = Some(OsStr::new(UNFINISHED));
        let mut levels = vec![Level { stat: stat_of(&at)?, pending: empty(&at, spared, &mut removed)? }];
        while let Some(level) = levels.last() {
            if let Some(name) = level.pending.last() {
                match enter_on(&at, name, &level.stat) {
                    Ok(child) => {
                        at = child;
                        let level = Level { stat: stat_of(&at)?, pending: empty(&at, None, &mut removed)? };
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
        removed
    }
}

/// Removes everything in `directory` except directories and the file `spared`, and returns the names of the directories.
fn empty(
    directory: &Directory,
    spared: Option<&OsStr>,
    removed: &mut rustix::io::Result<()>,
) -> rustix::io::Result<Vec<OsString>> {
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
            Ok(Some(_)) if Some(name) == spared => Ok(()),
            Ok(Some(_)) => directory.remove(name),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        *removed = removed.and(gone);
    }
    Ok(directories)
}

/// Opens the directory `name` of `directory`, whose metadata is `stat`.
fn enter_on(directory: &Directory, name: &OsStr, stat: &Stat) -> rustix::io::Result<Directory> {
    // Messages show the path of the tree: a path that grew with every level would cost the square of the depth.
    let child = Directory::of(directory.path().to_owned(), directory.open_directory(name)?);
    let entered = stat_of(&child)?;
    if entered.st_dev != stat.st_dev {
        return Err(Errno::XDEV);
    }
    // Where another user can write, that user can have moved in a directory that only this process could remove.
    if entered.st_uid == stat.st_uid || is_private(stat) { Ok(child) } else { Err(Errno::PERM) }
}

/// Opens the parent directory, if it still is `expected`.
fn leave(directory: &Directory, expected: &Stat) -> rustix::io::Result<Directory> {
    let file = directory.open_directory(OsStr::new(".."))?;
    let above = Directory::of(directory.path().to_owned(), file);
    // Otherwise the directory was moved, and its parent is not part of the tree.
    if is_same(&stat_of(&above)?, expected) { Ok(above) } else { Err(Errno::STALE) }
}

/// Removes the empty directory `name`; a missing one is no error.
pub(super) fn remove_empty(directory: &Directory, name: &OsStr) -> rustix::io::Result<()> {
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
        let tree = base.open_directory(OsStr::new("tree")).unwrap();
        let removing = small.spawn(move || base.remove_tree(OsStr::new("tree"), &tree)).unwrap();
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
        let tree = base.open_directory(OsStr::new("tree")).unwrap();
        base.remove_tree(OsStr::new("tree"), &tree).unwrap();
        assert!(!place.path().join("tree").exists());
        assert!(place.path().join("precious/file").exists());
        base.remove_tree(OsStr::new("tree"), &tree).unwrap();
    }

    #[test]
    fn another_directory_under_the_name_stays_and_the_tree_is_emptied_where_it_is() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("tree/a/b")).unwrap();
        fs::write(path("tree/a/b/file"), "secret").unwrap();
        fs::create_dir(path("precious")).unwrap();
        fs::write(path("precious/file"), "mine").unwrap();
        let base = Directory::open(place.path()).unwrap();
        let tree = base.open_directory(OsStr::new("tree")).unwrap();
        fs::rename(path("tree"), path("moved")).unwrap();
        fs::rename(path("precious"), path("tree")).unwrap();
        base.remove_tree(OsStr::new("tree"), &tree).unwrap();
        assert_eq!(fs::read(path("tree/file")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(path("moved")).unwrap().count(), 0);
    }

    #[test]
    fn what_another_user_has_moved_into_a_directory_of_theirs_stays() {
        if !crate::store::local::may_give_files_away() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("tree/given/theirs")).unwrap();
        fs::create_dir_all(path("tree/given/precious")).unwrap();
        fs::write(path("tree/given/precious/file"), "mine").unwrap();
        for given in ["tree/given", "tree/given/theirs"] {
            std::os::unix::fs::chown(path(given), Some(1234), None).unwrap();
        }
        let base = Directory::open(place.path()).unwrap();
        let tree = base.open_directory(OsStr::new("tree")).unwrap();
        fs::write(path("tree").join(UNFINISHED), "").unwrap();
        base.remove_tree(OsStr::new("tree"), &tree).unwrap_err();
        // The rest is still recognised as a leftover.
        assert!(path("tree").join(UNFINISHED).exists());
        assert_eq!(fs::read(path("tree/given/precious/file")).unwrap(), b"mine");
        assert!(!path("tree/given/theirs").exists());
    }
}
