//! Temporary directories: private, locked while they are written, removed when they are dropped.
//!
//! A tree lies where a rename can publish it: in the directory that will contain its entries, or beside the directory it
//! will become.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, RenameFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::directory::{Directory, is_directory, is_file_name, is_same, meddled};
use super::layout::UNFINISHED;
use super::removal::remove_empty;
use super::shape::doubt_of;
use super::space::free_space_of;
use super::stale::{Unfinished, remove_beside, try_lock};
use super::temporary::{ATTEMPTS, deregister, is_random, random_name, register};
use crate::error::{Error, Kind, Result};

const PREFIX: &str = ".etcd-seal-restore-";

/// Whether `name` is one that a [`Tree`] has before it is published.
pub(super) fn is_tree_name(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes()).is_some_and(is_random)
}

/// The owner of what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// A locked directory under a temporary name; removed on drop unless published.
#[derive(Debug)]
pub(super) struct Tree {
    /// The directory that contains it.
    base: Arc<Directory>,
    name: OsString,
    /// Shared with the function that removes it when the process must exit.
    file: Arc<File>,
    locked: bool,
    named: bool,
    /// The owner once it is published. What a killed run has left may already belong to this owner.
    owner: Option<Owner>,
}

impl Tree {
    /// Creates it empty in `base`, for this user alone, and removes what killed runs have left there.
    pub(super) fn create(base: &Arc<Directory>, owner: Option<Owner>) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let name = random_name(PREFIX, "")?;
            match base.create_directory(&name) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(base.creation_failed(error)),
            }
            register(base, &name, remove_empty);
            let prepared = base.open_created(&name).map(|file| {
                let (locked, file) = (try_lock(&file).is_ok(), Arc::new(file));
                Self { base: Arc::clone(base), name: name.clone(), file, locked, named: true, owner }
            });
            let tree = prepared.map_err(|error| {
                deregister(&name);
                // This tree is empty; one that is not empty is another user's.
                let _ = base.remove_directory(&name);
                error.into_error("prepare", &base.join(&name), &base.join(&name))
            })?;
            tree.register();
            if base.names(&tree.name, &tree.file) == Ok(true) {
                tree.mark_unfinished().map_err(|error| base.creation_failed(error))?;
                remove_beside(&tree);
                return Ok(tree);
            }
        }
        let message = format!("{ATTEMPTS} directories in a row were taken by others");
        Err(Error::io("create a directory in", base.path().display(), io::Error::other(message)))
    }

    /// Creates the file by which a later run recognises a leftover.
    fn mark_unfinished(&self) -> rustix::io::Result<()> {
        self.itself()?.create_to_read(OsStr::new(UNFINISHED)).map(drop)
    }

    /// Removes that file durably: from then on the tree is complete.
    fn mark_finished(&self) -> Result<()> {
        let unfinished = OsStr::new(UNFINISHED);
        let failed = |error: Errno| Error::io("remove", self.path().join(unfinished).display(), error.into());
        let itself = self.itself().map_err(failed)?;
        itself.remove(unfinished).map_err(failed)?;
        itself.sync()
    }

    /// The directory that contains it.
    pub(super) fn base(&self) -> &Arc<Directory> {
        &self.base
    }

    /// Its own descriptor.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Its path under its temporary name.
    pub(super) fn path(&self) -> PathBuf {
        self.base.path().join(&self.name)
    }

    /// Creates a file in it, readable and writable, with its parent directories. A user who can rename entries of the base
    /// cannot make it create anything elsewhere, because it uses the descriptor of the tree.
    pub(super) fn create_file(&self, path: &Path) -> Result<File> {
        let failed = |error: Errno| Error::io("create", self.path().join(path).display(), error.into());
        let name = path.file_name().ok_or_else(|| failed(Errno::INVAL))?;
        let mut directory = self.itself().map_err(failed)?;
        for name in path.parent().into_iter().flatten() {
            directory = directory.enter_or_create(name).map_err(|error| {
                error.into_error("create", &self.path().join(path), &directory.join(name))
            })?;
        }
        directory.create_to_read(name).map_err(failed)
    }

    /// The tree as a directory, under its temporary name.
    pub(super) fn itself(&self) -> rustix::io::Result<Directory> {
        self.file
            .try_clone()
            .map(|file| Directory::of(self.path(), file))
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// The metadata of its entry `name`.
    pub(super) fn look(&self, name: &OsStr) -> Result<Stat> {
        let looked =
            self.itself().and_then(|itself| itself.look(name)).and_then(|stat| stat.ok_or(Errno::NOENT));
        looked.map_err(|error| Error::io("look at", self.path().join(name).display(), error.into()))
    }

    /// Free bytes on its filesystem; [`u64::MAX`] on one that does not report its size.
    pub(super) fn free_space(&self) -> Result<u64> {
        free_space_of(&self.file, &self.path())
    }

    /// Whether both lie on the same filesystem.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let device = |file: &File| rustix::fs::fstat(file).map(|stat| stat.st_dev).ok();
        device(&self.file) == device(&other.file)
    }

    /// Makes everything in it durable, from the leaves to the tree, and gives it to its owner: with `whole`, for a tree that
    /// is published itself, the tree too; otherwise only its contents.
    pub(super) fn seal(&self, whole: bool) -> Result<()> {
        let itself = self.itself();
        let itself = itself.map_err(|error| Error::io("sync", self.path().display(), error.into()))?;
        let maker = rustix::fs::fstat(itself.file());
        let maker = maker.map_err(|error| Error::io("look at", self.path().display(), error.into()))?.st_uid;
        seal_entries(&itself, maker, self.owner)?;
        if whole {
            give(itself.file(), self.owner, itself.path())?;
        }
        itself.sync()
    }

    /// The tree as a directory at `path`, for what was published with it.
    pub(super) fn directory_at(&self, path: PathBuf) -> Result<Directory> {
        let file = self.file.try_clone();
        file.map(|file| Directory::of(path, file))
            .map_err(|error| Error::io("open", self.path().display(), error))
    }

    /// Refuses to publish where another process has put another directory in its place.
    pub(super) fn check_in_place(&self) -> Result<()> {
        self.base.check_in_place()?;
        if self.base.names(&self.name, &self.file) == Ok(true) {
            return Ok(());
        }
        Err(meddled(format!("{} was moved or replaced meanwhile", self.path().display())))
    }

    /// Renames its entry `entry` to the same name in `to`, which must be free there; returns the entry's metadata.
    pub(super) fn publish_entry(&self, entry: &OsStr, to: &Directory) -> Result<Stat> {
        let published = self.look(entry)?;
        let renamed = rename_without_replacing(&self.file, entry, to, entry);
        renamed.map_err(|error| publishing_failed(to, entry, error))?;
        Ok(published)
    }

    /// Takes its entry `entry`, which was `published`, back from the name `name` in `from`. It leaves alone another file
    /// that has got that name, since this tree is going to be removed.
    pub(super) fn take_back(
        &mut self,
        entry: &OsStr,
        from: &Directory,
        name: &OsStr,
        published: &Stat,
    ) -> rustix::io::Result<()> {
        let itself = self.itself()?;
        // Removes nothing in the tree until it is known which file was taken back.
        deregister(&self.name);
        let taken = move_back(from, name, &itself, entry, published);
        let is_ours =
            itself.look(entry).is_ok_and(|found| found.is_none_or(|found| is_same(&found, published)));
        self.register_again(is_ours);
        taken
    }

    /// Exchanges its entry `entry` for the one of that name in `with`, which must be the file `expected`, in one step. Any
    /// other file gets its name back.
    pub(super) fn exchange_entry(
        &mut self,
        entry: &OsStr,
        with: &Directory,
        expected: &Stat,
    ) -> rustix::io::Result<()> {
        let itself = self.itself()?;
        let own = itself.look(entry)?.ok_or(Errno::NOENT)?;
        let holds = |file: &Stat| {
            itself.look(entry).is_ok_and(|found| found.is_some_and(|found| is_same(&found, file)))
        };
        // Removes nothing in the tree until it is known which file came.
        deregister(&self.name);
        let mut exchanged = exchange(&itself, entry, with, entry);
        if exchanged.is_ok() && !holds(expected) {
            exchanged = exchange(&itself, entry, with, entry).and(Err(Errno::STALE));
        }
        self.register_again(holds(expected) || holds(&own));
        exchanged
    }

    /// Registers it for removal at exit again; a tree that holds another user's file is never removed.
    fn register_again(&mut self, is_ours: bool) {
        if !is_ours {
            tracing::warn!("{} stays: it holds what another user has put there", self.path().display());
            self.named = false;
        } else if self.named {
            self.register();
        }
    }

    /// Renames the tree to `to` beside it, which must be free or an empty directory. A process killed just before that
    /// leaves a complete tree under its temporary name, which no later run removes.
    pub(super) fn publish(&mut self, to: &OsStr) -> Result<()> {
        self.mark_finished()?;
        let base = self.base.file();
        let renamed = match rustix::fs::renameat(base, &*self.name, base, to) {
            Err(Errno::NOTEMPTY) => Err(Errno::EXIST),
            other => other,
        };
        renamed.map_err(|error| publishing_failed(&self.base, to, error))?;
        self.forget();
        Ok(())
    }

    /// Takes the tree back from the name `from`, unless another directory has got that name.
    pub(super) fn unpublish(&mut self, from: &OsStr) -> rustix::io::Result<()> {
        let own = rustix::fs::fstat(&self.file)?;
        move_back(&self.base, from, &self.base, &self.name, &own)?;
        self.named = true;
        self.register();
        self.mark_unfinished()
    }

    /// Removes it with its remaining contents, and nothing that has got its name meanwhile.
    pub(super) fn remove(&mut self) -> rustix::io::Result<()> {
        if self.named {
            self.base.remove_tree(&self.name, &self.file)?;
            self.forget();
        }
        Ok(())
    }

    /// Registers it for removal if the process must exit.
    fn register(&self) {
        let file = Arc::clone(&self.file);
        register(&self.base, &self.name, move |base, name| base.remove_tree(name, &file));
    }

    fn forget(&mut self) {
        self.named = false;
        deregister(&self.name);
    }
}

/// Exchanges two names in one step.
pub(super) fn exchange(
    one: &Directory,
    name: &OsStr,
    other: &Directory,
    other_name: &OsStr,
) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(one.file(), name, other.file(), other_name, RenameFlags::EXCHANGE)
}

/// Renames from one directory into another, where the name must be free.
pub(super) fn rename_without_replacing(
    from: &File,
    name: &OsStr,
    to: &Directory,
    new_name: &OsStr,
) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(from, name, to.file(), new_name, RenameFlags::NOREPLACE) {
        // A filesystem without rename flags: a rename could replace only an empty directory or a file, and there was none.
        Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => match to.look(new_name)? {
            None => rustix::fs::renameat(from, name, to.file(), new_name),
            Some(_) => Err(Errno::EXIST),
        },
        other => other,
    }
}

/// Moves the file `expected` from one name to another, which must be free. Any other file that has got the first name stays,
/// or is moved out again: under that name or, where that is taken by then, under one beside it.
pub(super) fn move_back(
    from: &Directory,
    name: &OsStr,
    to: &Directory,
    new_name: &OsStr,
    expected: &Stat,
) -> rustix::io::Result<()> {
    let is_at = |directory: &Directory, name: &OsStr| {
        let found = directory.look(name)?;
        Ok::<_, Errno>(found.is_some_and(|found| is_same(&found, expected)))
    };
    if !is_at(from, name)? {
        return Err(Errno::STALE);
    }
    rename_without_replacing(from.file(), name, to, new_name)?;
    // From now on no other user can exchange it, if only this user can write `to`.
    if is_at(to, new_name)? { Ok(()) } else { move_out(to, new_name, from, name).and(Err(Errno::STALE)) }
}

/// Moves a file of another user out again.
fn move_out(from: &Directory, name: &OsStr, to: &Directory, old_name: &OsStr) -> rustix::io::Result<()> {
    let mut free = old_name.to_owned();
    for _ in 0..ATTEMPTS {
        match rename_without_replacing(from.file(), name, to, &free) {
            Err(Errno::EXIST) => free = random_name("not-of-etcd-seal-", "").map_err(|_| Errno::IO)?,
            Ok(()) => {
                tracing::warn!("{} is not what was put there, and stays", to.join(&free).display());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}

fn publishing_failed(directory: &Directory, name: &OsStr, error: Errno) -> Error {
    let path = directory.join(name);
    match error {
        Errno::EXIST => Error::new(Kind::DestinationExists, format!("{} exists already", path.display()))
            .with_hint(
                "another program or user has made it meanwhile; look what it is before you run this again",
            ),
        error => Error::io("publish", path.display(), error.into()),
    }
}

/// Seals everything in `directory`. It follows no link, and refuses a file that is not `maker`'s own or has a second name:
/// sealing would give that file away.
fn seal_entries(directory: &Directory, maker: u32, owner: Option<Owner>) -> Result<()> {
    let failed = |path: &Path, error: Errno| Error::io("sync", path.display(), error.into());
    let unreadable = |error| failed(directory.path(), error);
    for name in directory.names_in_it().map_err(unreadable)? {
        let name = name.map_err(unreadable)?;
        let name = OsStr::from_bytes(&name);
        let path = directory.join(name);
        match directory.look(name).map_err(unreadable)? {
            Some(stat) if is_file_name(name) && is_directory(&stat) => {
                let directory = directory.enter(name).map_err(|error| failed(&path, error))?;
                check_made_by(maker, directory.file(), &path)?;
                seal_entries(&directory, maker, owner)?;
                give(directory.file(), owner, &path)?;
                directory.sync()?;
            }
            Some(_) if is_file_name(name) => {
                let file = directory.open_for_reading(name).map_err(|error| failed(&path, error))?;
                check_made_by(maker, &file, &path)?;
                give(&file, owner, &path)?;
                file.sync_all().map_err(|error| Error::io("sync", path.display(), error))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what another user has put there, including a second name of another user's file.
fn check_made_by(maker: u32, file: &File, path: &Path) -> Result<()> {
    let stat = rustix::fs::fstat(file);
    let stat = stat.map_err(|error| Error::io("look at", path.display(), error.into()))?;
    if stat.st_uid == maker && (is_directory(&stat) || stat.st_nlink <= 1) {
        return Ok(());
    }
    Err(meddled(format!("{} was put there by another user meanwhile", path.display())))
}

/// Gives the file or directory to `owner`, if there is one.
fn give(file: &File, owner: Option<Owner>, path: &Path) -> Result<()> {
    let Some(Owner { user, group }) = owner else { return Ok(()) };
    let given = rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    given.map_err(|error| {
        let failure = Error::io("change the owner of", path.display(), error.into());
        if error == Errno::PERM { failure.with_hint("`owner` needs root") } else { failure }
    })
}

impl Unfinished for Tree {
    const FILE_TYPE: FileType = FileType::Directory;

    fn is_name(name: &[u8]) -> bool {
        is_tree_name(name)
    }

    /// The owner of the parent directory, too: a restore may have been asked to give everything to that user.
    fn owners(&self) -> rustix::io::Result<Vec<u32>> {
        let around = rustix::fs::fstat(self.base.file())?.st_uid;
        Ok(self.owner.map(|owner| owner.user).into_iter().chain([around]).collect())
    }

    fn doubt(&self, name: &OsStr, file: &File) -> rustix::io::Result<Option<String>> {
        let file = file.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        doubt_of(&Directory::of(self.base.join(name), file))
    }

    fn open(directory: &Directory, name: &OsStr) -> rustix::io::Result<File> {
        directory.open_directory(name)
    }

    fn remove(directory: &Directory, name: &OsStr, file: &File) -> rustix::io::Result<()> {
        directory.remove_tree(name, file)
    }

    fn directory(&self) -> &Directory {
        &self.base
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

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(path = %self.path().display(), %error, "cannot remove a temporary; a later run will");
            self.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::local::temporary::abandon;
    use std::fs;

    /// A place where another user can rename everything, with a directory of this user's there.
    struct Scene {
        place: tempfile::TempDir,
        base: Arc<Directory>,
    }

    impl Scene {
        fn new() -> Self {
            use std::os::unix::fs::PermissionsExt;
            let place = tempfile::tempdir().unwrap();
            fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
            fs::create_dir(place.path().join("precious")).unwrap();
            fs::write(place.path().join("precious/file"), "mine").unwrap();
            let base = Arc::new(Directory::open(place.path()).unwrap());
            Self { place, base }
        }

        fn path(&self, name: impl AsRef<Path>) -> PathBuf {
            self.place.path().join(name)
        }

        /// A tree with a file in it.
        fn tree(&self) -> Tree {
            let tree = Tree::create(&self.base, None).unwrap();
            drop(tree.create_file(Path::new("member/snap/db")).unwrap());
            tree
        }

        /// Does what the other user can: gives the name to this user's other directory.
        fn swap(&self, name: &OsStr) {
            fs::rename(self.path(name), self.path("moved")).unwrap();
            fs::rename(self.path("precious"), self.path(name)).unwrap();
        }

        fn assert_kept(&self, name: &OsStr) {
            assert_eq!(fs::read(self.path(name).join("file")).unwrap(), b"mine");
        }
    }

    #[test]
    fn what_has_got_its_name_stays_when_it_is_dropped() {
        let scene = Scene::new();
        let tree = scene.tree();
        let name = tree.name.clone();
        scene.swap(&name);
        drop(tree);
        scene.assert_kept(&name);
        assert_eq!(fs::read_dir(scene.path("moved")).unwrap().count(), 0);
    }

    #[test]
    fn what_has_got_its_name_stays_when_the_process_must_exit() {
        let scene = Scene::new();
        let tree = scene.tree();
        let name = tree.name.clone();
        scene.swap(&name);
        abandon(|abandoned| abandoned == name);
        scene.assert_kept(&name);
        assert_eq!(fs::read_dir(scene.path("moved")).unwrap().count(), 0);
    }

    #[test]
    fn what_has_got_the_name_of_what_was_published_stays() {
        let scene = Scene::new();
        let mut tree = scene.tree();
        let member = OsStr::new("member");
        let published = tree.publish_entry(member, &scene.base).unwrap();
        scene.swap(member);
        assert_eq!(tree.take_back(member, &scene.base, member, &published), Err(Errno::STALE));
        drop(tree);
        scene.assert_kept(member);
    }

    #[test]
    fn what_gets_it_at_the_last_moment_is_moved_out_again() {
        let scene = Scene::new();
        let tree = scene.tree();
        let (itself, member) = (tree.itself().unwrap(), OsStr::new("member"));
        let published = tree.publish_entry(member, &scene.base).unwrap();
        scene.swap(member);
        // The swap happens after the check and before the move.
        rename_without_replacing(scene.base.file(), member, &itself, member).unwrap();
        assert!(!is_same(&itself.look(member).unwrap().unwrap(), &published));
        fs::create_dir(scene.path(member)).unwrap();
        move_out(&itself, member, &scene.base, member).unwrap();
        assert_eq!(itself.look(member).map(|found| found.is_none()), Ok(true));
        drop(tree);
        let names = fs::read_dir(scene.place.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut kept = names.filter(|name| name.as_bytes().starts_with(b"not-of-etcd-seal-"));
        scene.assert_kept(&kept.next().unwrap());
    }

    #[test]
    fn a_tree_that_was_replaced_under_its_own_name_is_not_taken_back() {
        let scene = Scene::new();
        let mut tree = scene.tree();
        let published = OsStr::new("data");
        tree.publish(published).unwrap();
        scene.swap(published);
        assert_eq!(tree.unpublish(published), Err(Errno::STALE));
        drop(tree);
        scene.assert_kept(published);
        assert!(scene.path("moved/member/snap/db").exists());
        assert!(!scene.path("moved").join(UNFINISHED).exists());
    }

    #[test]
    fn what_another_user_has_put_into_it_is_never_given_away() {
        let scene = Scene::new();
        let tree = scene.tree();
        tree.seal(true).unwrap();
        let planted = tree.path().join("member/zz");
        fs::hard_link(scene.path("precious/file"), &planted).unwrap();
        let error = tree.seal(true).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.to_string().ends_with("zz was put there by another user meanwhile"), "{error}");
        fs::remove_file(&planted).unwrap();
        if !crate::store::local::may_give_files_away() {
            return;
        }
        for planted in ["member/zz", "member/snap"] {
            let planted = tree.path().join(planted);
            if !planted.exists() {
                fs::write(&planted, "theirs").unwrap();
            }
            std::os::unix::fs::chown(&planted, Some(1234), None).unwrap();
            let error = tree.seal(true).unwrap_err();
            assert!(error.to_string().contains(" was put there by another user"), "{error}");
            std::os::unix::fs::chown(&planted, Some(0), None).unwrap();
        }
    }

    #[test]
    fn what_has_got_the_name_of_a_leftover_stays() {
        let scene = Scene::new();
        let name = OsStr::new(".etcd-seal-restore-0000000000000001");
        fs::create_dir_all(scene.path(name).join("member/snap")).unwrap();
        let leftover = scene.base.open_directory(name).unwrap();
        // The swap happens after the last check.
        scene.swap(name);
        <Tree as Unfinished>::remove(&scene.base, name, &leftover).unwrap();
        scene.assert_kept(name);
    }
}
