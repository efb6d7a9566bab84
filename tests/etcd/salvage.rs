//! `--from-data-dir`: what a dead member has acknowledged comes back from its disk, and that disk stays as it is.

use harness::program::{Outcome, Program};
use harness::sandbox::Sandbox;
use harness::{Etcd, Options, each_etcd, etcds, run};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A key, and places for archives and scratch directories.
struct Scene {
    sandbox: Sandbox,
}

impl Scene {
    fn new() -> Self {
        let mut sandbox = Sandbox::new();
        let made = sandbox.seal(["keygen", "-o", "key.txt"]).succeed();
        made.text().trim_end().clone_into(&mut sandbox.recipient);
        for directory in ["scratch", "backups"] {
            sandbox.make_directory(directory);
        }
        Self { sandbox }
    }

    /// A save or a restore, from the data directory at `from`, by the etcd of `member`.
    fn from(&self, words: &[&str], from: &Path, etcd: &Path) -> Program {
        let program = self.sandbox.seal(words).args(["--json", "--scratch", "scratch", "--from-data-dir"]);
        program.arg(from).arg("--etcd").arg(etcd)
    }

    fn save(&self, from: &Path, etcd: &Path) -> Program {
        self.from(&["save", "backups/", "-r", &self.sandbox.recipient], from, etcd)
    }

    /// Starts a member on what `restore` makes of the words, and returns what it serves under `key`.
    fn served(&self, restore: impl Fn(&[&str]) -> Program, binary: &Path, get: &[&str]) -> String {
        let restored = |names: &[(String, String)]| {
            let (name, url) = &names[0];
            let _ = fs::remove_dir_all(self.sandbox.path("restored"));
            let cluster = format!("{name}={url}");
            let member = ["--data-dir", "restored", "--name", name, "--initial-cluster", &cluster];
            let member = [&member[..], &["--initial-advertise-peer-urls", url]].concat();
            restore(&member).succeed();
            vec![vec![format!("--data-dir={}", self.sandbox.path("restored").display())]]
        };
        let members = Etcd::start_restored(&[binary.to_owned()], 1, &Options::default(), restored);
        run(members[0].etcdctl().args(get))
    }

    fn is_clean(&self) {
        assert_eq!(self.sandbox.names("scratch"), [] as [&str; 0]);
    }
}

/// Each file below `directory`: its digest, its size and when it was changed.
fn state_of(directory: &Path) -> BTreeMap<PathBuf, (String, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let digest = if metadata.is_dir() {
            found.extend(state_of(&path));
            String::new()
        } else {
            hex::encode(Sha256::digest(fs::read(&path).unwrap()))
        };
        found.insert(path, (digest, metadata.size(), metadata.mtime(), metadata.mtime_nsec()));
    }
    found
}

/// The revision of the put of `key`.
fn put(member: &Etcd, key: &str, flags: &[&str]) -> i64 {
    let answer = run(member.etcdctl().args(flags).args(["put", key, "acknowledged", "-w", "json"]));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["header"]["revision"].as_i64().unwrap()
}

/// A copy of the data directory of `member`, for an experiment.
fn copied(member: &Etcd, scene: &Scene, name: &str) -> PathBuf {
    let copy = scene.sandbox.path(name);
    run(std::process::Command::new("cp").arg("-a").arg(member.data_dir()).arg(&copy));
    copy
}

/// The last file of the log in a data directory.
fn last_file(data_dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> =
        fs::read_dir(data_dir.join("member/wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files.pop().unwrap()
}

/// Where the bytes of `word` begin, the last time that they occur.
fn last_place_of(word: &[u8], bytes: &[u8]) -> usize {
    bytes.windows(word.len()).rposition(|window| window == word).unwrap()
}

#[test]
fn the_last_write_of_a_killed_member_is_saved_and_restored() {
    for mut member in each_etcd() {
        let scene = Scene::new();
        let binary = member.binary().to_owned();
        member.fill("/k", 50, 100);
        let revision = put(&member, "/last", &[]);
        member.kill();
        let data_dir = member.data_dir();
        let before = state_of(&data_dir);
        let report = scene.save(&data_dir, &binary).succeed().object();
        let found = &report["data_directory"];
        assert_eq!(
            (&report["ok"], &found["revision"]),
            (&Value::from(true), &Value::from(revision)),
            "{report}"
        );
        let won = revision - found["database_revision"].as_i64().unwrap();
        assert_eq!(found["revisions_won"], won, "{report}");
        assert!(won > 0, "the database alone has it: {report}");
        assert_eq!((&report["source"], &report["digest"]), (&Value::from("file"), &Value::from("verified")));
        assert!(report.get("snapshot_started_at").is_none(), "{report}");
        let archive = report["path"].as_str().unwrap().to_owned();
        assert!(archive.contains(&format!("-r{revision}.db.zst.age")), "{archive}");

        let from_archive =
            |member: &[&str]| scene.sandbox.seal(["restore", &archive, "-i", "key.txt", "-q"]).args(member);
        let get = ["get", "/last", "--print-value-only"];
        assert_eq!(scene.served(from_archive, &binary, &get).trim(), "acknowledged");
        let from_disk = |member: &[&str]| scene.from(&["restore"], &data_dir, &binary).args(member);
        assert_eq!(scene.served(from_disk, &binary, &get).trim(), "acknowledged");
        assert_eq!(state_of(&data_dir), before);
        scene.is_clean();
    }
}

/// A member knows that an entry is committed only after its quorum: `--force-new-cluster` alone drops the last ones.
#[test]
fn every_disk_of_a_killed_cluster_has_the_last_write() {
    for etcd in etcds() {
        let scene = Scene::new();
        let mut members = Etcd::start_cluster(&etcd, 3, &Options::default());
        members[0].fill("/k", 10, 100);
        let revision = put(&members[0], "/last", &[]);
        members.iter_mut().for_each(Etcd::kill);
        // The writer has it for certain, and one more member.
        let mut having = 0;
        for member in &members {
            let report = scene.save(&member.data_dir(), &etcd).succeed().object();
            having += usize::from(report["data_directory"]["revision"] == revision);
        }
        assert!(having >= 2, "{having} of 3 have revision {revision}");
        scene.is_clean();
    }
}

#[test]
fn data_with_authentication_are_salvaged_without_a_password() {
    for mut member in each_etcd() {
        let scene = Scene::new();
        let binary = member.binary().to_owned();
        put(&member, "/first", &[]);
        member.enable_authentication("secret", &[]);
        let revision = put(&member, "/last", &["--user=root:secret"]);
        member.kill();
        let report = scene.save(&member.data_dir(), &binary).succeed().object();
        assert_eq!(report["data_directory"]["revision"], revision, "{report}");
        let archive = report["path"].as_str().unwrap().to_owned();
        let from_archive =
            |member: &[&str]| scene.sandbox.seal(["restore", &archive, "-i", "key.txt", "-q"]).args(member);
        let get = ["get", "/last", "--print-value-only", "--user=root:secret"];
        assert_eq!(scene.served(from_archive, &binary, &get).trim(), "acknowledged");
        scene.is_clean();
    }
}

#[test]
fn every_form_of_restore_takes_a_data_directory() {
    let Some(mut member) = each_etcd().next() else { return };
    let scene = Scene::new();
    let binary = member.binary().to_owned();
    let revision = put(&member, "/last", &[]);
    member.kill();
    let restore = |more: &[&str]| scene.from(&["restore"], &member.data_dir(), &binary).args(more);
    let plan = "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380";
    let report = restore(&["--output-dir", "members", "--cluster-plan", plan]).succeed().object();
    assert_eq!(
        (&report["database"]["revision"], report["members"].as_array().unwrap().len()),
        (&Value::from(revision), 2)
    );
    let report = restore(&["-o", "snapshot.db"]).succeed().object();
    assert_eq!(report["data_directory"]["revision"], revision, "{report}");
    scene.sandbox.seal(["restore", "--from-snapshot", "snapshot.db", "--data-dir", "again"]).succeed();
    // What would be refused at the end is refused before anything is copied.
    let starts = scene.sandbox.path("started");
    let etcd = scene.sandbox.write_script("etcd", format!("#!/bin/sh\ntouch {}\n", starts.display()));
    let again = scene.from(&["restore", "--data-dir", "again"], &member.data_dir(), &etcd);
    let refused = again.run().ends_with(2).object();
    assert!(refused["error"].as_str().unwrap().contains("exists already"), "{refused}");
    let plan =
        scene.from(&["restore", "-n", "--data-dir", "new"], &member.data_dir(), &etcd).succeed().object();
    assert_eq!(plan["dry_run"], true);
    assert!(!starts.exists() && !scene.sandbox.path("new").exists());
    scene.is_clean();
}

#[test]
fn a_directory_on_which_an_etcd_runs_is_refused() {
    let Some(member) = each_etcd().next() else { return };
    let scene = Scene::new();
    for dry in [&[][..], &["-n"]] {
        let refused = scene.save(&member.data_dir(), member.binary()).args(dry).run().ends_with(2).object();
        assert!(refused["error"].as_str().unwrap().contains("an etcd runs on"), "{refused}");
        assert!(refused["hint"].as_str().unwrap().contains("save --endpoints"), "{refused}");
    }
    assert!(scene.sandbox.published().is_empty());
    scene.is_clean();
}

/// What is done to the last file of a log.
type Damage<'a> = &'a dyn Fn(&Path);

/// A power loss cuts the log; anything else that is wrong with it is refused, with the way to what is left.
#[test]
fn a_log_that_is_cut_or_damaged_is_told() {
    let Some(mut member) = each_etcd().next() else { return };
    let scene = Scene::new();
    let binary = member.binary().to_owned();
    member.fill("/k", 50, 100);
    let before = put(&member, "/kept", &[]);
    put(&member, "/torn", &[]);
    member.kill();

    let data_dir = copied(&member, &scene, "cut");
    let log = fs::read(last_file(&data_dir)).unwrap();
    let torn = last_place_of(b"/torn", &log);
    fs::write(last_file(&data_dir), &log[..torn]).unwrap();
    let report = scene.save(&data_dir, &binary).run().ends_with(3).object();
    assert_eq!(
        (&report["kind"], &report["data_directory"]["log_cut"]),
        (&Value::from("log_cut"), &Value::from(true))
    );
    assert_eq!(report["data_directory"]["revision"], before, "{report}");

    let damages: [(&str, Damage<'_>, i32, &str); 4] = [
        (
            "flipped",
            &|file| {
                let mut log = log.clone();
                let kept = last_place_of(b"/kept", &log);
                log[kept + 1] ^= 1;
                fs::write(file, log).unwrap();
            },
            13,
            "does not match its checksum",
        ),
        (
            "short",
            &|file| {
                let kept = log.windows(8).position(|window| window == b"/k/00000").unwrap();
                fs::write(file, &log[..kept]).unwrap();
            },
            13,
            "is cut short: it ends with the entry",
        ),
        ("none", &|file| fs::remove_file(file).unwrap(), 10, "there is no file of it"),
        ("other", &|file| fs::write(file, "text").unwrap(), 13, "is cut short"),
    ];
    for (name, damage, code, words) in damages {
        let data_dir = copied(&member, &scene, name);
        // The database has what the log is about to lack, as etcd has stored it meanwhile.
        if name == "short" || name == "other" {
            replay(&data_dir, &binary);
        }
        damage(&last_file(&data_dir));
        let refused = scene.save(&data_dir, &binary).run().ends_with(code);
        let failure = refused.object();
        assert!(failure["error"].as_str().unwrap().contains(words), "{name}: {failure}");
        let way_out = format!("--from {name}/member/snap/db --allow-missing-digest");
        let hint =
            failure["hint"].as_str().unwrap().replace(&format!("{}/", scene.sandbox.root().display()), "");
        assert!(hint.contains(&way_out), "{name}: {failure}");
        assert_eq!(scene.sandbox.published().len(), 2, "{name}");
    }
    scene.is_clean();
}

/// Lets the etcd of the data directory store all of its log in the database.
fn replay(data_dir: &Path, binary: &Path) {
    let options = Options { data_dir: Some(data_dir.to_owned()), ..Options::default() };
    let mut member = Etcd::start(binary, &options);
    member.stop();
}

#[test]
fn an_etcd_that_is_missing_or_does_not_start_is_named() {
    let Some(mut member) = each_etcd().next() else { return };
    let scene = Scene::new();
    put(&member, "/k", &[]);
    member.kill();
    let data_dir = member.data_dir();
    let words = |outcome: Outcome| {
        let failure = outcome.object();
        format!("{} {}", failure["error"].as_str().unwrap(), failure["hint"].as_str().unwrap())
    };
    let missing = words(scene.save(&data_dir, Path::new("no-such-etcd")).run().ends_with(1));
    assert!(missing.contains("no no-such-etcd on PATH") && missing.contains("--etcd"), "{missing}");
    let script = |name: &str, text: &str| scene.sandbox.write_script(name, format!("#!/bin/sh\n{text}\n"));
    let ends =
        words(scene.save(&data_dir, &script("ends", "echo panic: no luck; exit 3")).run().ends_with(1));
    assert!(ends.contains("panic: no luck") && ends.contains("the data directory is unchanged"), "{ends}");
    // It serves without the data, and ends on them.
    let text = format!(
        "case \"$*\" in *force-new-cluster*) exit 2;; esac\nexec {} \"$@\"",
        member.binary().display()
    );
    let refuses = words(scene.save(&data_dir, &script("refuses", &text)).run().ends_with(13));
    assert!(refuses.contains("started without the data") && refuses.contains("--from "), "{refuses}");
    let slow = script("slow", "sleep 600");
    let late = words(scene.save(&data_dir, &slow).args(["--replay-timeout", "1s"]).run().ends_with(1));
    assert!(late.contains("does not serve within 1s"), "{late}");
    let running = scene.save(&data_dir, &slow).start();
    harness::process::await_that("the copy", || !scene.sandbox.names("scratch").is_empty());
    running.signal("TERM");
    running.wait().ends_with(143);
    assert!(scene.sandbox.published().is_empty());
    scene.is_clean();
}

#[test]
fn keys_of_the_v2_api_are_warned_of() {
    for etcd in etcds() {
        let options = Options { flags: vec!["--enable-v2".to_owned()], ..Options::default() };
        let scene = Scene::new();
        let mut member = Etcd::start(&etcd, &options);
        put(&member, "/v3", &[]);
        let mut stream = TcpStream::connect(member.address()).unwrap();
        let put = "PUT /v2/keys/a HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=b";
        stream.write_all(put.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"action\":\"set\""), "{answer}");
        member.kill();
        let saved = scene.save(&member.data_dir(), &etcd).succeed();
        assert!(saved.stderr.contains("there are keys of etcd's v2 API"), "{}", saved.stderr);
        assert_eq!(saved.object()["data_directory"]["v2_keys"], true);
    }
}
