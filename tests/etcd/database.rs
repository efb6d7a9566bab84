//! The snapshot as a database: what etcd's own tools say of the same bytes, and what they make of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use etcd_seal::Kind;
use etcd_seal::low_level::database::bolt::Database;
use etcd_seal::low_level::database::bolt::meta::Meta;
use etcd_seal::low_level::database::bolt::page::{FREELIST, LeafEntry, PageHeader};
use etcd_seal::low_level::database::contents::DatabaseContents;
use etcd_seal::low_level::database::hash_kv::read_keys;
use etcd_seal::low_level::database::member::Membership;
use etcd_seal::low_level::database::member::{Bump, become_member};
use etcd_seal::low_level::database::mvcc::Revision;
use etcd_seal::low_level::interrupt::Interrupt;
use harness::{bolt, etcds, skip};

fn fixture(name: &str) -> Option<PathBuf> {
    skip::fixtures().map(|fixtures| fixtures.join(name))
}

/// Every bucket with its keys and values.
type Dump = BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>;

fn dump(path: &Path) -> Dump {
    let file = File::open(path).unwrap();
    let mut dump = Dump::new();
    let database = Database::open(&file).unwrap();
    let walked = database.walk(&Interrupt::new(), &mut |bucket, key, value| {
        let value = value.whole().unwrap().to_vec();
        assert!(dump.insert((bucket.to_vec(), key.to_vec()), value).is_none());
        Ok(())
    });
    assert_eq!(walked.unwrap().freelist_fault, None);
    dump
}

fn contents(path: &Path) -> etcd_seal::Result<DatabaseContents> {
    let file = File::open(path).unwrap();
    DatabaseContents::read(&Database::open(&file)?, &Interrupt::new())
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
    let database = Database::open(&file).unwrap();
    let last = DatabaseContents::read(&database, &Interrupt::new()).unwrap().last_write;
    let raised_to = bump.map(|bump| bump.target(last).unwrap());
    become_member(&file, &membership, raised_to, &Interrupt::new()).unwrap();
}

#[test]
fn snapshots_of_etcd_are_read() {
    // As etcd itself answered while they were taken.
    for (name, version, hash) in [
        ("generated/etcd-3.4.23.snap.db", "3.4.0", 1_506_754_741),
        ("generated/etcd-3.5.30.snap.db", "3.5.0", 2_370_930_948),
    ] {
        let Some(path) = fixture(name) else { return };
        let found = contents(&path).unwrap();
        assert_eq!((found.revision, found.compacted), (314, Some(253)), "{name}");
        assert_eq!((found.leases, found.users, found.roles), (1, 1, 1), "{name}");
        assert_eq!(found.cluster_version.as_deref(), Some(version), "{name}");
        assert_eq!(found.pages.unwrap().freelist_fault, None, "{name}");
        let file = File::open(&path).unwrap();
        let keys = read_keys(&Database::open(&file).unwrap(), 314, Some(253), &Interrupt::new()).unwrap();
        assert_eq!(keys.hash, hash, "{name}");
    }
}

#[test]
fn what_is_damaged_or_no_etcd_is_told() {
    for (name, why) in [
        ("other/ahrtr-etcd-issues/db", "not one of etcd"),
        ("other/ahrtr-etcd-issues/plain-bolt.db", "holds another bucket"),
    ] {
        let Some(path) = fixture(name) else { return };
        let error = contents(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::NotASnapshot, "{name}: {error}");
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
    // These were written by hosts that keep a list of free pages, and it is what is wrong with them.
    for (name, why) in [
        ("etcd/corrupted_backup.db", "listed as free, but is used"),
        ("auger/pkg/data/testdata/boltdb/db", "should be the list of free pages and is not"),
    ] {
        let Some(path) = fixture(name) else { return };
        let fault = contents(&path).unwrap().pages.unwrap().freelist_fault.unwrap();
        assert!(fault.contains(why), "{name}: {fault}");
    }
}

/// etcd panics on a revision that was written twice, as a deletion and as none.
#[test]
fn a_revision_that_is_there_twice_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let revision = |main, sub, mark: &[u8]| {
        let key = [&Revision { main, sub }.to_bytes()[..], mark].concat();
        (key, b"\x0a\x01a".to_vec(), false)
    };
    let read = |keys: &[LeafEntry]| {
        let buckets = [(b"key".to_vec(), keys.to_vec()), (b"meta".to_vec(), Vec::new())];
        std::fs::write(&path, bolt::database(4096, &buckets)).unwrap();
        contents(&path)
    };
    let read_well = read(&[revision(2, 0, b""), revision(2, 1, b"t"), revision(3, 0, b"")]).unwrap();
    assert_eq!((read_well.revision, read_well.deletions), (3, 1));
    let error = read(&[revision(2, 0, b""), revision(2, 0, b"t")]).unwrap_err();
    assert_eq!(error.kind(), Kind::DatabaseDamaged);
    assert!(error.to_string().ends_with("the revision is there twice"), "{error}");
}

/// A database that contradicts itself is an error, never a panic, and never more than its own size in memory.
#[test]
fn damage_of_every_kind_is_an_error() {
    const ROUNDS: usize = 800;
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = database_of("generated/etcd-3.5.30.snap.db", directory.path()) else { return };
    let good = std::fs::read(&path).unwrap();
    let before = dump(&path);
    let mut refused = 0;
    let mut state = 1_u64;
    for round in 0..ROUNDS {
        // Numbers as Knuth's MMIX draws them; in three of four rounds only headers and elements are hit.
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        let within = if round % 4 != 0 { random() % 128 } else { random() % 4096 };
        let at = random() % (good.len() / 4096) * 4096 + within;
        let mut bytes = good.clone();
        bytes[at] ^= u8::try_from(1 + random() % 255).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let read = Database::open(&file).and_then(|database| {
            let contents = DatabaseContents::read(&database, &Interrupt::new())?;
            let keys = read_keys(&database, contents.revision, contents.compacted, &Interrupt::new())?;
            let membership = Membership::parse("m1=http://127.0.0.1:2380", "t")?;
            become_member(&file, &membership, Some(contents.last_write + 5), &Interrupt::new())?;
            Ok(keys)
        });
        match read {
            Err(error) => {
                refused += 1;
                let known = [Kind::DatabaseDamaged, Kind::NotASnapshot, Kind::SnapshotLength, Kind::Usage];
                assert!(known.contains(&error.kind()), "byte {at}: {error}");
            }
            // What passed is a database all the same: a key or a value may have changed, which digests are for.
            Ok(_) => assert!(dump(&path).len() + 20 > before.len(), "byte {at}"),
        }
    }
    assert!(refused > ROUNDS / 20, "{refused} of {ROUNDS} were refused");
}

#[test]
fn a_database_cut_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = database_of("generated/etcd-3.4.23.snap.db", directory.path()) else { return };
    let good = std::fs::read(&path).unwrap();
    for pages in 0..good.len() / 4096 {
        std::fs::write(&path, &good[..pages * 4096]).unwrap();
        assert!(contents(&path).is_err(), "{pages} pages");
    }
}

/// Of hosts with other page sizes, and of trees of several levels.
#[test]
fn databases_of_every_page_size_become_members() {
    let Some(path) = fixture("generated/etcd-3.5.30.snap.db") else { return };
    let mut buckets: BTreeMap<Vec<u8>, Vec<LeafEntry>> = BTreeMap::new();
    for ((bucket, key), value) in dump(&path) {
        buckets.entry(bucket).or_default().push((key, value, false));
    }
    buckets.entry(b"alarm".to_vec()).or_default();
    let buckets: Vec<_> = buckets.into_iter().collect();
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("db");
    for page_size in [1024, 4096, 16_384, 65_536] {
        std::fs::write(&copy, bolt::database(page_size, &buckets)).unwrap();
        let before = dump(&copy);
        for bump in [None, Some(Bump { by: 7 })] {
            become_one(&copy, "m1=http://127.0.0.1:41911", "tok", bump);
            let found = contents(&copy).unwrap();
            assert_eq!(found.consistent_index, Some(1));
            assert_eq!(found.revision, if bump.is_some() { 321 } else { 314 }, "pages of {page_size}");
            let after = dump(&copy);
            let changed = before.iter().filter(|(key, value)| after.get(*key) != Some(value)).count();
            assert!(changed <= 6, "pages of {page_size}: {changed}");
        }
        for etcdutl in etcdutls() {
            assert_eq!(status(&etcdutl, &copy)["revision"], 321, "pages of {page_size}");
        }
    }
}

/// What `etcdutl snapshot status` tells of a database, but for its size.
fn status(etcdutl: &Path, database: &Path) -> serde_json::Value {
    let status = Command::new(etcdutl).args(["snapshot", "status", "-w", "json"]).arg(database).output();
    let mut status: serde_json::Value = serde_json::from_slice(&status.unwrap().stdout).unwrap();
    status.as_object_mut().unwrap().remove("totalSize");
    status
}

/// The hashes etcdutl 3.5.30 gave of what it had restored itself.
#[test]
fn a_member_s_database_has_the_hash_etcdutl_s_had() {
    for (bump, hash) in [(None, 3_149_776_292_u64), (Some(Bump { by: 1_000_000 }), 3_605_872_311)] {
        let directory = tempfile::tempdir().unwrap();
        let Some(ours) = database_of("generated/etcd-3.5.30.snap.db", directory.path()) else { return };
        become_one(&ours, "m1=http://127.0.0.1:41810", "tok", bump);
        for etcdutl in etcdutls() {
            assert_eq!(status(&etcdutl, &ours)["hash"], hash, "{}", etcdutl.display());
        }
    }
}

fn etcdutls() -> Vec<PathBuf> {
    let beside = etcds().into_iter().map(|etcd| etcd.with_file_name("etcdutl"));
    let found: Vec<_> = beside.filter(|path| path.exists()).collect();
    if found.is_empty() {
        skip::lacking_tool("etcdutl");
    }
    found
}

#[test]
fn a_member_s_database_is_what_etcdutl_makes() {
    let Some(etcdutl) = etcdutls().pop() else { return };
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
            let theirs = theirs.join("member/snap/db");
            assert_eq!(dump(&ours), dump(&theirs), "{name} {bump:?}");
            // Its hash is over the names of all buckets, too, those of empty ones among them.
            assert_eq!(status(&etcdutl, &ours), status(&etcdutl, &theirs), "{name} {bump:?}");
        }
    }
}

/// Buckets that are as large as they get: members that were removed for years, and leases on several levels.
#[test]
fn large_buckets_of_few_words_are_read_and_replaced() {
    let entry = |number: u64, value: &[u8]| (number.to_be_bytes().to_vec(), value.to_vec(), false);
    let removed =
        (0..5000_u64).map(|id| (format!("{:x}", id + 0x1000_0000).into_bytes(), b"removed".to_vec(), false));
    let buckets = [
        (b"key".to_vec(), Vec::new()),
        (b"lease".to_vec(), (1..60_000).map(|id| entry(id, b"\x08\x01\x10\x3c")).collect()),
        (b"members".to_vec(), vec![(b"abc".to_vec(), b"{}".to_vec(), false)]),
        (b"members_removed".to_vec(), removed.collect()),
        (b"meta".to_vec(), vec![(b"consistent_index".to_vec(), 9_u64.to_be_bytes().to_vec(), false)]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    std::fs::write(&path, bolt::database(4096, &buckets)).unwrap();
    assert_eq!(contents(&path).unwrap().leases, 59_999);
    become_one(&path, "m1=http://127.0.0.1:41911", "tok", Some(Bump { by: 5 }));
    let found = contents(&path).unwrap();
    assert_eq!((found.leases, found.revision, found.entries), (59_999, 5, 1));
    let after = dump(&path);
    assert_eq!(after.keys().filter(|(bucket, _)| bucket.starts_with(b"members")).count(), 1);
}

/// A list of free pages that is kept, as elsewhere than on Linux, is checked against what is used, however long it is.
#[test]
fn a_list_of_free_pages_is_held_against_the_trees() {
    const PAGE: usize = 512;
    const FREE: u64 = 70_000;
    let buckets = [(b"key".to_vec(), Vec::new()), (b"meta".to_vec(), Vec::new())];
    let good = bolt::database(PAGE, &buckets);
    let used = (good.len() / PAGE) as u64;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let write = |free: &[u64]| {
        // More than a page can count: the first number is the count.
        let numbers: Vec<u8> = std::iter::once(&(free.len() as u64))
            .chain(free)
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let pages = (16 + numbers.len()).div_ceil(PAGE);
        let id = used + FREE;
        let header =
            PageHeader { id, flags: FREELIST, count: 0xFFFF, overflow: u32::try_from(pages - 1).unwrap() };
        let head: [u8; 80] = good[..80].try_into().unwrap();
        let meta = Meta { freelist: id, high_water_mark: id + pages as u64, ..Meta::parse(&head).unwrap() };
        let file = File::create(&path).unwrap();
        file.set_len(meta.database_size().unwrap()).unwrap();
        file.write_all_at(&good, 0).unwrap();
        file.write_all_at(&meta.to_page(0), 0).unwrap();
        file.write_all_at(&meta.to_page(1), PAGE as u64).unwrap();
        file.write_all_at(&[&header.to_bytes()[..], &numbers].concat(), id * PAGE as u64).unwrap();
    };
    let all: Vec<u64> = (used..used + FREE).collect();
    let fault = || contents(&path).unwrap().pages.unwrap().freelist_fault;
    write(&all);
    assert_eq!(fault(), None);
    for (free, why) in [
        (&all[1..], "1 pages are neither used nor listed"),
        (&[&all[..], &all[7..8]].concat(), "used or listed twice"),
        (&[&all[..], &[2]].concat(), "used or listed twice"),
        (&[&all[..], &[1]].concat(), "listed as free"),
        (&[&all[..], &[u64::MAX]].concat(), "listed as free"),
    ] {
        write(free);
        let fault = fault().unwrap();
        assert!(fault.contains(why), "{fault}");
    }
    write(&all);
    become_one(&path, "m1=http://127.0.0.1:41911", "tok", None);
    assert_eq!(fault(), None);
}
