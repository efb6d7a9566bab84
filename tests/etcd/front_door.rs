//! The library's front door against real etcds: sealed, restored into members, drilled, stopped.

use etcd_seal::{Connection, Drill, Identities, Input, Kind, Recipients, Restore, Seal, Watch};
use harness::{Etcd, Options, etcds};
use secrecy::ExposeSecret;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The keys of one cluster, sealed into an archive in `directory`.
fn sealed(etcd: &Etcd, directory: &Path) -> (PathBuf, Identities) {
    let (identity, recipient) = etcd_seal::generate_identity("2026-01-02T03:04:05Z");
    let recipients = Recipients::of([recipient]).unwrap();
    let connection = Connection::new([etcd.address()]);
    let seal = Seal::new(&recipients, SystemTime::now()).cluster_name("door");
    let (_, published) = seal.to_directory(Input::etcd(&connection), directory).unwrap();
    (published.path, Identities::of(identity.expose_secret()).unwrap())
}

#[test]
fn the_library_seals_restores_members_and_drills() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary, &Options::default());
        etcd.fill("key", 10, 100);
        let directory = tempfile::tempdir().unwrap();
        let (archive, identities) = sealed(&etcd, directory.path());
        let open = || File::open(&archive).unwrap();
        let place = |name: &str| directory.path().join(name);

        let restore = Restore::archive(&identities);
        let one = restore.clone().bump_revision(1000).to_member(open(), "default", &place("one")).unwrap();
        assert_eq!((one.contents.revision, one.raised_to), (2, Some(1002)));
        assert!(place("one/member/snap/db").is_file());
        let again = restore.to_member(open(), "default", &place("one")).unwrap_err();
        assert_eq!(again.kind(), Kind::DestinationExists);

        let cluster = restore.clone().cluster("a=http://127.0.0.1:1,b=http://127.0.0.1:2", "t").unwrap();
        cluster.to_cluster(open(), &place("all")).unwrap();
        assert!(place("all/b/member/wal").is_dir());
        assert_eq!(cluster.to_member(open(), "c", &place("c")).unwrap_err().kind(), Kind::Usage);
        assert_eq!(restore.cluster("a=", "t").unwrap_err().kind(), Kind::Usage);

        let drill = Drill::archive(&identities, &binary, SystemTime::now());
        let drilled = drill.clone().members(2).run(open(), directory.path()).unwrap();
        assert_eq!((drilled.keys.count, drilled.members), (10, 2));
        let watch = Watch::default();
        assert!(watch.clone().stop());
        let stopped = drill.watch(watch).run(open(), directory.path());
        assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);

        let mut left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left.len(), 4, "{left:?}: the archive, its sidecar, and what was restored");
    }
}
