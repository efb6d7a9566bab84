//! Where a restored member appears, and that it appears whole or not at all: whatever is there before, whatever fails, and
//! whenever it is killed.

use etcd_seal::low_level::database::bolt::meta::Meta;
use etcd_seal::low_level::database::mvcc::Revision;
use etcd_seal::low_level::interrupt::Interrupt;
use etcd_seal::low_level::store::member::MemberPlace;
use harness::bolt;
use harness::program::{Program, etcd_seal};
use harness::sandbox::Sandbox;
use harness::{can, say, skip};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A snapshot, and what its restore makes.
struct Scene {
    sandbox: Sandbox,
    /// Every file of `member` but the zeros of the log.
    whole: BTreeMap<PathBuf, Vec<u8>>,
}

const LOG: &str = "0000000000000000-0000000000000000.wal";
/// What keeps etcd from a log that is not published yet.
const MARKER: &str = "ffffffffffffffff-ffffffffffffffff.wal";
/// What a directory being made holds until it is published.
const UNFINISHED: &str = ".etcd-seal-unfinished";
/// A directory being made.
const TEMPORARY: &str = ".etcd-seal-restore-";

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("snapshot.db", snapshot());
        sandbox.seal(["keygen", "-o", "key.txt"]).succeed();
        let key = fs::read_to_string(sandbox.path("key.txt")).unwrap();
        let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
        sandbox.seal(["save", "x.age", "--from", "snapshot.db", "-r", recipient]).succeed();
        let mut scene = Self { sandbox, whole: BTreeMap::new() };
        scene.restore("first").succeed();
        scene.whole = scene.files("first/member");
        assert_eq!(scene.whole.len(), 3);
        scene
    }

    fn words(directory: &str) -> [String; 6] {
        ["restore", "x.age", "-i", "key.txt", "--data-dir", directory].map(str::to_owned)
    }

    fn restore(&self, directory: &str) -> Program {
        self.sandbox.seal(Self::words(directory))
    }

    /// What lies below `directory`, by its path there.
    fn files(&self, directory: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.sandbox.path(directory);
        let mut files = BTreeMap::new();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let mut bytes = fs::read(&path).unwrap();
                    if path.ends_with(LOG) {
                        assert_eq!(bytes.len(), 64_000_000);
                        bytes.truncate(4096);
                    }
                    files.insert(path.strip_prefix(&root).unwrap().to_owned(), bytes);
                }
            }
        }
        files
    }

    fn assert_whole(&self, directory: &str) {
        assert!(self.files(&format!("{directory}/member")) == self.whole, "{directory}");
    }

    /// Nothing but an old member, with a log apart.
    fn leave_old_member(&self) {
        self.reset(&["data", "log"]);
        self.make_directory("data/member");
        self.sandbox.write("data/member/data", "old");
        self.make_directory("log");
        self.sandbox.write("log/old.wal", "old");
    }

    fn make_directory(&self, name: &str) {
        fs::create_dir_all(self.sandbox.path(name)).unwrap();
    }

    fn reset(&self, names: &[&str]) {
        for name in names {
            let path = self.sandbox.path(name);
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                fs::remove_dir_all(path).unwrap();
            } else {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// A database of etcd's shape with some hundred kilobytes of keys, and etcd's digest.
fn snapshot() -> Vec<u8> {
    let keys = (2..700).map(|main| {
        let pair = [&[0x0A, 3][..], format!("{main:03}").as_bytes(), &[0x2A, 100], &[b'v'; 100]].concat();
        (Revision { main, sub: 0 }.to_bytes().to_vec(), pair, false)
    });
    let index = (b"consistent_index".to_vec(), 700_u64.to_be_bytes().to_vec(), false);
    let old = (b"8e9e05c52164694d".to_vec(), b"{}".to_vec(), false);
    let buckets = [
        (b"key".to_vec(), keys.collect()),
        (b"members".to_vec(), vec![old]),
        (b"meta".to_vec(), vec![index]),
    ];
    let mut bytes = bolt::database(4096, &buckets);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_place_may_be_absent_empty_or_a_link_to_either() {
    let scene = Scene::new();
    scene.make_directory("empty");
    scene.make_directory("mounted/lost+found");
    scene.make_directory("elsewhere");
    symlink("elsewhere", scene.sandbox.path("link")).unwrap();
    for directory in ["absent", "absent-too/", "empty", "mounted/", "link"] {
        let told = scene.restore(directory).arg("--json").succeed().object();
        let path = Path::new(directory.trim_end_matches('/')).join("member");
        assert_eq!(told["path"].as_str().map(Path::new), Some(&*path), "{told}");
        scene.assert_whole(directory);
    }
    scene.assert_whole("elsewhere");
    let names = scene.sandbox.names(".");
    assert!(!names.iter().any(|name| name.starts_with(TEMPORARY)), "{names:?}");
}

#[test]
fn everything_is_for_its_owner_alone_whatever_the_umask() {
    let scene = Scene::new();
    let bash = |umask: &str, directory: &str| {
        let script = format!("umask {umask}; exec \"$@\"");
        let program = scene.sandbox.program("bash").args(["-c", &script, "bash", etcd_seal()]);
        program.args(Scene::words(directory)).succeed();
    };
    for umask in ["0", "0777"] {
        let directory = format!("umask-{umask}");
        bash(umask, &directory);
        let root = scene.sandbox.path(&directory);
        for inside in ["", "member", "member/snap", "member/wal"] {
            assert_eq!(mode(&root.join(inside)), 0o700, "{inside}");
        }
        for file in scene.files(&directory).keys() {
            assert_eq!(mode(&root.join(file)), 0o600, "{}", file.display());
        }
    }
}

#[test]
fn an_owner_gets_all_of_it() {
    let scene = Scene::new();
    if !skip::is_root("only root can give files away") {
        return;
    }
    scene.restore("given").args(["--owner", "1234:1235", "--wal-dir", "given-log"]).succeed();
    for directory in ["given", "given-log"] {
        let root = scene.sandbox.path(directory);
        for path in std::iter::once(PathBuf::new()).chain(scene.files(directory).into_keys()) {
            let metadata = fs::metadata(root.join(&path)).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (1234, 1235), "{directory}/{}", path.display());
        }
    }
}

#[test]
fn what_is_there_is_refused_and_stays_or_moves_aside() {
    let scene = Scene::new();
    scene.make_directory("old/member");
    scene.sandbox.write("old/member/data", "old");
    scene.make_directory("other");
    scene.sandbox.write("other/notes", "mine");
    scene.sandbox.write("file", "mine");
    symlink("nowhere", scene.sandbox.path("dangling")).unwrap();
    for (directory, code, why) in [
        ("old", 2, "old/member exists already"),
        ("other", 2, "not empty: there is \"notes\""),
        ("file", 2, "not a directory"),
        ("dangling", 2, "dangling is a link that leads to no directory"),
        ("missing/new", 2, "no directory missing"),
    ] {
        for more in [&[][..], &["-n"]] {
            let refused = scene.restore(directory).args(more).run().ends_with(code);
            assert!(refused.stderr.contains(why), "{directory}: {}", refused.stderr);
        }
    }
    assert_eq!(scene.files("old"), BTreeMap::from([("member/data".into(), b"old".to_vec())]));
    assert_eq!(scene.files("other"), BTreeMap::from([("notes".into(), b"mine".to_vec())]));

    for directory in ["old", "other"] {
        scene.restore(directory).arg("--replace").succeed();
        scene.assert_whole(directory);
    }
    assert_eq!(fs::read(scene.sandbox.path("other/notes")).unwrap(), b"mine");
    let aside = |name: &&String| name.starts_with("member.replaced-2");
    let names = scene.sandbox.names("old");
    let aside = names.iter().find(aside).unwrap();
    assert_eq!(fs::read(scene.sandbox.path(format!("old/{aside}/data"))).unwrap(), b"old");
    assert_eq!(names.len(), 2);
}

#[test]
fn a_log_apart_is_published_with_its_member() {
    let scene = Scene::new();
    scene.make_directory("log-empty/lost+found");
    for (data, log) in [("a", "log-absent"), ("b", "log-empty")] {
        scene.restore(data).args(["--wal-dir", log]).succeed();
        assert_eq!(scene.files(log).into_keys().collect::<Vec<_>>(), [PathBuf::from(LOG)]);
        assert_eq!(scene.sandbox.names(format!("{data}/member")), ["snap"]);
    }
    // That of another member is not taken, and moves aside only with it.
    scene.restore("c").args(["--wal-dir", "log-empty"]).fails_with(2, "log-empty is not empty");
    assert!(!scene.sandbox.path("c").exists());
    scene.restore("b").args(["--wal-dir", "log-empty", "--replace"]).succeed();
    let names = scene.sandbox.names("log-empty");
    assert_eq!((names.len(), &names[0][..]), (3, LOG), "{names:?}");
    assert!(names[2].starts_with("wal.replaced-2"), "{names:?}");
    // One in the other, neither could be moved aside alone.
    scene.make_directory("d/data");
    for (data, log) in [("d", "d/member/wal"), ("d/data", "d"), ("d", "d"), ("d/data", "d/data/../../d")] {
        scene.restore(data).args(["--wal-dir", log, "--replace"]).fails_with(2, "lie one in the other");
    }
    // What is no log is not moved aside as one.
    scene.make_directory("not-a-log");
    scene.sandbox.write("not-a-log/notes", "mine");
    scene.restore("e").args(["--wal-dir", "not-a-log", "--replace"]).fails_with(2, "there is \"notes\"");
    assert_eq!(scene.sandbox.names("not-a-log"), ["notes"]);
}

/// Killed after the commit, it leaves its marker. A later run may take the log for a leftover only if no etcd has used it.
#[test]
fn a_log_that_was_used_is_never_taken_for_a_leftover() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    scene.make_directory("log");
    // The first removes what marks the data directory as unfinished, the second the marker of the log.
    let restore = scene.restore("data").args(["--wal-dir", "log"]);
    assert_ne!(restore.faulty(&["unlinkat:signal=KILL:when=2"], &[]).run().code, 0);
    assert!(scene.sandbox.path("data/member").exists());
    assert!(scene.sandbox.names("log").iter().any(|name| name == MARKER));
    fs::rename(scene.sandbox.path("data/member"), scene.sandbox.path("data/member.replaced-by-hand"))
        .unwrap();
    let mut log = fs::OpenOptions::new().append(true).open(scene.sandbox.path(format!("log/{LOG}"))).unwrap();
    std::io::Write::write_all(&mut log, b"what etcd has written").unwrap();
    scene.restore("data").args(["--wal-dir", "log"]).run().ends_with(2);
    assert_eq!(log.metadata().unwrap().len(), 64_000_021);
    assert!(scene.sandbox.path(format!("log/{LOG}")).exists());
}

/// A user who may write where the member will be cannot slip anything into it, nor have anything else given away.
#[test]
fn what_is_moved_while_it_is_made_is_not_published() {
    let scene = Scene::new();
    scene.make_directory("data");
    let data_dir = scene.sandbox.path("data");
    let place =
        MemberPlace { data_dir: data_dir.clone(), wal_dir: None, replace: None, owner: None, log_name: LOG };
    let unpublished = place.begin().unwrap();
    let name = scene.sandbox.names("data").remove(0);
    fs::rename(data_dir.join(&name), data_dir.join("moved")).unwrap();
    scene.make_directory("planted");
    symlink(scene.sandbox.path("planted"), data_dir.join(&name)).unwrap();
    drop(unpublished.create_snapshot("db").unwrap());
    drop(unpublished.create_log(LOG).unwrap());
    assert_eq!(scene.sandbox.names("planted"), [""; 0]);
    assert!(data_dir.join("moved/member/snap/db").exists());
    unpublished.publish(&Interrupt::new()).unwrap_err();
    assert!(!data_dir.join("member").exists());
}

/// Killed after it has given everything away, root's run is still cleaned up by the next.
#[test]
fn a_leftover_that_was_given_away_is_removed_by_root() {
    let scene = Scene::new();
    if !skip::is_root("only root can give files away") {
        return;
    }
    scene.make_directory("data");
    let leftover = format!("data/{TEMPORARY}0123456789abcdef");
    scene.make_directory(&format!("{leftover}/member/snap"));
    scene.sandbox.write(format!("{leftover}/{UNFINISHED}"), "");
    scene.sandbox.program("chown").args(["-R", "1234:1234", &leftover]).succeed();
    age_leftovers(&scene);
    scene.restore("data").args(["--owner", "1234:1234"]).succeed();
    assert_eq!(scene.sandbox.names("data"), ["member"]);
}

/// In place of an old member, too: the old one is there once, under one name or the other, whenever it is killed.
#[test]
fn killed_while_it_replaces_it_loses_nothing() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    for call in ["fsync", "renameat,renameat2"] {
        for when in 1.. {
            scene.leave_old_member();
            let fault = format!("{call}:signal=KILL:when={when}");
            let ended =
                scene.restore("data").args(["--wal-dir", "log", "--replace"]).faulty(&[fault], &[]).run();
            let copies = |directory: &str, name: &str| {
                let found =
                    scene.sandbox.program("find").args([directory, "-type", "f", "-name", name]).succeed();
                found.text().lines().count()
            };
            assert_eq!((copies("data", "data"), copies("log", "old.wal")), (1, 1), "{call} {when}");
            if ended.code == 0 {
                break;
            }
            assert!(when < 80, "{call} is called without end");
            let new = scene.sandbox.path("data/member/snap/db").exists();
            // Nothing is half new: the new member has the new log, the old one the old.
            if new {
                assert!(scene.sandbox.path(format!("log/{LOG}")).exists(), "{call} {when}");
            } else {
                age_leftovers(&scene);
                scene.restore("data").args(["--wal-dir", "log", "--replace"]).succeed();
                assert_eq!((copies("data", "data"), copies("log", "old.wal")), (1, 1), "{call} {when}");
            }
        }
    }
}

#[test]
fn a_wrong_key_or_a_damaged_archive_leaves_nothing_and_touches_nothing() {
    let scene = Scene::new();
    scene.make_directory("old/member");
    scene.sandbox.write("old/member/data", "old");
    scene.sandbox.seal(["keygen", "-o", "other.txt"]).succeed();
    let archive = fs::read(scene.sandbox.path("x.age")).unwrap();
    let mut damaged = archive.clone();
    *damaged.last_mut().unwrap() ^= 1;
    scene.sandbox.write("damaged.age", &damaged);
    scene.sandbox.write("cut.age", &archive[..archive.len() - 20]);
    let mut wrong = snapshot();
    *wrong.last_mut().unwrap() ^= 1;
    scene.sandbox.write("wrong.db", &wrong);
    scene.sandbox.write("copied.db", &snapshot()[..wrong.len() - 32]);
    let key = ["-i", "key.txt"].as_slice();
    for (source, more, code) in [
        (&["x.age"][..], &["-i", "other.txt"][..], 12),
        (&["damaged.age"], key, 13),
        (&["cut.age"], key, 13),
        (&["missing.age"], key, 10),
        (&["--from-snapshot", "wrong.db"], &[], 13),
        (&["--from-snapshot", "copied.db"], &[], 13),
        (&["--from-snapshot", "x.age"], &[], 13),
    ] {
        for target in [&["--data-dir", "old", "--replace"][..], &["--data-dir", "new", "--wal-dir", "log"]] {
            scene.sandbox.seal(["restore"]).args(source).args(more).args(target).run().ends_with(code);
            assert_eq!(scene.files("old"), BTreeMap::from([("member/data".into(), b"old".to_vec())]));
            assert!(!scene.sandbox.path("new").exists() && !scene.sandbox.path("log").exists());
        }
    }
    // The last copy there is may be all that is left.
    for snapshot in ["wrong.db", "copied.db"] {
        let words =
            ["restore", "--from-snapshot", snapshot, "--skip-hash-check", "--force", "--data-dir", "new"];
        let told = scene.sandbox.seal(words).arg("--json").run().ends_with(3).object();
        assert_eq!((told["ok"].as_bool(), told["digest"].as_str()), (Some(false), Some("absent")), "{told}");
        scene.assert_whole("new");
        scene.reset(&["new"]);
    }
    assert!(!scene.sandbox.names(".").iter().any(|name| name.starts_with(TEMPORARY)));
}

#[test]
fn a_plan_touches_nothing() {
    let scene = Scene::new();
    let before = scene.sandbox.names(".");
    scene.restore("new").args(["-n", "--wal-dir", "log"]).succeed();
    let plan = ["--output-dir", "all", "--cluster-plan", "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380"];
    let planned = scene.sandbox.seal(["restore", "x.age", "-n", "-i", "key.txt"]).args(plan).succeed();
    assert!(planned.text().contains("member \"m1\" (") && planned.text().contains("m2=http://10.0.0.2:2380"));
    assert_eq!(scene.sandbox.names("."), before);
}

#[test]
fn a_whole_cluster_appears_at_once() {
    let scene = Scene::new();
    let words = |directory: &str| {
        let plan = "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380";
        let words = ["restore", "x.age", "-i", "key.txt", "--cluster-plan", plan, "--output-dir", directory];
        scene.sandbox.seal(words)
    };
    scene.make_directory("empty");
    scene.make_directory("other");
    scene.sandbox.write("other/notes", "mine");
    for directory in ["new", "empty"] {
        let told = words(directory).arg("--json").succeed().object();
        let names: Vec<_> =
            told["members"].as_array().unwrap().iter().map(|member| &member["name"]).collect();
        assert_eq!(names, ["m1", "m2", "m3"]);
        for name in ["m1", "m2", "m3"] {
            assert_eq!(scene.sandbox.names(format!("{directory}/{name}")), ["RESTORE.txt", "member"]);
            let text =
                fs::read_to_string(scene.sandbox.path(format!("{directory}/{name}/RESTORE.txt"))).unwrap();
            assert!(text.contains(&format!("    NAME={name}\n")), "{text}");
            let member = told["members"].as_array().unwrap().iter().find(|member| member["name"] == name);
            let url = member.unwrap()["peer_urls"][0].as_str().unwrap();
            assert!(text.contains(&format!("    PEER_URL={url}\n")), "{text}");
            assert!(!text.contains("--initial-cluster="), "{text}");
        }
        let databases =
            |name: &str| fs::read(scene.sandbox.path(format!("{directory}/{name}/member/snap/db"))).unwrap();
        assert!(databases("m1") == databases("m2") && databases("m2") == databases("m3"));
    }
    for directory in ["new", "other"] {
        words(directory).run().ends_with(2);
    }
    assert_eq!(scene.sandbox.names("other"), ["notes"]);
}

/// The program is killed at its every system call that changes a directory or syncs: what has its name is whole, and a later
/// run puts right what is left.
#[test]
fn killed_at_any_moment_it_leaves_nothing_or_all_and_the_next_run_works() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    // The log in the member, in a directory of its own, and in one that is there.
    for (apart, there) in [(false, false), (true, false), (true, true)] {
        let (mut killed, mut stayed) = (0, 0);
        for call in ["fsync", "renameat,renameat2", "mkdirat,mkdir", "unlinkat"] {
            for when in 1.. {
                scene.reset(&["data", "log"]);
                scene.make_directory("data");
                if there {
                    scene.make_directory("log");
                }
                let fault = format!("{call}:signal=KILL:when={when}");
                let log: &[&str] = if apart { &["--wal-dir", "log"] } else { &[] };
                let ended = scene.restore("data").args(log).faulty(&[fault], &[]).run();
                let complete = scene.sandbox.path("data/member").exists();
                if complete {
                    let expected = scene.whole.clone();
                    let mut found = scene.files("data/member");
                    if apart {
                        found.insert(Path::new("wal").join(LOG), scene.files("log")[Path::new(LOG)].clone());
                    }
                    assert!(found == expected, "{call} {when}");
                }
                if ended.code == 0 {
                    break;
                }
                killed += 1;
                assert!(when < 60, "{call} is called without end");
                age_leftovers(&scene);
                if !complete {
                    let restored = scene.restore("data").args(log).succeed();
                    assert_eq!(scene.files("data/member").len(), if apart { 2 } else { 3 }, "{call} {when}");
                    for directory in ["data", "."] {
                        let mut names = scene.sandbox.names(directory);
                        names.retain(|name| name.starts_with(TEMPORARY));
                        // One that was complete already, about to get its name, stays and is named.
                        for name in names {
                            let is_told = restored.stderr.contains(&format!("{name} has the name of"));
                            assert!(is_told && !there, "{call} {when}: {name}: {}", restored.stderr);
                            let path = format!("{directory}/{name}");
                            assert!(scene.sandbox.names(&path).len() > 1, "{call} {when}");
                            scene.reset(&[&path]);
                            stayed += 1;
                        }
                    }
                    if apart {
                        assert_eq!(scene.sandbox.names("log"), [LOG], "{call} {when}");
                    }
                }
            }
        }
        assert!(killed >= 15, "{killed}");
        // In the removal of what marks it as unfinished, in the sync after that, and in the rename.
        assert!(stayed <= 3, "{stayed}");
    }
}

/// Makes what is left old enough to be taken for stale.
fn age_leftovers(scene: &Scene) {
    for directory in ["data", ".", "log"] {
        let Ok(entries) = fs::read_dir(scene.sandbox.path(directory)) else { continue };
        for entry in entries.map(Result::unwrap) {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                scene.sandbox.program("touch").args(["-d", "-2 minutes"]).arg(entry.path()).succeed();
            }
        }
    }
}

/// What fails is undone: the old member has its name again, nothing new has one.
#[test]
fn a_failure_before_the_commit_is_undone() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    for (call, error, code) in [
        ("fsync", "EIO", 1),
        ("renameat,renameat2", "EIO", 1),
        ("fallocate", "ENOSPC", 1),
        ("pwrite64", "ENOSPC", 1),
    ] {
        let mut failed = 0;
        for when in 1.. {
            scene.leave_old_member();
            let fault = format!("{call}:error={error}:when={when}");
            let ended =
                scene.restore("data").args(["--wal-dir", "log", "--replace"]).faulty(&[fault], &[]).run();
            if ended.code != code {
                // After the commit it is done, at worst with a shortfall.
                assert!(matches!(ended.code, 0 | 3), "{call} {when}: {}", ended.stderr);
                assert!(scene.sandbox.path("data/member/snap/db").exists());
                if ended.code == 0 {
                    break;
                }
                continue;
            }
            failed += 1;
            assert!(ended.stderr.contains("etcd-seal: hint: "), "{}", ended.stderr);
            assert_eq!(
                scene.files("data"),
                BTreeMap::from([("member/data".into(), b"old".to_vec())]),
                "{call} {when}"
            );
            let log = scene.files("log");
            assert_eq!(log, BTreeMap::from([("old.wal".into(), b"old".to_vec())]), "{call} {when}");
            assert_eq!(scene.sandbox.names("log"), ["old.wal"], "{call} {when}");
            assert_eq!(scene.sandbox.names("data"), ["member"], "{call} {when}");
            assert!(when < 60, "{call} is called without end");
        }
        assert!(failed > 0, "{call}");
    }
}

/// On mounts of their own, as data and log of etcd often are, and on one that is too small.
#[test]
fn mount_points_are_places_too() {
    if !can("unshare", &["-m", "true"]) {
        return;
    }
    let scene = Scene::new();
    for name in ["data", "log", "small"] {
        scene.make_directory(name);
    }
    let script = r#"
        set -e
        mount -t tmpfs -o size=200m none data; mount -t tmpfs -o size=200m none log
        mount -t tmpfs -o size=20m none small
        mkdir data/lost+found
        # What a killed run has left takes all the room there is.
        left=data/.etcd-seal-restore-0123456789abcdef
        mkdir -p $left/member/snap; touch $left/.etcd-seal-unfinished
        head -c 190m /dev/zero > $left/member/snap/db
        touch -d '-2 minutes' $left
        "$@" --data-dir data --wal-dir log --json
        find data log -type f | sort
        "$@" --data-dir data --wal-dir log --replace -q
        find data log -maxdepth 1 | sort
        code=0; "$@" --data-dir small || code=$?
        echo "too small: $code"; find small -mindepth 1
        code=0; "$@" --data-dir new --wal-dir small || code=$?
        echo "too small for the log: $code"; find small -mindepth 1; ! [ -e new ]
        code=0; "$@" --output-dir data --cluster-plan a=http://b:1 || code=$?
        echo "mounted: $code"
    "#;
    let program = scene.sandbox.program("unshare").args(["-m", "bash", "-c", script, "bash"]);
    let words = [etcd_seal(), "restore", "x.age", "-i", "key.txt"];
    let ended = program.args(words).succeed();
    let lines: Vec<&str> = ended.text().lines().collect();
    let told: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(told["path"], "data/member");
    let expected = ["data/member/snap/0000000000000001-0000000000000001.snap", "data/member/snap/db"];
    assert_eq!(lines[1..3], expected);
    assert_eq!(lines[3], format!("log/{LOG}"));
    let names: Vec<String> =
        lines[4..].iter().map(|line| line.split("-2").next().unwrap().to_owned()).collect();
    let expected = [
        "data",
        "data/lost+found",
        "data/member",
        "data/member.replaced",
        "log",
        &format!("log/{LOG}"),
        "log/wal.replaced",
        "too small: 1",
        "too small for the log: 1",
        "mounted: 2",
    ];
    assert_eq!(names, expected, "{}", ended.text());
    assert_eq!(ended.stderr.matches("small needs").count(), 2, "{}", ended.stderr);
}

/// A user who is neither root nor the one who runs the tests.
const OTHER: u32 = 1234;

impl Scene {
    /// Makes a directory that belongs to another user.
    fn make_foreign(&self, name: &str) {
        self.make_directory(name);
        std::os::unix::fs::chown(self.sandbox.path(name), Some(OTHER), Some(OTHER)).unwrap();
    }

    fn link(&self, target: &str, name: &str) {
        symlink(self.sandbox.path(target), self.sandbox.path(name)).unwrap();
    }
}

/// A user who can write where a link stands would choose where root writes.
#[test]
fn a_link_that_another_user_may_have_made_is_refused_and_one_of_root_s_is_followed() {
    let scene = Scene::new();
    if !skip::is_root("only root can act in the directory of another user") {
        return;
    }
    scene.make_foreign("theirs");
    scene.make_foreign("data");
    scene.make_directory("victim");
    scene.link("victim", "theirs/link");
    scene.link("victim", "data/wal");
    let real = scene.sandbox.path("victim");
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
            let restore = scene.sandbox.seal(["restore", "x.age", "-i", "key.txt"]).args(words).args(more);
            let refused = restore.run().ends_with(2);
            assert!(
                refused.stderr.contains("is a link in a directory that other users can write"),
                "{refused:?}"
            );
            let hint = refused.stderr.contains(real.to_str().unwrap());
            assert!(hint || words[1].ends_with("below"), "{words:?}: {refused:?}");
        }
    }
    assert_eq!(scene.sandbox.names("victim"), [""; 0]);
    assert!(!scene.sandbox.path("new").exists());

    // A member that is a link is looked at only where root has made it.
    scene.make_foreign("linked");
    scene.make_directory("disk/snap");
    scene.link("disk", "linked/member");
    let refused = scene.restore("linked").arg("--replace").run().ends_with(2);
    assert!(refused.stderr.contains("linked/member is a link") && refused.stderr.contains("mount --bind"));

    // Nor is a link of root's below a directory of another user, who can put that in the place of another.
    scene.make_directory("theirs/roots");
    scene.link("victim", "theirs/roots/link");
    let refused = scene.restore("theirs/roots/link").run().ends_with(2);
    assert!(refused.stderr.contains("theirs/roots/link is a link"), "{refused:?}");
    assert!(refused.stderr.contains(real.to_str().unwrap()), "{refused:?}");

    // A chain of root's own, the last of which leads into a directory of the other user's.
    scene.make_foreign("ssd");
    scene.link("ssd", "link-1");
    symlink("link-1", scene.sandbox.path("link-2")).unwrap();
    scene.restore("link-2").succeed();
    scene.assert_whole("ssd");
    scene.make_directory("roots");
    scene.make_directory("roots-disk/snap");
    scene.link("roots-disk", "roots/member");
    scene.restore("roots").arg("--replace").succeed();
    assert!(scene.sandbox.names("roots")[1].starts_with("member.replaced-2"));
    assert_eq!(scene.sandbox.names("roots-disk"), ["snap"]);
}

/// What ends the names of what is moved aside here.
const TIME: &str = "20261125T000000Z";

/// The owner of the directory swaps that of the log for a link, at the worst moment or at any: nothing ever lands where the
/// link leads.
#[test]
fn a_link_that_appears_at_any_moment_is_never_followed() {
    let scene = Scene::new();
    if !skip::is_root("only root can act in the directory of another user") {
        return;
    }
    let (mut published, mut refused) = (0, 0);
    for round in 0..200 {
        scene.reset(&["data", "evil", "victim"]);
        for name in ["data", "data/wal", "data/member", "data/member/snap", "evil"] {
            scene.make_foreign(name);
        }
        scene.make_directory("victim");
        scene.sandbox.write("data/wal/evil.wal", "evil");
        scene.sandbox.write(format!("data/wal/{LOG}"), "old");
        scene.link("victim", &format!("evil/wal.replaced-{TIME}"));
        let (wal, link) = (scene.sandbox.path("data/wal"), scene.sandbox.path("data/link"));
        symlink(scene.sandbox.path(if round % 2 == 0 { "evil" } else { "victim" }), &link).unwrap();
        let member = scene.sandbox.path("data/member");
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
                data_dir: scene.sandbox.path("data"),
                wal_dir: Some(wal.clone()),
                replace: Some(TIME.to_owned()),
                owner: Some(etcd_seal::low_level::store::member::Owner { user: OTHER, group: OTHER }),
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
        assert_eq!(scene.sandbox.names("victim"), [""; 0], "round {round}");
        assert_eq!(fs::metadata(scene.sandbox.path("victim")).unwrap().uid(), 0, "round {round}");
    }
    say(&format!("{published} published, {refused} refused"));
    assert!(refused > 0, "the swap never came in time");
}

/// A directory gets its name from the user who owns the one around it, who may so name what is not his to remove.
#[test]
fn what_only_has_the_name_of_a_leftover_stays_and_is_named() {
    let scene = Scene::new();
    if !skip::is_root("only root can act in the directory of another user") {
        return;
    }
    for (number, precious) in
        ["prod.age", "member/notes", "backup/member/wal/1.wal", "d/d/d/d/d/d/d/d/x"].iter().enumerate()
    {
        scene.reset(&["data", "theirs"]);
        scene.make_foreign("data");
        scene.make_foreign("theirs");
        let leftover = format!("data/{TEMPORARY}000000000000000{number}");
        let path = format!("{leftover}/{precious}");
        scene.make_directory(Path::new(&path).parent().unwrap().to_str().unwrap());
        scene.sandbox.write(&path, "precious");
        let file = format!("theirs/.etcd-seal-000000000000000{number}.tmp");
        scene.sandbox.write(&file, "precious");
        age_leftovers(&scene);
        let restored = scene.restore("data").succeed();
        assert!(restored.stderr.contains(&leftover), "{}", restored.stderr);
        assert_eq!(fs::read(scene.sandbox.path(&path)).unwrap(), b"precious");
        // The same of files: one that root has made may have got another name.
        scene.sandbox.program("touch").args(["-d", "-2 minutes", &file]).succeed();
        let restore = scene.sandbox.seal(["restore", "x.age", "-i", "key.txt", "-o", "theirs/snapshot.db"]);
        assert!(restore.succeed().stderr.contains(&file));
        assert!(scene.sandbox.path(&file).exists());
    }
}

/// A complete restore, or one killed at its very end, under the name of a leftover is named, and never removed.
#[test]
fn what_is_complete_is_no_leftover() {
    let scene = Scene::new();
    let leftover = format!("data/{TEMPORARY}0123456789abcdef");
    for made in ["data", "member"] {
        scene.reset(&["data", "made"]);
        scene.make_directory("data");
        scene.restore("made").succeed();
        assert_eq!(scene.sandbox.names("made"), ["member"]);
        let made = if made == "data" { "made" } else { "made/member" };
        fs::rename(scene.sandbox.path(made), scene.sandbox.path(&leftover)).unwrap();
        age_leftovers(&scene);
        let restored = scene.restore("data").succeed();
        assert!(restored.stderr.contains(&format!("{leftover} has the name")), "{}", restored.stderr);
        assert!(restored.stderr.contains("may be complete"), "{}", restored.stderr);
        assert!(scene.sandbox.path(&leftover).exists());
        assert_eq!(scene.sandbox.names("data").len(), 2);
    }
}

/// Nothing is opened that would wait or do something: neither a pipe nor what a link leads to.
#[test]
fn nothing_but_a_file_is_opened_where_an_etcd_may_run() {
    let scene = Scene::new();
    for plant in ["data/member/snap/db", "log/0.wal", &format!("log/{MARKER}")] {
        scene.reset(&["data", "log"]);
        scene.make_directory("data/member/snap");
        scene.make_directory("log");
        scene.sandbox.program("mkfifo").arg(plant).succeed();
        for more in [&["-n"][..], &[]] {
            let restore = scene.restore("data").args(["--wal-dir", "log", "--replace"]).args(more);
            let outcome = restore.run();
            if plant.starts_with("data") {
                let refused = outcome.ends_with(2);
                assert!(refused.stderr.contains("data/member/snap/db is a named pipe"), "{refused:?}");
            } else {
                outcome.ends_with(0);
            }
        }
    }
}

/// Killed whenever it may be, there is a member: the old one or the new.
#[test]
fn killed_while_it_replaces_it_always_leaves_a_member() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    let mut killed = 0;
    for call in ["renameat,renameat2", "fsync", "unlinkat"] {
        for when in 1.. {
            scene.reset(&["data"]);
            scene.make_directory("data/member");
            scene.sandbox.write("data/member/data", "old");
            let fault = format!("{call}:signal=KILL:when={when}");
            let ended = scene.restore("data").arg("--replace").faulty(&[fault], &[]).run();
            if scene.sandbox.path("data/member/data").exists() {
                age_leftovers(&scene);
                scene.restore("data").arg("--replace").succeed();
            }
            scene.assert_whole("data/member/..");
            let found = scene.sandbox.program("find").args(["data", "-name", "data", "-type", "f"]).succeed();
            assert_eq!(found.text().lines().count(), 1, "{call} {when}: the old member");
            if ended.code == 0 {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed >= 5, "{killed}");
}

/// Member and log apart cannot be published by one rename. Killed in between, whatever is there, no etcd starts on it: it would
/// make a new cluster, or serve the one's data with the other's log.
#[test]
fn no_etcd_starts_between_a_log_and_its_member() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    for etcd in harness::etcds() {
        for call in ["renameat,renameat2", "fsync", "unlinkat"] {
            let (mut marked, mut when) = (0, 0);
            loop {
                when += 1;
                scene.reset(&["data", "log"]);
                scene.restore("data").args(["--wal-dir", "log"]).succeed();
                let fault = format!("{call}:signal=KILL:when={when}");
                let words = ["--wal-dir", "log", "--replace"];
                let ended = scene.restore("data").args(words).faulty(&[fault], &[]).run();
                assert!(scene.sandbox.path("data/member").exists(), "{call} {when}");
                if ended.code == 0 {
                    break;
                }
                if !scene.sandbox.names("log").contains(&MARKER.to_owned()) {
                    continue;
                }
                marked += 1;
                scene.restore("data").args(["--wal-dir", "log"]).fails_with(2, "did not come to its end");
                let urls =
                    ["--listen-client-urls=unix://localhost:1", "--advertise-client-urls=unix://localhost:1"];
                let member =
                    scene.sandbox.program("timeout").args(["-s", "KILL", "20"]).arg(&etcd).args(urls);
                let member = member.arg("--listen-peer-urls=unix://localhost:2");
                let refused = member.args(["--data-dir=data", "--wal-dir=log"]).run();
                let said = format!("{}{}", refused.stderr, refused.text());
                assert!(refused.code != 0 && refused.code != 137, "{call} {when}: {said}");
                // The marker's wrong checksum, or, while it is the only file there, that no log begins in it.
                assert!(said.contains("wal: "), "{call} {when}: {said}");
                // And the next run puts it right.
                scene.restore("data").args(words).succeed();
                assert!(!scene.sandbox.names("log").contains(&MARKER.to_owned()));
            }
            assert!(marked > 0, "{call}");
        }
    }
}

/// A restore over a log and a member that an earlier run, killed too, has left: whatever happens to the second, and whenever,
/// either the marker lies beside the log, or log and member belong together.
#[test]
fn killed_twice_it_leaves_no_unfinished_log_without_its_marker() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    let inode = |path: &str| fs::metadata(scene.sandbox.path(path)).ok().map(|metadata| metadata.ino());
    let replace = |faults: &[String]| {
        let restore = scene.restore("data").args(["--wal-dir", "log", "--replace"]);
        restore.faulty(faults, &["-o", "trace", "-e", "trace=renameat,renameat2,fsync,unlinkat"]).run()
    };
    let has_marker = || scene.sandbox.names("log").contains(&MARKER.to_owned());
    // Killed at the commit, where its log has its name and its member has none; of this data directory or as if of another.
    let commit = std::cell::Cell::new(1);
    let first = |foreign: bool| {
        let old = loop {
            scene.reset(&["data", "log"]);
            scene.restore("data").args(["--wal-dir", "log"]).succeed();
            let (old, log) = (inode("data/member"), inode(&format!("log/{LOG}")));
            let _ = replace(&[format!("renameat,renameat2:signal=KILL:when={}", commit.get())]);
            let now = inode(&format!("log/{LOG}"));
            if has_marker() && now.is_some() && now != log {
                break old;
            }
            assert!(commit.replace(commit.get() + 1) < 20);
        };
        assert_eq!(inode("data/member"), old);
        if foreign {
            scene.sandbox.program("touch").arg(format!("log/{LOG}")).succeed();
        }
        old
    };
    let judge = |old: Option<u64>, what: &str| {
        assert!(scene.sandbox.path("data/member").exists(), "{what}");
        if !has_marker() {
            assert_ne!(
                inode("data/member"),
                old,
                "{what}: the old member, and no marker beside an unfinished log"
            );
            assert!(scene.sandbox.path(format!("log/{LOG}")).exists(), "{what}");
        }
    };
    for foreign in [false, true] {
        let (mut killed, mut refused) = (0, 0);
        for call in ["renameat,renameat2", "unlinkat", "fsync"] {
            for when in 1.. {
                let old = first(foreign);
                let ended = replace(&[format!("{call}:signal=KILL:when={when}")]);
                judge(old, &format!("killed in {call} {when}"));
                if ended.code == 0 {
                    break;
                }
                killed += 1;
            }
        }
        // Failed, it undoes what it did; killed while it does. A marker of another has to be moved back, too.
        for error in (1..).take_while(|_| foreign) {
            let old = first(foreign);
            let fault = format!("fsync:error=EIO:when={error}");
            let ended = replace(std::slice::from_ref(&fault));
            if ended.code == 0 || inode("data/member") != old {
                break;
            }
            assert!(has_marker(), "{fault}: its marker is gone");
            let trace = fs::read_to_string(scene.sandbox.path("trace")).unwrap();
            let renames = trace.lines().filter(|line| line.contains("renameat")).count();
            // Before there is anything to undo, nothing is renamed.
            for when in 2..=renames {
                let old = first(foreign);
                let kill = format!("renameat,renameat2:signal=KILL:when={when}");
                let _ = replace(&[fault.clone(), kill]);
                judge(old, &format!("{fault}, killed in rename {when}"));
                refused += 1;
            }
        }
        assert!(killed > 10 && (refused > 5 || !foreign), "{killed} {refused}");
    }
}

/// Where names cannot be exchanged, it is said that for a moment there is no member.
#[test]
fn without_exchange_the_old_way_is_taken_and_said() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    scene.make_directory("data/member");
    scene.sandbox.write("data/member/data", "old");
    let restore = scene.restore("data").arg("--replace");
    restore
        .faulty(&["renameat2:error=EINVAL:when=2"], &[])
        .succeed()
        .says("data/member cannot exchange two names");
    let names = scene.sandbox.names("data");
    assert_eq!((names.len(), &names[0][..]), (2, "member"), "{names:?}");
    assert_eq!(fs::read(scene.sandbox.path(format!("data/{}/data", names[1]))).unwrap(), b"old");
}

/// In the lower layer of an overlay nothing can be renamed: the old member stays, and the way out is told.
#[test]
fn a_member_in_the_lower_layer_of_an_overlay_stays() {
    if !can("unshare", &["-m", "true"]) {
        return;
    }
    let scene = Scene::new();
    scene.make_directory("lower/etcd/member");
    scene.sandbox.write("lower/etcd/member/data", "old");
    let script = r#"
        mkdir -p tmpfs merged; mount -t tmpfs none tmpfs && mkdir tmpfs/upper tmpfs/work
        mount -t overlay overlay -o lowerdir=lower,upperdir=tmpfs/upper,workdir=tmpfs/work merged || exit 77
        "$@" --data-dir merged/etcd --replace; code=$?; find merged/etcd; exit $code
    "#;
    let program = scene.sandbox.program("unshare").args(["-m", "bash", "-c", script, "bash"]);
    let ended = program.args([etcd_seal(), "restore", "x.age", "-i", "key.txt"]).run();
    if ended.code == 77 {
        return skip::refused("no overlay can be mounted here");
    }
    let ended = ended.ends_with(1);
    assert!(ended.stderr.contains("lower layer of an overlay"), "{}", ended.stderr);
    assert_eq!(ended.text(), "merged/etcd\nmerged/etcd/member\nmerged/etcd/member/data\n");
}

/// A mount point cannot be renamed: the old member stays, and the way out is told.
#[test]
fn a_member_that_is_a_mount_point_stays() {
    if !can("unshare", &["-m", "true"]) {
        return;
    }
    let scene = Scene::new();
    scene.make_directory("data/member");
    let script = r#"
        mount -t tmpfs none data/member && touch data/member/data || exit 77
        "$@" --data-dir data --replace; code=$?; find data; exit $code
    "#;
    let program = scene.sandbox.program("unshare").args(["-m", "bash", "-c", script, "bash"]);
    let ended = program.args([etcd_seal(), "restore", "x.age", "-i", "key.txt"]).run();
    if ended.code == 77 {
        return skip::refused("no tmpfs can be mounted here");
    }
    let ended = ended.ends_with(1);
    assert!(ended.stderr.contains("data/member is a mount point"), "{}", ended.stderr);
    assert!(ended.stderr.contains("umount data/member"), "{}", ended.stderr);
    assert_eq!(ended.text(), "data\ndata/member\ndata/member/data\n");
}

/// The old log stays readable for the users who could read it, whichever user restores and whatever the umask.
#[test]
fn an_old_log_keeps_its_owner_and_so_does_its_directory() {
    let scene = Scene::new();
    scene.make_directory("log");
    scene.sandbox.write("log/old.wal", "old");
    if skip::is_root("only root can give files away") {
        scene.sandbox.program("chown").args(["-R", &format!("{OTHER}:{OTHER}"), "log"]).succeed();
    }
    scene.sandbox.program("chmod").args(["750", "log"]).succeed();
    let expected = fs::metadata(scene.sandbox.path("log")).unwrap();
    let script = "umask 0777; exec \"$@\"";
    let program = scene.sandbox.program("bash").args(["-c", script, "bash", etcd_seal()]);
    program.args(Scene::words("data")).args(["--wal-dir", "log", "--replace"]).succeed();
    let names = scene.sandbox.names("log");
    let aside = names.iter().find(|name| name.starts_with("wal.replaced-2")).unwrap();
    let aside = scene.sandbox.path(format!("log/{aside}"));
    let found = fs::metadata(&aside).unwrap();
    assert_eq!((found.uid(), found.gid()), (expected.uid(), expected.gid()));
    assert_eq!(mode(&aside), 0o750);
    assert_eq!(fs::metadata(aside.join("old.wal")).unwrap().uid(), expected.uid());
    assert_eq!(fs::read(aside.join("old.wal")).unwrap(), b"old");
}

/// A directory that was made, and then cannot be used, goes.
#[test]
fn an_error_at_any_step_leaves_no_empty_directory() {
    if !skip::can_trace() {
        return;
    }
    let scene = Scene::new();
    for call in ["mkdirat,mkdir", "fchmod,fchmodat,chmod", "fchown", "fstatfs", "openat"] {
        let mut failed = 0;
        for when in 1..400 {
            scene.reset(&["new", "log"]);
            let fault = format!("{call}:error=EIO:when={when}");
            // Those of the programs and libraries are no step of ours.
            let paths: &[&str] = if call == "openat" { &["-P", "."] } else { &[] };
            let ended = scene.restore("new").args(["--wal-dir", "log"]).faulty(&[fault], paths).run();
            if ended.code == 0 {
                break;
            }
            failed += 1;
            for name in scene.sandbox.names(".") {
                assert!(
                    !name.starts_with(TEMPORARY) && name != "new" && name != "log",
                    "{call} {when}: {name}"
                );
            }
        }
        if call.starts_with("mkdir") {
            assert!(failed > 3, "{failed}");
        }
    }
}

/// What does not fit is refused before anything is written, by a dry run with the same words, and also where only the manifest
/// tells how much it is.
#[test]
fn what_does_not_fit_is_refused_before_a_byte_is_written() {
    const SIZE: usize = 8 << 20;
    let sandbox = Sandbox::new();
    let mut database = snapshot();
    database.truncate(database.len() - 32);
    let meta = Meta::parse(database[..80].try_into().unwrap()).unwrap();
    let meta = Meta { high_water_mark: (SIZE / 4096) as u64, ..meta };
    database.resize(SIZE, 0);
    for page in [0, 1] {
        let bytes = meta.to_page(page);
        let at = usize::try_from(page).unwrap() * 4096;
        database[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    let digest = Sha256::digest(&database);
    database.extend_from_slice(&digest);
    sandbox.write("snapshot.db", &database);
    let recipient = sandbox.seal(["keygen", "-o", "key.txt"]).succeed().text().trim_end().to_owned();
    for (archive, more) in [("told.age", &[][..]), ("silent.age", &["--no-description"])] {
        let save = ["save", archive, "--from", "snapshot.db", "-r", &recipient];
        sandbox.seal(save).args(more).succeed();
    }
    sandbox.make_directory("small");
    if !can("unshare", &["-m", "sh", "-c", "mount -t tmpfs tmpfs /tmp"]) {
        return;
    }
    let run = |archive: &str, target: &str, more: &[&str]| {
        // A member needs 61 MiB for its log, too.
        let room = if target.starts_with("-o") { "4" } else { "66" };
        let mount = format!("mount -t tmpfs -o size={room}m tmpfs small || exit 99");
        let script = format!("{mount}; \"$@\"; code=$?; ls -A small; exit $code");
        let program = sandbox.program("unshare").args(["-m", "bash", "-c", &script, "bash"]);
        let program = program.arg(etcd_seal());
        let words = ["restore", archive, "-i", "key.txt"];
        let outcome = program.args(words).args(target.split(' ')).args(more).run().ends_with(1);
        assert_eq!(outcome.text(), "", "something was left");
        let line = outcome.stderr.lines().find(|line| line.contains("error: ")).unwrap().to_owned();
        assert!(line.contains(&format!(" MiB, but only {room}.0 MiB are free there")), "{line}");
        line
    };
    let cluster = format!("--output-dir small/all --cluster-plan {}", "m1=http://10.0.0.1:2380");
    for target in ["-o small/s.db", "--data-dir small/d", &cluster] {
        let told = run("told.age", target, &[]);
        assert_eq!(run("told.age", target, &["-n"]), told);
        assert_eq!(run("silent.age", target, &[]), told);
    }
}
