//! Snapshots and databases that nobody here made, from the directory named by `ETCD_SEAL_TEST_FIXTURES`.

#![cfg(feature = "cli")]

mod common;

use common::program::Sandbox;
use common::say;
use std::path::PathBuf;

/// File, exit code of `save --from`, and what the message says.
const SNAPSHOTS: [(&str, i32, &str); 9] = [
    ("generated/etcd-3.4.23.snap.db", 0, "of snapshot in"),
    ("generated/etcd-3.5.30.snap.db", 0, "of snapshot in"),
    // The database of a member, copied: without etcd's digest.
    ("etcd/corrupted_backup.db", 13, "no digest"),
    ("auger/pkg/data/testdata/boltdb/db", 13, "no digest"),
    // etcdctl snapshot status accepts this one.
    ("auger/tmp1.db", 13, "does not match the SHA-256"),
    // bbolt, but not etcd's.
    ("other/ahrtr-etcd-issues/plain-bolt.db", 13, "no digest"),
    ("other/ahrtr-etcd-issues/db", 13, "no digest"),
    ("etcd/TestNew.wal", 13, "not an etcd snapshot"),
    ("generated/golden/single-35.snap", 13, "not an etcd snapshot"),
];

#[test]
fn snapshots_of_others_are_sealed_or_refused() {
    let Some(fixtures) = std::env::var_os("ETCD_SEAL_TEST_FIXTURES").map(PathBuf::from) else {
        return say("skipped: ETCD_SEAL_TEST_FIXTURES names no directory");
    };
    let sandbox = Sandbox::new();
    sandbox.seal(["keygen", "-o", "key.txt"]).succeed();
    let identity = std::fs::read_to_string(sandbox.path("key.txt")).unwrap();
    let recipient = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    for (number, (name, code, words)) in SNAPSHOTS.into_iter().enumerate() {
        let snapshot = fixtures.join(name);
        let archive = format!("{number}.age");
        let save = ["save", &archive, "-r", recipient, "--from"];
        let outcome = sandbox.seal(save).arg(&snapshot).run().ends_with(code);
        let told = format!("{}{}", outcome.text(), outcome.stderr);
        assert!(told.contains(words), "{name}: {told}");
        assert_eq!(sandbox.path(&archive).exists(), code == 0, "{name}");
        if code == 0 {
            let restored = format!("{number}.db");
            sandbox.seal(["restore", &archive, "-i", "key.txt", "-o", &restored]).succeed();
            assert!(
                std::fs::read(snapshot).unwrap() == std::fs::read(sandbox.path(restored)).unwrap(),
                "{name}"
            );
        }
    }
}
