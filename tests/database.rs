//! The snapshot as a database: what etcd's own tools say of the same bytes, and what they make of them.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{etcds, say};
use etcd_seal::Kind;
use etcd_seal::database::contents::Contents;
use etcd_seal::database::edit::{Bump, become_member};
use etcd_seal::database::file::Database;
use etcd_seal::database::hash_kv::read_keys;
use etcd_seal::database::membership::Membership;
use etcd_seal::interrupt::Interrupt;

fn fixture(name: &str) -> Option<PathBuf> {
    let fixtures = std::env::var_os("ETCD_SEAL_TEST_FIXTURES").map(PathBuf::from);
    if fixtures.is_none() {
        say("skipped: ETCD_SEAL_TEST_FIXTURES names no directory");
    }
    fixtures.map(|fixtures| fixtures.join(name))
}

/// Every bucket with its keys and values.
type Dump = BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>;

fn dump(path: &Path) -> Dump {
    let file = File::open(path).unwrap();
    let mut dump = Dump::new();
    let database = Database::open(&file).unwrap();
    let walked = database.walk(&Interrupt::new(), &mut |bucket, key, value| {
        assert!(dump.insert((bucket.to_vec(), key.to_vec()), value.to_vec()).is_none());
        Ok(())
    });
    assert_eq!(walked.unwrap().freelist_fault, None);
    dump
}

fn contents(path: &Path) -> etcd_seal::Result<Contents> {
    let file = File::open(path).unwrap();
    Contents::read(&Database::open(&file)?, &Interrupt::new())
}

/// A copy of a snapshot of the fixtures without etcd's digest.
fn database_of(name: &str, directory: &Path) -> Option<PathBuf> {
    let mut bytes = std::fs::read(fixture(name)?).unwrap();
    bytes.truncate(bytes.len() - 32);
    let path = directory.join("db");
    std::fs::write(&path, bytes).unwrap();
    Some(path)
}

fn become_one(path: &Path, cluster: &str, token: &str, bump: Option<Bump>) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let membership = Membership::parse(cluster, token).unwrap();
    become_member(&Database::open(&file).unwrap(), &membership, bump, &Interrupt::new()).unwrap();
}

#[test]
fn snapshots_of_etcd_are_read() {
    for (name, entries, hash) in [
        ("generated/etcd-3.4.23.snap.db", 61, 1_506_754_741),
        ("generated/etcd-3.5.30.snap.db", 61, 2_370_930_948),
    ] {
        let Some(path) = fixture(name) else { return };
        let found = contents(&path).unwrap();
        assert_eq!((found.revision, found.compacted), (314, Some(253)), "{name}");
        println!("{name} {found:?} {entries}");
        let file = File::open(&path).unwrap();
        let keys = read_keys(&Database::open(&file).unwrap(), 314, Some(253), &Interrupt::new()).unwrap();
        assert_eq!(keys.hash, hash, "{name}");
    }
}

#[test]
fn what_is_damaged_or_no_etcd_is_refused() {
    for (name, kind, why) in [
        ("other/ahrtr-etcd-issues/db", Kind::NotASnapshot, "not one of etcd"),
        ("other/ahrtr-etcd-issues/plain-bolt.db", Kind::NotASnapshot, "not one of etcd"),
    ] {
        let Some(path) = fixture(name) else { return };
        let error = contents(&path).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
    for name in ["etcd/corrupted_backup.db", "auger/tmp1.db"] {
        let Some(path) = fixture(name) else { return };
        println!("{:?}", contents(&path));
    }
}

#[test]
fn a_member_s_database_is_what_etcdutl_makes() {
    let beside = etcds().into_iter().map(|etcd| etcd.with_file_name("etcdutl"));
    let Some(etcdutl) = beside.filter(|path| path.exists()).last() else {
        return say("SKIPPED: no etcdutl");
    };
    for name in ["generated/etcd-3.4.23.snap.db", "generated/etcd-3.5.30.snap.db"] {
        for bump in [None, Some(Bump { by: 1_000_000 })] {
            let directory = tempfile::tempdir().unwrap();
            let Some(ours) = database_of(name, directory.path()) else { return };
            let cluster = "m1=http://127.0.0.1:41911,m2=http://127.0.0.1:41912,m3=http://127.0.0.1:41913";
            become_one(&ours, cluster, "tok3", bump);
            let theirs = directory.path().join("theirs");
            let mut command = Command::new(&etcdutl);
            command.args(["snapshot", "restore"]).arg(fixture(name).unwrap()).arg("--data-dir").arg(&theirs);
            command.args(["--name", "m2", "--initial-cluster", cluster, "--initial-cluster-token", "tok3"]);
            command.args(["--initial-advertise-peer-urls", "http://127.0.0.1:41912"]);
            if bump.is_some() {
                command.args(["--bump-revision", "1000000", "--mark-compacted"]);
            }
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(dump(&ours), dump(&theirs.join("member/snap/db")), "{name} {bump:?}");
        }
    }
}
