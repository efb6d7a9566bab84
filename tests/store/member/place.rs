//! What may be where the member will be, what is refused, and what moves aside.

use super::{LOG, MARKER, Scene, TEMPORARY, only, snapshot};
use etcd_seal::low_level::database::bolt::meta::Meta;
use harness::process::mode;
use harness::program::etcd_seal;
use harness::sandbox::Sandbox;
use harness::{can, needs, skip, snapshots};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

#[test]
fn the_place_may_be_absent_empty_or_a_link_to_either() {
    let scene = Scene::new();
    for name in ["empty", "mounted/lost+found", "elsewhere"] {
        scene.make_directory(name);
    }
    symlink("elsewhere", scene.path("link")).unwrap();
    for directory in ["absent", "absent-too/", "empty", "mounted/", "link"] {
        let told = scene.restore(directory).arg("--json").succeed().object();
        let path = Path::new(directory.trim_end_matches('/')).join("member");
        assert_eq!(told["path"].as_str().map(Path::new), Some(&*path), "{told}");
        scene.assert_whole(directory);
    }
    scene.assert_whole("elsewhere");
    assert_eq!(scene.temporaries("."), [""; 0]);
}

#[test]
fn everything_is_for_its_owner_alone_whatever_the_umask() {
    let scene = Scene::new();
    for umask in ["0", "0777"] {
        let directory = format!("umask-{umask}");
        scene.under_umask(umask, &["--data-dir", &directory]).succeed();
        let root = scene.path(&directory);
        for inside in ["", "member", "member/snap", "member/wal"] {
            assert_eq!(mode(&root.join(inside)), 0o700, "{inside}");
        }
        for file in scene.files(&directory).keys() {
            assert_eq!(mode(&root.join(file)), 0o600, "{}", file.display());
        }
    }
}

#[test]
fn what_is_there_is_refused_and_stays_or_moves_aside() {
    let scene = Scene::new();
    scene.plant("old/member/data", "old");
    scene.plant("other/notes", "mine");
    scene.write("file", "mine");
    symlink("nowhere", scene.path("dangling")).unwrap();
    for (directory, why) in [
        ("old", "old/member exists already"),
        ("other", "not empty: there is \"notes\""),
        ("file", "not a directory"),
        ("dangling", "dangling is a link that leads to no directory"),
        ("missing/new", "no directory missing"),
    ] {
        for more in [&[][..], &["-n"]] {
            scene.restore(directory).args(more).fails_with(2, why);
        }
    }
    assert_eq!(scene.files("old"), only("member/data", "old"));
    assert_eq!(scene.files("other"), only("notes", "mine"));

    for directory in ["old", "other"] {
        scene.restore(directory).arg("--replace").succeed();
        scene.assert_whole(directory);
    }
    assert_eq!(scene.read("other/notes"), b"mine");
    let names = scene.names("old");
    let aside = names.iter().find(|name| name.starts_with("member.replaced-2")).unwrap();
    assert_eq!(scene.read(format!("old/{aside}/data")), b"old");
    assert_eq!(names.len(), 2);
}

#[test]
fn a_log_apart_is_published_with_its_member() {
    let scene = Scene::new();
    scene.make_directory("log-empty/lost+found");
    for (data, log) in [("a", "log-absent"), ("b", "log-empty")] {
        scene.restore(data).args(["--wal-dir", log]).succeed();
        assert_eq!(scene.files(log).into_keys().collect::<Vec<_>>(), [PathBuf::from(LOG)]);
        assert_eq!(scene.names(format!("{data}/member")), ["snap"]);
    }
    // That of another member is not taken, and moves aside only with it.
    scene.restore("c").args(["--wal-dir", "log-empty"]).fails_with(2, "log-empty is not empty");
    assert!(!scene.path("c").exists());
    scene.restore("b").args(["--wal-dir", "log-empty", "--replace"]).succeed();
    let names = scene.names("log-empty");
    assert_eq!((names.len(), &names[0][..]), (3, LOG), "{names:?}");
    assert!(names[2].starts_with("wal.replaced-2"), "{names:?}");
    // One in the other, neither could be moved aside alone.
    scene.make_directory("d/data");
    for (data, log) in [("d", "d/member/wal"), ("d/data", "d"), ("d", "d"), ("d/data", "d/data/../../d")] {
        scene.restore(data).args(["--wal-dir", log, "--replace"]).fails_with(2, "lie one in the other");
    }
    // What is no log is not moved aside as one.
    scene.plant("not-a-log/notes", "mine");
    scene.restore("e").args(["--wal-dir", "not-a-log", "--replace"]).fails_with(2, "there is \"notes\"");
    assert_eq!(scene.names("not-a-log"), ["notes"]);
}

#[test]
fn a_wrong_key_or_a_damaged_archive_leaves_nothing_and_touches_nothing() {
    let scene = Scene::new();
    scene.plant("old/member/data", "old");
    scene.keygen("other.txt");
    let (archive, snapshot) = (scene.read("x.age"), snapshot());
    let last_flipped = |bytes: &[u8]| [&bytes[..bytes.len() - 1], &[bytes.last().unwrap() ^ 1]].concat();
    scene.write("damaged.age", last_flipped(&archive));
    scene.write("cut.age", &archive[..archive.len() - 20]);
    scene.write("wrong.db", last_flipped(&snapshot));
    scene.write("copied.db", &snapshot[..snapshot.len() - 32]);
    for (source, code) in [
        (&["x.age", "-i", "other.txt"][..], 12),
        (&["damaged.age", "-i", "key.txt"], 13),
        (&["cut.age", "-i", "key.txt"], 13),
        (&["missing.age", "-i", "key.txt"], 10),
        (&["--from-snapshot", "wrong.db"], 13),
        (&["--from-snapshot", "copied.db"], 13),
        (&["--from-snapshot", "x.age"], 13),
    ] {
        for target in [&["--data-dir", "old", "--replace"][..], &["--data-dir", "new", "--wal-dir", "log"]] {
            scene.seal(["restore"]).args(source).args(target).run().ends_with(code);
            assert_eq!(scene.files("old"), only("member/data", "old"));
            assert!(!scene.path("new").exists() && !scene.path("log").exists());
        }
    }
    // The last copy there is may be all that is left.
    for snapshot in ["wrong.db", "copied.db"] {
        let words = ["--skip-hash-check", "--force", "--data-dir", "new", "--json"];
        let restore = scene.seal(["restore", "--from-snapshot", snapshot]).args(words);
        let told = restore.run().ends_with(3).object();
        assert_eq!((told["ok"].as_bool(), told["digest"].as_str()), (Some(false), Some("absent")), "{told}");
        scene.assert_whole("new");
        scene.reset(&["new"]);
    }
    assert_eq!(scene.temporaries("."), [""; 0]);
}

#[test]
fn a_plan_touches_nothing() {
    let scene = Scene::new();
    let before = scene.names(".");
    scene.restore("new").args(["-n", "--wal-dir", "log"]).succeed();
    let plan = ["--output-dir", "all", "--cluster-plan", "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380"];
    let planned = scene.restore_with(&plan).arg("-n").succeed();
    assert!(planned.text().contains("member \"m1\" (") && planned.text().contains("m2=http://10.0.0.2:2380"));
    assert_eq!(scene.names("."), before);
}

#[test]
fn a_whole_cluster_appears_at_once() {
    const PLAN: &str = "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380,m3=http://10.0.0.3:2380";
    let scene = Scene::new();
    let restore = |directory: &str| scene.restore_with(&["--cluster-plan", PLAN, "--output-dir", directory]);
    scene.make_directory("empty");
    scene.plant("other/notes", "mine");
    for directory in ["new", "empty"] {
        let told = restore(directory).arg("--json").succeed().object();
        let members = told["members"].as_array().unwrap();
        assert_eq!(members.iter().map(|member| &member["name"]).collect::<Vec<_>>(), ["m1", "m2", "m3"]);
        for member in members {
            let (name, url) = (member["name"].as_str().unwrap(), &member["peer_urls"][0]);
            assert_eq!(scene.names(format!("{directory}/{name}")), ["RESTORE.txt", "member"]);
            let text = fs::read_to_string(scene.path(format!("{directory}/{name}/RESTORE.txt"))).unwrap();
            assert!(text.contains(&format!("    NAME={name}\n")), "{text}");
            assert!(text.contains(&format!("    PEER_URL={}\n", url.as_str().unwrap())), "{text}");
            assert!(!text.contains("--initial-cluster="), "{text}");
        }
        let database = |name: &str| scene.read(format!("{directory}/{name}/member/snap/db"));
        assert!(database("m1") == database("m2") && database("m2") == database("m3"));
    }
    for directory in ["new", "other"] {
        restore(directory).run().ends_with(2);
    }
    assert_eq!(scene.names("other"), ["notes"]);
}

/// On mounts of their own, as data and log of etcd often are, and on one that is too small.
#[test]
fn mount_points_are_places_too() {
    needs!(can("unshare", &["-m", "true"]));
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
    let ended = scene.in_mounts(script).succeed();
    let mut lines = ended.text().lines();
    let told: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(told["path"], "data/member");
    let names: Vec<&str> = lines.map(|line| line.split("-2").next().unwrap()).collect();
    let log = format!("log/{LOG}");
    let expected = [
        "data/member/snap/0000000000000001-0000000000000001.snap data/member/snap/db",
        &log,
        "data data/lost+found data/member data/member.replaced log",
        &log,
        "log/wal.replaced too small: 1 too small for the log: 1 mounted: 2",
    ];
    assert_eq!(names.join(" "), expected.join(" "), "{}", ended.text());
    assert_eq!(ended.stderr.matches("small needs").count(), 2, "{}", ended.stderr);
}

/// A complete restore, or one killed at its very end, under the name of a leftover is named, and never removed.
#[test]
fn what_is_complete_is_no_leftover() {
    let scene = Scene::new();
    let leftover = format!("data/{TEMPORARY}0123456789abcdef");
    for made in ["made", "made/member"] {
        scene.reset(&["data", "made"]);
        scene.make_directory("data");
        scene.restore("made").succeed();
        assert_eq!(scene.names("made"), ["member"]);
        fs::rename(scene.path(made), scene.path(&leftover)).unwrap();
        scene.age_leftovers();
        let restored = scene.restore("data").succeed();
        restored.says(&format!("{leftover} has the name")).says("may be complete");
        assert!(scene.path(&leftover).exists());
        assert_eq!(scene.names("data").len(), 2);
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
        scene.program("mkfifo").arg(plant).succeed();
        for more in [&["-n"][..], &[]] {
            let outcome = scene.replace_apart().args(more).run();
            if plant.starts_with("data") {
                outcome.ends_with(2).says("data/member/snap/db is a named pipe");
            } else {
                outcome.ends_with(0);
            }
        }
    }
}

/// In the lower layer of an overlay nothing can be renamed, nor can a mount point: the old member stays, and the way out is told.
#[test]
fn a_member_that_cannot_be_renamed_stays() {
    needs!(can("unshare", &["-m", "true"]));
    let scene = Scene::new();
    scene.plant("lower/etcd/member/data", "old");
    scene.make_directory("data/member");
    for (mount, place, said) in [
        (
            "mkdir -p tmpfs merged; mount -t tmpfs none tmpfs && mkdir tmpfs/upper tmpfs/work
            mount -t overlay overlay -o lowerdir=lower,upperdir=tmpfs/upper,workdir=tmpfs/work merged",
            "merged/etcd",
            &["lower layer of an overlay"][..],
        ),
        (
            "mount -t tmpfs none data/member && touch data/member/data",
            "data",
            &["data/member is a mount point", "umount data/member"],
        ),
    ] {
        let script = format!(
            "{mount} || exit 77\n\"$@\" --data-dir {place} --replace; code=$?; find {place}; exit $code"
        );
        let ended = scene.in_mounts(&script).run();
        if ended.code == 77 {
            skip::refused(&format!("this cannot be mounted here: {mount}"));
            continue;
        }
        let ended = said.iter().fold(ended.ends_with(1), |ended, words| ended.says(words));
        assert_eq!(ended.text(), format!("{place}\n{place}/member\n{place}/member/data\n"));
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
    for (page, at) in [(0, 0), (1, 4096)] {
        let bytes = meta.to_page(page);
        database[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    sandbox.write("snapshot.db", snapshots::with_digest(database));
    let recipient = sandbox.keygen("key.txt");
    for (archive, more) in [("told.age", None), ("silent.age", Some("--no-description"))] {
        sandbox.seal(["save", archive, "--from", "snapshot.db", "-r", &recipient]).args(more).succeed();
    }
    sandbox.make_directory("small");
    needs!(can("unshare", &["-m", "sh", "-c", "mount -t tmpfs tmpfs /tmp"]));
    let run = |archive: &str, target: &str, more: &[&str]| {
        // A member needs 61 MiB for its log, too.
        let room = if target.starts_with("-o") { "4" } else { "66" };
        let mount = format!("mount -t tmpfs -o size={room}m tmpfs small || exit 99");
        let script = format!("{mount}; \"$@\"; code=$?; ls -A small; exit $code");
        let program = sandbox.program("unshare").args(["-m", "bash", "-c", &script, "bash", etcd_seal()]);
        let words = ["restore", archive, "-i", "key.txt"];
        let outcome = program.args(words).args(target.split(' ')).args(more).run().ends_with(1);
        assert_eq!(outcome.text(), "", "something was left");
        let line = outcome.stderr.lines().find(|line| line.contains("error: ")).unwrap().to_owned();
        assert!(line.contains(&format!(" MiB, but only {room}.0 MiB are free there")), "{line}");
        line
    };
    let cluster = "--output-dir small/all --cluster-plan m1=http://10.0.0.1:2380";
    for target in ["-o small/s.db", "--data-dir small/d", cluster] {
        let told = run("told.age", target, &[]);
        assert_eq!(run("told.age", target, &["-n"]), told);
        assert_eq!(run("silent.age", target, &[]), told);
    }
}
