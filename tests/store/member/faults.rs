//! Whatever fails, and whenever it is killed.

use super::{LOG, MARKER, Scene, TEMPORARY, only};
use harness::program::Outcome;
use harness::{needs, skip};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The system calls by which names change and files become durable.
const STEPS: [&str; 3] = ["renameat,renameat2", "fsync", "unlinkat"];

/// Has `run` meet a fault such as `fsync:signal=KILL` at each time of the call, until it says that it came to its end; how often
/// it did not.
fn at_each_time(fault: &str, mut run: impl FnMut(&str) -> bool) -> usize {
    let ends = (1..80).find(|when| run(&format!("{fault}:when={when}")));
    ends.unwrap_or_else(|| panic!("{fault} is called without end")) - 1
}

/// Killed after the commit, it leaves its marker. A later run may take the log for a leftover only if no etcd has used it.
#[test]
fn a_log_that_was_used_is_never_taken_for_a_leftover() {
    needs!(skip::can_trace());
    let scene = Scene::new();
    scene.make_directory("log");
    // The first removes what marks the data directory as unfinished, the second the marker of the log.
    assert_ne!(scene.restore_apart().faulty(&["unlinkat:signal=KILL:when=2"], &[]).run().code, 0);
    assert!(scene.path("data/member").exists());
    assert!(scene.names("log").iter().any(|name| name == MARKER));
    fs::rename(scene.path("data/member"), scene.path("data/member.replaced-by-hand")).unwrap();
    let mut log = fs::OpenOptions::new().append(true).open(scene.path(format!("log/{LOG}"))).unwrap();
    std::io::Write::write_all(&mut log, b"what etcd has written").unwrap();
    scene.restore_apart().run().ends_with(2);
    assert_eq!(log.metadata().unwrap().len(), 64_000_021);
    assert!(scene.path(format!("log/{LOG}")).exists());
}

/// The program is killed at its every system call that changes a directory or syncs: what has its name is whole, and a later
/// run puts right what is left.
#[test]
fn killed_at_any_moment_it_leaves_nothing_or_all_and_the_next_run_works() {
    needs!(skip::can_trace());
    let scene = Scene::new();
    // The log in the member, in a directory of its own, and in one that is there.
    for (apart, there) in [(false, false), (true, false), (true, true)] {
        let restore = || if apart { scene.restore_apart() } else { scene.restore("data") };
        let mut stayed = 0;
        let kill = |call: &str| {
            at_each_time(&format!("{call}:signal=KILL"), |fault| {
                scene.reset(&["data", "log"]);
                scene.make_directory("data");
                if there {
                    scene.make_directory("log");
                }
                let ended = restore().faulty(&[fault], &[]).run();
                scene.age_leftovers();
                if !scene.path("data/member").exists() {
                    stayed += restored_beside_what_is_left(&scene, &restore().succeed(), there, fault);
                    assert!(!apart || scene.names("log") == [LOG], "{fault}");
                }
                scene.assert_data_whole(apart, fault);
                ended.code == 0
            })
        };
        let killed: usize =
            ["fsync", "renameat,renameat2", "mkdirat,mkdir", "unlinkat"].into_iter().map(kill).sum();
        assert!(killed >= 15, "{killed}");
        // In the removal of what marks it as unfinished, in the sync after that, and in the rename.
        assert!(stayed <= 3, "{stayed}");
    }
}

/// Asserts that a run that came after a killed one leaves nothing of that but what was complete already, about to get its name:
/// this stays, and is named. Returns how many of those there are, which it removes.
fn restored_beside_what_is_left(scene: &Scene, restored: &Outcome, there: bool, fault: &str) -> usize {
    let left = ["data", "."].map(|directory| {
        let names = scene.temporaries(directory);
        names.into_iter().map(move |name| (format!("{directory}/{name}"), name))
    });
    let left: Vec<(String, String)> = left.into_iter().flatten().collect();
    for (path, name) in &left {
        let is_told = restored.stderr.contains(&format!("{name} has the name of"));
        assert!(is_told && !there, "{fault}: {name}: {}", restored.stderr);
        assert!(scene.names(path).len() > 1, "{fault}");
        scene.reset(&[path]);
    }
    left.len()
}

/// In place of an old member there is one, the old or the new, whenever it is killed; and the old one is there once, under one
/// name or the other.
#[test]
fn killed_while_it_replaces_it_leaves_a_member_and_loses_nothing() {
    needs!(skip::can_trace());
    let scene = Scene::new();
    let copies = |directory: &str, name: &str| {
        let found = scene.program("find").args([directory, "-type", "f", "-name", name]).succeed();
        found.text().lines().count()
    };
    for apart in [false, true] {
        let replace = || if apart { scene.replace_apart() } else { scene.restore("data").arg("--replace") };
        let kill = |call: &str| {
            at_each_time(&format!("{call}:signal=KILL"), |fault| {
                scene.leave_old_member();
                let ended = replace().faulty(&[fault], &[]).run();
                assert_eq!((copies("data", "data"), copies("log", "old.wal")), (1, 1), "{fault}");
                // Nothing is half new: the new member has the new log, the old one the old.
                if scene.path("data/member/data").exists() {
                    scene.age_leftovers();
                    replace().succeed();
                    assert_eq!((copies("data", "data"), copies("log", "old.wal")), (1, 1), "{fault}");
                }
                scene.assert_data_whole(apart, fault);
                ended.code == 0
            })
        };
        let killed: usize = STEPS.into_iter().map(kill).sum();
        assert!(killed >= 5, "{killed}");
    }
}

/// What fails is undone: the old member has its name again, nothing new has one.
#[test]
fn a_failure_before_the_commit_is_undone() {
    needs!(skip::can_trace());
    let scene = Scene::new();
    for fault in
        ["fsync:error=EIO", "renameat,renameat2:error=EIO", "fallocate:error=ENOSPC", "pwrite64:error=ENOSPC"]
    {
        let mut failed = 0;
        at_each_time(fault, |fault| {
            scene.leave_old_member();
            let ended = scene.replace_apart().faulty(&[fault], &[]).run();
            if ended.code != 1 {
                // After the commit it is done, at worst with a shortfall.
                assert!(matches!(ended.code, 0 | 3), "{fault}: {}", ended.stderr);
                assert!(scene.path("data/member/snap/db").exists());
                return ended.code == 0;
            }
            failed += 1;
            ended.says("etcd-seal: hint: ");
            assert_eq!(scene.files("data"), only("member/data", "old"), "{fault}");
            assert_eq!(scene.files("log"), only("old.wal", "old"), "{fault}");
            assert_eq!(scene.names("log"), ["old.wal"], "{fault}");
            assert_eq!(scene.names("data"), ["member"], "{fault}");
            false
        });
        assert!(failed > 0, "{fault}");
    }
}

/// Member and log apart cannot be published by one rename. Killed in between, whatever is there, no etcd starts on it: it would
/// make a new cluster, or serve the one's data with the other's log.
#[test]
fn no_etcd_starts_between_a_log_and_its_member() {
    needs!(skip::can_trace());
    let scene = Scene::new();
    let has_marker = || scene.names("log").contains(&MARKER.to_owned());
    for etcd in harness::etcds() {
        for call in STEPS {
            let mut marked = 0;
            at_each_time(&format!("{call}:signal=KILL"), |fault| {
                scene.reset(&["data", "log"]);
                scene.restore_apart().succeed();
                let ended = scene.replace_apart().faulty(&[fault], &[]).run();
                assert!(scene.path("data/member").exists(), "{fault}");
                if ended.code == 0 || !has_marker() {
                    return ended.code == 0;
                }
                marked += 1;
                scene.restore_apart().fails_with(2, "did not come to its end");
                let member = scene.program("timeout").args(["-s", "KILL", "20"]).arg(&etcd);
                let member = member.args(["listen-client", "advertise-client", "listen-peer"].map(|url| {
                    let socket = if url == "listen-peer" { 2 } else { 1 };
                    format!("--{url}-urls=unix://localhost:{socket}")
                }));
                let refused = member.args(["--data-dir=data", "--wal-dir=log"]).run();
                assert!(refused.code != 0 && refused.code != 137, "{fault}: {}", refused.said());
                // The marker's wrong checksum, or, while it is the only file there, that no log begins in it.
                assert!(refused.said().contains("wal: "), "{fault}: {}", refused.said());
                // And the next run puts it right.
                scene.replace_apart().succeed();
                assert!(!has_marker());
                false
            });
            assert!(marked > 0, "{call}");
        }
    }
}

/// A restore over a log and a member that an earlier run, killed too, has left: whatever happens to the second, and whenever,
/// either the marker lies beside the log, or log and member belong together.
#[test]
fn killed_twice_it_leaves_no_unfinished_log_without_its_marker() {
    needs!(skip::can_trace());
    let scene = Scene::new();
    let inode = |path: &str| fs::metadata(scene.path(path)).ok().map(|metadata| metadata.ino());
    let log_inode = || inode(&format!("log/{LOG}"));
    let replace = |faults: &[&str]| {
        let more = ["-o", "trace", "-e", "trace=renameat,renameat2,fsync,unlinkat"];
        scene.replace_apart().faulty(faults, &more).run()
    };
    let has_marker = || scene.names("log").contains(&MARKER.to_owned());
    // Killed at the commit, where its log has its name and its member has none; of this data directory or as if of another.
    let commit = std::cell::Cell::new(1);
    let first = |foreign: bool| {
        let old = loop {
            scene.reset(&["data", "log"]);
            scene.restore_apart().succeed();
            let (old, log) = (inode("data/member"), log_inode());
            let _ = replace(&[&format!("renameat,renameat2:signal=KILL:when={}", commit.get())]);
            if has_marker() && log_inode().is_some() && log_inode() != log {
                break old;
            }
            assert!(commit.replace(commit.get() + 1) < 20);
        };
        assert_eq!(inode("data/member"), old);
        if foreign {
            scene.program("touch").arg(format!("log/{LOG}")).succeed();
        }
        old
    };
    let judge = |old: Option<u64>, what: &str| {
        assert!(scene.path("data/member").exists(), "{what}");
        if !has_marker() {
            assert_ne!(inode("data/member"), old, "{what}: an old member, no marker and an unfinished log");
            assert!(scene.path(format!("log/{LOG}")).exists(), "{what}");
        }
    };
    for foreign in [false, true] {
        let kill = |call: &str| {
            at_each_time(&format!("{call}:signal=KILL"), |fault| {
                let old = first(foreign);
                let ended = replace(&[fault]);
                judge(old, fault);
                ended.code == 0
            })
        };
        let killed: usize = STEPS.into_iter().map(kill).sum();
        assert!(killed > 10, "{killed}");
    }
    // Failed, it undoes what it did; killed while it does. A marker of another has to be moved back, too.
    let mut refused = 0;
    at_each_time("fsync:error=EIO", |fault| {
        let old = first(true);
        if replace(&[fault]).code == 0 || inode("data/member") != old {
            return true;
        }
        assert!(has_marker(), "{fault}: its marker is gone");
        let trace = fs::read_to_string(scene.path("trace")).unwrap();
        let renames = trace.lines().filter(|line| line.contains("renameat")).count();
        // Before there is anything to undo, nothing is renamed.
        for when in 2..=renames {
            let old = first(true);
            let _ = replace(&[fault, &format!("renameat,renameat2:signal=KILL:when={when}")]);
            judge(old, &format!("{fault}, killed in rename {when}"));
            refused += 1;
        }
        false
    });
    assert!(refused > 5, "{refused}");
}

/// Where names cannot be exchanged, it is said that for a moment there is no member.
#[test]
fn without_exchange_the_old_way_is_taken_and_said() {
    needs!(skip::can_trace());
    let scene = Scene::new();
    scene.plant("data/member/data", "old");
    let restore = scene.restore("data").arg("--replace").faulty(&["renameat2:error=EINVAL:when=2"], &[]);
    restore.succeed().says("data/member cannot exchange two names");
    let names = scene.names("data");
    assert_eq!((names.len(), &names[0][..]), (2, "member"), "{names:?}");
    assert_eq!(scene.read(format!("data/{}/data", names[1])), b"old");
}

/// A directory that was made, and then cannot be used, goes.
#[test]
fn an_error_at_any_step_leaves_no_empty_directory() {
    needs!(skip::can_trace());
    let scene = Scene::new();
    for call in ["mkdirat,mkdir", "fchmod,fchmodat,chmod", "fchown", "fstatfs", "openat"] {
        let mut failed = 0;
        for when in 1..400 {
            scene.reset(&["new", "log"]);
            let fault = format!("{call}:error=EIO:when={when}");
            // Those of the programs and libraries are no step of ours.
            let paths: &[&str] = if call == "openat" { &["-P", "."] } else { &[] };
            let ended = scene.restore("new").args(["--wal-dir", "log"]).faulty(&[&fault], paths).run();
            if ended.code == 0 {
                break;
            }
            failed += 1;
            for name in scene.names(".") {
                assert!(!name.starts_with(TEMPORARY) && name != "new" && name != "log", "{fault}: {name}");
            }
        }
        assert!(failed > 3 || !call.starts_with("mkdir"), "{failed}");
    }
}
