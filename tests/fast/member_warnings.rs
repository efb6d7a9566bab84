//! What `restore --data-dir` tells the operator who will start the member, and would find out too late.

use etcd_seal::low_level::database::bolt::page::LeafEntry;
use etcd_seal::low_level::database::mvcc::Revision;
use harness::bolt;
use harness::program::Outcome;
use harness::sandbox::Sandbox;
use std::fs::File;
use std::time::{Duration, SystemTime};

/// Key and value under the revisions from 2 on.
fn keys(pairs: &[(&str, &[u8])]) -> Vec<LeafEntry> {
    let entry = |main: i64, key: &str, value: &[u8]| {
        let mut pair = vec![0x0A, u8::try_from(key.len()).unwrap()];
        pair.extend(key.as_bytes());
        pair.extend([0x2A, u8::try_from(value.len()).unwrap()]);
        pair.extend(value);
        (Revision { main, sub: 0 }.to_bytes().to_vec(), pair, false)
    };
    (2..).zip(pairs).map(|(main, (key, value))| entry(main, key, value)).collect()
}

/// Restores a database of these keys, with these entries in other buckets.
fn restore(keys: Vec<LeafEntry>, others: &[(&str, &[u8], &[u8])], more: &[&str]) -> Outcome {
    restore_beside("exit 1", keys, others, more)
}

/// The same on a host whose etcd is this script.
fn restore_beside(
    etcd: &str,
    keys: Vec<LeafEntry>,
    others: &[(&str, &[u8], &[u8])],
    more: &[&str],
) -> Outcome {
    let mut buckets = vec![(b"key".to_vec(), keys), (b"meta".to_vec(), Vec::new())];
    for (bucket, key, value) in others {
        let entry = (key.to_vec(), value.to_vec(), false);
        match buckets.iter_mut().find(|(name, _)| name == bucket.as_bytes()) {
            Some((_, entries)) => entries.push(entry),
            None => buckets.push((bucket.as_bytes().to_vec(), vec![entry])),
        }
    }
    buckets.sort();
    let sandbox = Sandbox::new();
    sandbox.write("snapshot.db", bolt::database(4096, &buckets));
    // A copied database has no digest: what is told of that is tested elsewhere.
    let words =
        ["restore", "--from-snapshot", "snapshot.db", "--skip-hash-check", "--force", "--data-dir", "new"];
    sandbox.make_directory("bin");
    sandbox.write_script("bin/etcd", format!("#!/bin/sh\n{etcd}\n"));
    let restore = sandbox.seal(words).args(more).find_first_in([sandbox.path("bin")]);
    let ended = restore.run().ends_with(3);
    assert!(sandbox.path("new/member/snap/db").exists());
    ended
}

const POD: (&str, &[u8]) = ("/registry/pods/default/a", b"k8s\0pod");
const WATCHERS: &str = "its revision was not raised";

#[test]
fn data_of_kubernetes_ask_for_a_raised_revision() {
    let told = restore(keys(&[POD]), &[], &[]);
    assert!(told.stderr.contains(WATCHERS) && told.stderr.contains("--kubernetes"), "{}", told.stderr);
    // The flag is named as it can be typed, with a number.
    let flag = told.stderr.split("--bump-revision ").nth(1).unwrap();
    let number = flag.split(' ').next().unwrap();
    assert!(number.parse::<i64>().unwrap() >= 1_000_000, "{number}");
    assert!(flag.contains("--mark-compacted"));

    let told = restore(keys(&[POD]), &[], &["--bump-revision", number, "--mark-compacted"]);
    assert!(!told.stderr.contains(WATCHERS), "{}", told.stderr);
    let told = restore(keys(&[POD]), &[], &["--kubernetes", "--snapshot-age", "10m"]);
    assert!(!told.stderr.contains(WATCHERS), "{}", told.stderr);
    // By 1500 writes a second.
    assert!(told.text().contains("revision 2 raised by 900002 to 900004"), "{}", told.text());
    let told = restore(keys(&[("plain", b"value")]), &[], &[]);
    assert!(!told.stderr.contains(WATCHERS), "{}", told.stderr);
}

#[test]
fn values_encrypted_at_rest_name_what_opens_them() {
    let secrets: [(&str, &[u8]); 3] = [
        ("/registry/secrets/default/a", b"k8s:enc:aescbc:v1:key1:xxx"),
        ("/registry/secrets/default/b", b"k8s:enc:kms:v2:vault\x1b[31m:xxx"),
        ("/registry/secrets/default/c", b"k8s:enc:aescbc:v1:key1:yyy"),
    ];
    let told = restore(keys(&secrets), &[], &["--kubernetes"]);
    assert!(told.stderr.contains("EncryptionConfiguration"), "{}", told.stderr);
    assert!(told.stderr.contains("(aescbc key \"key1\" (secrets), kms v2 \"vault"), "{}", told.stderr);
    assert!(!told.stderr.contains('\x1b'), "{:?}", told.stderr);
    assert!(!restore(keys(&[POD]), &[], &[]).stderr.contains("EncryptionConfiguration"));
}

#[test]
fn alarms_downgrades_and_newer_data_are_told() {
    let others: [(&str, &[u8], &[u8]); 4] = [
        // The member 7 has run out of space.
        ("alarm", b"\x08\x07\x10\x01", b""),
        ("cluster", b"clusterVersion", b"3.5.0"),
        ("cluster", b"downgrade", br#"{"target-version":"3.4.0","enabled":true}"#),
        ("meta", b"storageVersion", b"3.6.0"),
    ];
    let told = restore(keys(&[("a", b"b")]), &others, &["--etcd-version", "v3.5.30"]);
    for told_of in [
        "the alarm NOSPACE of member 7",
        "a downgrade of etcd to 3.4.0",
        "a downgrade to 3.4 is pending in the data, and etcd 3.5 does not start on them: start etcd 3.6 or newer",
    ] {
        assert!(told.stderr.contains(told_of), "{told_of}: {}", told.stderr);
    }
    for fits in ["3.6.0", "3.7.1"] {
        let told = restore(keys(&[("a", b"b")]), &others, &["--etcd-version", fits]);
        assert!(!told.stderr.contains("the data"), "{}", told.stderr);
    }
    let newer: [(&str, &[u8], &[u8]); 1] = [("meta", b"storageVersion", b"3.7.0")];
    for (etcd, told_of) in [
        ("3.5.30", "the data are of etcd 3.7, newer than etcd 3.5, which starts without a check"),
        ("3.6", "the data are of etcd 3.7, and etcd 3.6 does not start on them: start etcd 3.7 or newer"),
    ] {
        let told = restore(keys(&[("a", b"b")]), &newer, &["--etcd-version", etcd]);
        assert!(told.stderr.contains(told_of), "{told_of}: {}", told.stderr);
        assert!(told.text().contains("\nstart etcd 3.7 or newer so, "), "{}", told.text());
    }
    let told = restore(keys(&[("a", b"b")]), &[], &["--etcd-version", "3.4.0"]);
    assert!(!told.stderr.contains("alarm") && !told.stderr.contains("downgrade"), "{}", told.stderr);
}

#[test]
fn the_etcd_of_the_host_counts_where_none_is_named() {
    let newer: [(&str, &[u8], &[u8]); 1] = [("meta", b"storageVersion", b"3.7.0")];
    let told = |etcd: &str, more: &[&str]| restore_beside(etcd, keys(&[("a", b"b")]), &newer, more).stderr;
    let old = "[ \"$*\" = --version ] && echo 'etcd Version: 3.6.14'";
    let warned = told(old, &[]);
    for words in ["/bin/etcd (3.6.14) does not start on them: start etcd 3.7", "--etcd-version"] {
        assert!(warned.contains(words), "{words}: {warned}");
    }
    assert!(!told(old, &["--etcd-version", "3.7.1"]).contains("of etcd"), "{warned}");
    for silent in ["echo 'etcd Version: 3.8.0'", "echo no etcd", "exec sleep 60"] {
        assert!(!told(silent, &[]).contains("of etcd"), "{silent}");
    }
}

/// A plain snapshot in a file, which was last written at `modified`, or comes from a pipe.
fn restore_plain(modified: Option<SystemTime>, more: &[&str]) -> Outcome {
    let sandbox = Sandbox::new();
    let buckets = [(b"key".to_vec(), keys(&[POD])), (b"meta".to_vec(), Vec::new())];
    let snapshot = bolt::database(4096, &buckets);
    let path = sandbox.write("snapshot.db", &snapshot);
    let words = ["restore", "--skip-hash-check", "--force", "--data-dir", "new", "--json", "--from-snapshot"];
    let program = sandbox.seal(words).arg(if modified.is_some() { "snapshot.db" } else { "-" }).args(more);
    let Some(modified) = modified else { return program.input(snapshot).run() };
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    program.run()
}

/// Of a snapshot without a time of its own that of its file counts, and a week that it may have lain around before.
#[test]
fn the_time_of_a_file_stands_in_for_an_unknown_age() {
    let bumped = |seconds| {
        let modified = SystemTime::now() - Duration::from_secs(seconds);
        let told = restore_plain(Some(modified), &["--kubernetes"]).ends_with(3).object();
        told["database"]["bumped_by"].as_i64().unwrap()
    };
    let week = 7 * 86_400 * 1500;
    for (seconds, at_least) in [(5, 5), (100_000, 100_000)] {
        let by = bumped(seconds) - week;
        // Whole seconds, and a slow machine.
        assert!((at_least * 1500..(at_least + 60) * 1500).contains(&by), "{seconds}: {by}");
    }
}

/// An age that cannot be told is no age of nothing, and there are two ways out.
#[test]
fn an_age_that_cannot_be_told_is_refused() {
    let tomorrow = Some(SystemTime::now() + Duration::from_secs(86_400));
    for (modified, why) in [(tomorrow, "the clock of this host says"), (None, "nothing tells how old")] {
        let refused = restore_plain(modified, &["--kubernetes"]).ends_with(2).object();
        assert!(refused["error"].as_str().unwrap().contains(why), "{refused}");
        let hint = refused["hint"].as_str().unwrap();
        assert!(hint.contains("--snapshot-age") && hint.contains("--bump-revision"), "{refused}");
        let told = restore_plain(modified, &["--kubernetes", "--snapshot-age", "1s"]).ends_with(3).object();
        assert_eq!(told["database"]["bumped_to"], 2 + 1502, "{told}");
        restore_plain(modified, &["--bump-revision", "7", "--mark-compacted"]).ends_with(3);
        // Without either there is a warning, without a number that cannot be known.
        let told = restore_plain(modified, &[]).ends_with(3);
        assert!(told.stderr.contains("--kubernetes, or restart all of them"), "{}", told.stderr);
    }
    let refused = restore_plain(tomorrow, &["--kubernetes", "-n"]).ends_with(2).object();
    assert!(refused["error"].as_str().unwrap().contains("the clock of this host says"), "{refused}");
}

/// Few are named, and all of them counted.
#[test]
fn a_flood_of_alarms_is_counted() {
    // The member in three bytes, seven bits each, and NOSPACE.
    let alarm = |member: u32| {
        let [low, middle, high] = [0, 7, 14].map(|shift| (member >> shift & 0x7F).to_le_bytes()[0]);
        [0x08, 0x80 | low, 0x80 | middle, high, 0x10, 1]
    };
    let mut alarms: Vec<[u8; 6]> = (0..20_000).map(alarm).collect();
    alarms.sort_unstable();
    let others: Vec<(&str, &[u8], &[u8])> =
        alarms.iter().map(|alarm| ("alarm", &alarm[..], &b""[..])).collect();
    let told = restore(keys(&[("a", b"b")]), &others, &[]);
    assert_eq!(told.stderr.matches("the alarm NOSPACE of member").count(), 10, "{}", told.stderr);
    assert!(told.stderr.contains("… and 19990 more alarms are raised in it"), "{}", told.stderr);
    assert!(told.stderr.lines().count() < 20, "{}", told.stderr);
    let report = restore(keys(&[("a", b"b")]), &others, &["--json"]).object();
    assert_eq!(report["database"]["alarm_count"], 20_000, "{report}");
    assert_eq!(report["database"]["alarms"].as_array().unwrap().len(), 10, "{report}");
}
