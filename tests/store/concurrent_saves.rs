//! Many saves into one directory at the same time, as of several hosts with one schedule: each becomes an archive.

use etcd_seal::low_level::store::name::ArchiveName;
use harness::process::await_that;
use harness::program::{Outcome, Running};
use harness::sandbox::Sandbox;
use harness::snapshots::snapshot;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SAVES: usize = 30;

/// Starts a save that waits for its snapshot.
fn begin(sandbox: &Sandbox) -> Running {
    sandbox.save().arg(sandbox.backups()).args(["--from", "-", "--json", "--jobs", "1"]).start_fed()
}

/// The path and the digest that a save reports.
fn outcome(save: Running) -> (PathBuf, String) {
    let told = told(&save.wait());
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("path").into(), text("archive_sha256"))
}

fn told(outcome: &Outcome) -> serde_json::Value {
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    serde_json::from_slice(&outcome.stdout).unwrap()
}

fn number_of(archive: &Path) -> Option<u64> {
    ArchiveName::parse(archive.file_name().unwrap().to_str().unwrap()).unwrap().number
}

#[test]
fn thirty_saves_at_the_same_time_are_thirty_archives() {
    let (sandbox, snapshot) = (Sandbox::furnished(), snapshot(4));
    let mut saves: Vec<Running> = (0..SAVES).map(|_| begin(&sandbox)).collect();
    // Every save is under way before the first is published, so that the names have to be settled at the end.
    await_that("every save has begun", || sandbox.published().len() == SAVES);
    for save in &mut saves {
        save.feed(&snapshot);
    }
    for save in &mut saves {
        drop(save.child.stdin.take());
    }
    let outcomes: Vec<(PathBuf, String)> = saves.into_iter().map(outcome).collect();

    let mut paths: Vec<&PathBuf> = outcomes.iter().map(|(path, _)| path).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), SAVES, "{outcomes:?}");
    // The saves of one second have one name, and 30 of them take less than 30 seconds to start.
    assert!(paths.iter().any(|path| number_of(path) == Some(2)), "{outcomes:?}");
    for (path, sha256) in &outcomes {
        assert_eq!(hex::encode(Sha256::digest(fs::read(path).unwrap())), *sha256, "{}", path.display());
    }
    let listed = sandbox.published();
    assert_eq!(listed.len(), 2 * SAVES, "{listed:?}");
    let sidecars = listed.iter().filter(|name| name.ends_with(".sha256"));
    let mut check = Command::new("sha256sum");
    check.current_dir(sandbox.backups()).args(["--check", "--strict", "--quiet"]).args(sidecars);
    assert!(check.status().unwrap().success());
    let _ = sandbox.open("verify").args(paths).succeed();
}

#[test]
fn the_numbers_go_on_and_a_given_name_is_refused() {
    let (sandbox, snapshot) = (Sandbox::furnished(), snapshot(4));
    fs::write(sandbox.path("snapshot.db"), snapshot).unwrap();
    let save = |destination: &Path, more: &[&str]| {
        let from = sandbox.path("snapshot.db");
        sandbox.save().arg(destination).arg("--from").arg(from).arg("--json").args(more).run()
    };
    let told = told(&save(&sandbox.backups(), &[]));
    let given = PathBuf::from(told["path"].as_str().unwrap());
    let before = fs::read(&given).unwrap();
    // A name that looks automatic is refused, too, if the operator gave it.
    let refused = save(&given, &[]).ends_with(2).text().to_owned();
    assert!(refused.contains("destination_exists") && refused.contains("--force"), "{refused}");
    // In a directory, `--force` replaces nothing.
    for _ in 0..3 {
        let _ = save(&sandbox.backups(), &["--force"]).ends_with(0);
    }
    assert_eq!(fs::read(&given).unwrap(), before);
    assert_eq!(sandbox.published().len(), 8);
    let _ = save(&given, &["--force"]).ends_with(0);
    assert_ne!(fs::read(&given).unwrap(), before);
    assert_eq!(sandbox.published().len(), 8);
}
