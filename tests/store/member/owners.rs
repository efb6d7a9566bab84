//! Root restores where other users can write, and gives away what it restores.

use super::{LOG, Scene, TEMPORARY, UNFINISHED};
use etcd_seal::low_level::interrupt::Interrupt;
use etcd_seal::low_level::store::member::{MemberPlace, Owner};
use harness::process::mode;
use harness::{needs, say, skip};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// A user who is neither root nor the one who runs the tests.
const OTHER: u32 = 1234;

impl Scene {
    /// Makes a directory that belongs to another user.
    fn make_foreign(&self, name: &str) {
        chown(self.make_directory(name), Some(OTHER), Some(OTHER)).unwrap();
    }

    fn link(&self, target: &str, name: &str) {
        symlink(self.path(target), self.path(name)).unwrap();
    }
}

#[test]
fn an_owner_gets_all_of_it() {
    let scene = Scene::new();
    needs!(skip::is_root("only root can give files away"));
    scene.restore("given").args(["--owner", "1234:1235", "--wal-dir", "given-log"]).succeed();
    for directory in ["given", "given-log"] {
        for path in std::iter::once(PathBuf::new()).chain(scene.files(directory).into_keys()) {
            let metadata = fs::metadata(scene.path(directory).join(&path)).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (1234, 1235), "{directory}/{}", path.display());
        }
    }
}

/// A user who may write where the member will be cannot slip anything into it, nor have anything else given away.
#[test]
fn what_is_moved_while_it_is_made_is_not_published() {
    let scene = Scene::new();
    let data_dir = scene.make_directory("data");
    let place =
        MemberPlace { data_dir: data_dir.clone(), wal_dir: None, replace: None, owner: None, log_name: LOG };
    let unpublished = place.begin().unwrap();
    let name = scene.names("data").remove(0);
    fs::rename(data_dir.join(&name), data_dir.join("moved")).unwrap();
    symlink(scene.make_directory("planted"), data_dir.join(&name)).unwrap();
    drop(unpublished.create_snapshot("db").unwrap());
    drop(unpublished.create_log(LOG).unwrap());
    assert_eq!(scene.names("planted"), [""; 0]);
    assert!(data_dir.join("moved/member/snap/db").exists());
    unpublished.publish(&Interrupt::new()).unwrap_err();
    assert!(!data_dir.join("member").exists());
}

/// Killed after it has given everything away, root's run is still cleaned up by the next.
#[test]
fn a_leftover_that_was_given_away_is_removed_by_root() {
    let scene = Scene::new();
    needs!(skip::is_root("only root can give files away"));
    let leftover = format!("data/{TEMPORARY}0123456789abcdef");
    scene.make_directory(format!("{leftover}/member/snap"));
    scene.plant(&format!("{leftover}/{UNFINISHED}"), "");
    scene.program("chown").args(["-R", "1234:1234", &leftover]).succeed();
    scene.age_leftovers();
    scene.restore("data").args(["--owner", "1234:1234"]).succeed();
    assert_eq!(scene.names("data"), ["member"]);
}

/// A user who can write where a link stands would choose where root writes.
#[test]
fn a_link_that_another_user_may_have_made_is_refused_and_one_of_root_s_is_followed() {
    let scene = Scene::new();
    needs!(skip::is_root("only root can act in the directory of another user"));
    scene.make_foreign("theirs");
    scene.make_foreign("data");
    let victim = scene.make_directory("victim");
    let victim = victim.to_str().unwrap();
    scene.link("victim", "theirs/link");
    scene.link("victim", "data/wal");
    for words in [
        &["--data-dir", "theirs/link"][..],
        &["--data-dir", "theirs/link/"],
        &["--data-dir", "theirs/link/below"],
        &["--data-dir", "data", "--wal-dir", "data/wal"],
        &["--data-dir", "data", "--wal-dir", "data/wal", "--replace"],
        &["--data-dir", "new", "--wal-dir", "theirs/link"],
        &["--output-dir", "theirs/link", "--cluster-plan", "m1=http://10.0.0.1:2380"],
        &["-o", "theirs/link/snapshot.db"],
    ] {
        for more in [&[][..], &["-n"]] {
            let refused = scene.restore_with(words).args(more);
            let refused = refused.fails_with(2, "is a link in a directory that other users can write");
            let hint = refused.stderr.contains(victim);
            assert!(hint || words[1].ends_with("below"), "{words:?}: {refused:?}");
        }
    }
    assert_eq!(scene.names("victim"), [""; 0]);
    assert!(!scene.path("new").exists());

    // A member that is a link is looked at only where root has made it.
    scene.make_foreign("linked");
    scene.make_directory("disk/snap");
    scene.link("disk", "linked/member");
    let refused = scene.restore("linked").arg("--replace");
    refused.fails_with(2, "linked/member is a link").says("mount --bind");

    // Nor is a link of root's below a directory of another user, who can put that in the place of another.
    scene.make_directory("theirs/roots");
    scene.link("victim", "theirs/roots/link");
    scene.restore("theirs/roots/link").fails_with(2, "theirs/roots/link is a link").says(victim);

    // A chain of root's own, the last of which leads into a directory of the other user's.
    scene.make_foreign("ssd");
    scene.link("ssd", "link-1");
    symlink("link-1", scene.path("link-2")).unwrap();
    scene.restore("link-2").succeed();
    scene.assert_whole("ssd");
    scene.make_directory("roots");
    scene.make_directory("roots-disk/snap");
    scene.link("roots-disk", "roots/member");
    scene.restore("roots").arg("--replace").succeed();
    assert!(scene.names("roots")[1].starts_with("member.replaced-2"));
    assert_eq!(scene.names("roots-disk"), ["snap"]);
}

/// What ends the names of what is moved aside here.
const TIME: &str = "20261125T000000Z";

/// The owner of the directory swaps that of the log for a link, at the worst moment or at any: nothing ever lands where the
/// link leads.
#[test]
fn a_link_that_appears_at_any_moment_is_never_followed() {
    let scene = Scene::new();
    needs!(skip::is_root("only root can act in the directory of another user"));
    let (mut published, mut refused) = (0, 0);
    for round in 0..200 {
        scene.reset(&["data", "evil", "victim"]);
        for name in ["data", "data/wal", "data/member", "data/member/snap", "evil"] {
            scene.make_foreign(name);
        }
        scene.make_directory("victim");
        scene.write("data/wal/evil.wal", "evil");
        scene.write(format!("data/wal/{LOG}"), "old");
        scene.link("victim", &format!("evil/wal.replaced-{TIME}"));
        let (wal, link) = (scene.path("data/wal"), scene.path("data/link"));
        scene.link(if round % 2 == 0 { "evil" } else { "victim" }, "data/link");
        let member = scene.path("data/member");
        let (ready, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let swap = || {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            let _ = rustix::fs::renameat_with(rustix::fs::CWD, &wal, rustix::fs::CWD, &link, exchange);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                ready.store(true, Ordering::SeqCst);
                while !over.load(Ordering::SeqCst) {
                    // As soon as the old member is moved aside, or all the time.
                    if round % 4 > 1 || fs::symlink_metadata(&member).is_err() {
                        swap();
                    }
                }
            });
            while !ready.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            let place = MemberPlace {
                data_dir: scene.path("data"),
                wal_dir: Some(wal.clone()),
                replace: Some(TIME.to_owned()),
                owner: Some(Owner { user: OTHER, group: OTHER }),
                log_name: LOG,
            };
            let outcome = place.begin().and_then(|unpublished| {
                drop(unpublished.create_snapshot("db")?);
                drop(unpublished.create_log(LOG)?);
                unpublished.publish(&Interrupt::new())
            });
            over.store(true, Ordering::SeqCst);
            *if outcome.is_ok() { &mut published } else { &mut refused } += 1;
        });
        assert_eq!(scene.names("victim"), [""; 0], "round {round}");
        assert_eq!(fs::metadata(scene.path("victim")).unwrap().uid(), 0, "round {round}");
    }
    say(&format!("{published} published, {refused} refused"));
    assert!(refused > 0, "the swap never came in time");
}

/// A directory gets its name from the user who owns the one around it, who may so name what is not his to remove.
#[test]
fn what_only_has_the_name_of_a_leftover_stays_and_is_named() {
    let scene = Scene::new();
    needs!(skip::is_root("only root can act in the directory of another user"));
    for precious in ["prod.age", "member/notes", "backup/member/wal/1.wal", "d/d/d/d/d/d/d/d/x"] {
        scene.reset(&["data", "theirs"]);
        scene.make_foreign("data");
        scene.make_foreign("theirs");
        let leftover = format!("data/{TEMPORARY}0123456789abcdef");
        let path = format!("{leftover}/{precious}");
        scene.plant(&path, "precious");
        scene.age_leftovers();
        scene.restore("data").succeed().says(&leftover);
        assert_eq!(scene.read(&path), b"precious");
        // The same of files: one that root has made may have got another name.
        let file = "theirs/.etcd-seal-0123456789abcdef.tmp";
        scene.write(file, "precious");
        scene.age(file);
        scene.restore_with(&["-o", "theirs/snapshot.db"]).succeed().says(file);
        assert!(scene.path(file).exists());
    }
}

/// The old log stays readable for the users who could read it, whichever user restores and whatever the umask.
#[test]
fn an_old_log_keeps_its_owner_and_so_does_its_directory() {
    let scene = Scene::new();
    scene.plant("log/old.wal", "old");
    if skip::is_root("only root can give files away") {
        scene.program("chown").args(["-R", &format!("{OTHER}:{OTHER}"), "log"]).succeed();
    }
    scene.program("chmod").args(["750", "log"]).succeed();
    let expected = fs::metadata(scene.path("log")).unwrap();
    let words = ["--data-dir", "data", "--wal-dir", "log", "--replace"];
    scene.under_umask("0777", &words).succeed();
    let names = scene.names("log");
    let aside = names.iter().find(|name| name.starts_with("wal.replaced-2")).unwrap();
    let aside = scene.path(format!("log/{aside}"));
    let found = fs::metadata(&aside).unwrap();
    assert_eq!((found.uid(), found.gid()), (expected.uid(), expected.gid()));
    assert_eq!(mode(&aside), 0o750);
    assert_eq!(fs::metadata(aside.join("old.wal")).unwrap().uid(), expected.uid());
    assert_eq!(fs::read(aside.join("old.wal")).unwrap(), b"old");
}
