//! The two programs of the documentation, which use nothing but the front door of the library.

use crate::harness::sandbox::{Sandbox, finish};
use crate::harness::{Etcd, Options, etcds};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A program that cargo builds with the tests.
fn example(name: &str) -> Command {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_etcd-seal"));
    Command::new(program.parent().unwrap().join("examples").join(name))
}

#[test]
fn one_example_backs_up_an_etcd_and_the_other_says_what_the_archive_says() {
    for binary in etcds() {
        let etcd = Etcd::start(&binary, &Options::default());
        etcd.fill("key", 10, 100);
        let sandbox = Sandbox::new();
        let identity = fs::read_to_string(sandbox.identity()).unwrap();
        let recipient = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
        let mut backup = example("backup");
        let backed_up =
            finish(backup.args([&etcd.address(), recipient]).arg(sandbox.backups())).with(0).out();
        let archive = sandbox.archive();
        assert!(backed_up.starts_with(&archive.display().to_string()), "{backed_up}");
        let _ = finish(sandbox.open("verify").arg(&archive)).with(0);

        let described = finish(example("describe").arg(&archive)).with(0).out();
        assert!(described.contains(", revision Some(2)\nopened: false"), "{described}");
        let opened = finish(example("describe").arg(&archive).arg(sandbox.identity())).with(0).out();
        assert_eq!(opened, described.replace("false", "true"));

        let refused = finish(backup.args(["--"])).with(101);
        assert!(refused.err().contains("usage: backup "), "{}", refused.err());
        let mut unreachable = example("backup");
        unreachable.args(["127.0.0.1:1", recipient]).arg(sandbox.backups());
        let failed = finish(&mut unreachable).with(1);
        assert!(failed.err().contains("(etcd_unreachable)\nhint: check `endpoints`"), "{}", failed.err());
    }
}
