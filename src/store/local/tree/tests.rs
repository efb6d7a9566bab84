use super::*;
use crate::error::Kind;
use crate::store::local::directory::is_same;
use crate::store::local::rename::{move_out, rename_without_replacing};
use crate::store::local::temporary::abandon;
use std::fs;
use std::os::unix::ffi::OsStrExt;

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
