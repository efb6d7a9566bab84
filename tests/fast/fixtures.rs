//! Snapshots and databases made elsewhere, from the directory named by `ETCD_SEAL_TEST_FIXTURES`.

use etcd_seal::low_level::database::bolt::{Database, PageSource};
use etcd_seal::low_level::database::contents::DatabaseContents;
use etcd_seal::low_level::database::kubernetes::Kubernetes;
use etcd_seal::low_level::database::query::newest_revision;
use etcd_seal::low_level::database::stream_check::{StreamCheck, StreamFacts};
use etcd_seal::low_level::interrupt::Interrupt;
use etcd_seal::low_level::keys::{DEFAULT_MAX_WORK_FACTOR, Identities, KeyFile, NoPrompt};
use etcd_seal::low_level::pipeline::snapshot_pages::SnapshotPages;
use harness::sandbox::Sandbox;
use harness::skip;
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// File, exit code of `save --from`, and what the message says.
const SNAPSHOTS: [(&str, i32, &str); 9] = [
    ("generated/etcd-3.4.23.snap.db", 0, ": verified\n"),
    ("generated/etcd-3.5.30.snap.db", 0, ": verified\n"),
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
    let Some(fixtures) = skip::fixtures() else { return };
    let sandbox = Sandbox::new();
    let recipient = sandbox.keygen("key.txt");
    for (number, (name, code, words)) in SNAPSHOTS.into_iter().enumerate() {
        let snapshot = fixtures.join(name);
        let archive = format!("{number}.age");
        let save = ["save", &archive, "-r", &recipient, "--from"];
        let told = sandbox.seal(save).arg(&snapshot).run().ends_with(code).said();
        assert!(told.contains(words), "{name}: {told}");
        assert_eq!(sandbox.path(&archive).exists(), code == 0, "{name}");
        if code == 0 {
            let restored = format!("{number}.db");
            sandbox.seal(["restore", &archive, "-i", "key.txt", "-o", &restored]).succeed();
            assert!(std::fs::read(snapshot).unwrap() == sandbox.read(restored), "{name}");
        }
    }
}

/// All files below `directory` that may be databases.
fn databases(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(databases(&path));
        } else if path.file_name().unwrap().as_encoded_bytes().ends_with(b"db") {
            found.push(path);
        }
    }
    found
}

/// What a walk over the trees finds; `None` where it finds that this is no sound database of etcd.
fn walked(path: &Path) -> Option<StreamFacts> {
    let (file, interrupt) = (File::open(path).unwrap(), Interrupt::new());
    let database = Database::open(&file).ok()?;
    let contents = DatabaseContents::read(&database, &interrupt).ok()?;
    let mut members = Vec::new();
    let walked = database.walk_bucket(b"members", &interrupt, &mut |_, key, _| {
        members.push(u64::from_str_radix(std::str::from_utf8(key).unwrap(), 16).unwrap());
        Ok(())
    });
    assert!(walked.is_ok() || members.is_empty());
    members.sort_unstable();
    Some(StreamFacts {
        revision: contents.revision,
        compacted: contents.compacted,
        members,
        downgrade: contents.downgrade,
        kubernetes: contents.kubernetes,
    })
}

#[test]
fn what_is_learned_in_the_stream_is_what_a_walk_finds() {
    let Some(fixtures) = skip::fixtures() else { return };
    let mut compared = 0;
    for path in databases(&fixtures) {
        let Some(expected) = walked(&path) else { continue };
        let bytes = std::fs::read(&path).unwrap();
        for piece in [5_000, 1 << 20] {
            let mut check = StreamCheck::default();
            bytes.chunks(piece).for_each(|piece| check.update(piece));
            assert_eq!(check.finish().as_ref(), Ok(&expected), "{} in pieces of {piece}", path.display());
        }
        compared += 1;
    }
    assert!(compared >= 4, "only {compared} databases were compared");
}

/// The file `name` of a control plane of the fixtures, unpacked.
fn unpacked(directory: &Path, name: &str) -> Vec<u8> {
    let output = Command::new("zstd").arg("-dcq").arg(directory.join(name)).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn kubernetes_is_counted_as_its_api_server_counts() {
    let Some(fixtures) = skip::fixtures() else { return };
    let mut counted = 0;
    for control_plane in fixtures.join("kubernetes").read_dir().unwrap() {
        let directory = control_plane.unwrap().path();
        let truth: serde_json::Value =
            serde_json::from_slice(&unpacked(&directory, "truth.json.zst")).unwrap();
        let secrets = truth["counts"]["v1/secrets"].as_u64().unwrap();
        let configuration = std::fs::read_to_string(directory.join("encryption-configuration.yaml")).unwrap();
        let encrypted = configuration.contains("aescbc: {keys: [{name: key1");
        let snapshot = unpacked(&directory, "snapshot.db.zst");
        for piece in [5_000, 1 << 20] {
            let mut check = StreamCheck::default();
            snapshot.chunks(piece).for_each(|piece| check.update(piece));
            let facts = check.finish().unwrap();
            let Some(Kubernetes::Counted(counts)) = &facts.kubernetes else { panic!("{facts:?}") };
            assert_eq!(counts.secrets, secrets);
            assert_eq!(counts.plain_secrets, if encrypted { 0 } else { secrets });
            let keys =
                counts.encryption.iter().map(|one| format!("{} {} {}", one.provider, one.name, one.resource));
            assert_eq!(
                keys.collect::<Vec<_>>(),
                if encrypted { vec!["aescbc key1 secrets"] } else { vec![] }
            );
            assert!(counts.older_encryption.is_empty());
            let (database, interrupt) = (Database::open(&snapshot).unwrap(), Interrupt::new());
            let contents = DatabaseContents::read(&database, &interrupt).unwrap();
            assert_eq!(contents.kubernetes, facts.kubernetes);
        }
        counted += 1;
    }
    assert!(counted >= 2, "only {counted} control planes were counted");
}

/// Keys and values.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What a database says, read from `pages`: its newest revision, its contents, and the entries of a small bucket.
fn answers(pages: &dyn PageSource) -> (i64, DatabaseContents, Entries) {
    let (database, interrupt) = (Database::open(pages).unwrap(), Interrupt::new());
    let newest = newest_revision(&database, &interrupt).unwrap();
    let contents = DatabaseContents::read(&database, &interrupt).unwrap();
    let mut entries = Vec::new();
    let mut take = |key: &[u8], value: &[u8]| entries.push((key.to_vec(), value.to_vec()));
    database
        .walk_bucket(b"meta", &interrupt, &mut |_, key, value| {
            take(key, value.whole().unwrap());
            Ok(())
        })
        .unwrap();
    (newest, contents, entries)
}

#[test]
fn a_file_memory_and_an_archive_give_the_same_answers() {
    let Some(fixtures) = skip::fixtures() else { return };
    let sandbox = Sandbox::new();
    let recipient = sandbox.keygen("key.txt");
    let file = KeyFile { name: "key.txt".to_owned(), text: sandbox.read("key.txt").into() };
    let identities =
        Identities::parse(vec![file], &(Arc::new(NoPrompt) as _), DEFAULT_MAX_WORK_FACTOR).unwrap();
    for name in ["etcd-3.4.23.snap.db", "etcd-3.5.30.snap.db"] {
        let snapshot = fixtures.join("generated").join(name);
        let archive = format!("{name}.age");
        sandbox.seal(["save", &archive, "-r", &recipient, "--from"]).arg(&snapshot).succeed();
        let bytes = std::fs::read(&snapshot).unwrap();
        let archive = sandbox.read(&archive);
        let expected = answers(&File::open(&snapshot).unwrap());
        assert!(expected.0 > 1 && !expected.2.is_empty(), "{name}");
        assert_eq!(answers(&bytes), expected, "{name}");
        assert_eq!(answers(&bytes.as_slice()), expected, "{name}");
        let pages = SnapshotPages::open(Cursor::new(archive), &identities).unwrap();
        assert_eq!(answers(&pages), expected, "{name}");
    }
}
