//! Many saves into one directory at the same time, as of several hosts with one schedule: each becomes an archive.

use etcd_seal::low_level::store::name::ArchiveName;
use harness::sandbox::{Running, Sandbox, await_that, finish, names, snapshot};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SAVES: usize = 30;

/// Starts a save that waits for its snapshot.
fn begin(sandbox: &Sandbox) -> Running {
    let mut save = sandbox.save();
    save.arg(sandbox.backups()).args(["--from", "-", "--json", "--jobs", "1"]);
    Running::start(save.stdin(Stdio::piped()))
}

/// The path and the digest that a save reports.
fn outcome(save: Running) -> (PathBuf, String) {
    let told: serde_json::Value = serde_json::from_slice(&save.wait().with(0).stdout).unwrap();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("path").into(), text("archive_sha256"))
}

fn number_of(archive: &Path) -> Option<u64> {
    ArchiveName::parse(archive.file_name().unwrap().to_str().unwrap()).unwrap().number
}

#[test]
fn thirty_saves_at_the_same_time_are_thirty_archives() {
    let (sandbox, snapshot) = (Sandbox::new(), snapshot(4));
    let mut saves: Vec<Running> = (0..SAVES).map(|_| begin(&sandbox)).collect();
    // Every save is under way before the first is published, so that the names have to be settled at the end.
    await_that("every save has begun", || names(&sandbox.backups()).len() == SAVES);
    for save in &mut saves {
        save.child.stdin.as_mut().unwrap().write_all(&snapshot).unwrap();
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
    let listed = sandbox.names();
    assert_eq!(listed.len(), 2 * SAVES, "{listed:?}");
    let sidecars = listed.iter().filter(|name| name.ends_with(".sha256"));
    let mut check = Command::new("sha256sum");
    check.current_dir(sandbox.backups()).args(["--check", "--strict", "--quiet"]).args(sidecars);
    assert!(check.status().unwrap().success());
    let _ = finish(sandbox.open("verify").args(paths)).with(0);
}

#[test]
fn the_numbers_go_on_and_a_given_name_is_refused() {
    let (sandbox, snapshot) = (Sandbox::new(), snapshot(4));
    fs::write(sandbox.path("snapshot.db"), snapshot).unwrap();
    let save = |destination: &Path, more: &[&str]| {
        let mut save = sandbox.save();
        save.arg(destination).arg("--from").arg(sandbox.path("snapshot.db")).arg("--json").args(more);
        finish(&mut save)
    };
    let told = save(&sandbox.backups(), &[]).with(0);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let given = PathBuf::from(told["path"].as_str().unwrap());
    let before = fs::read(&given).unwrap();
    // A name that looks automatic is refused, too, if the operator gave it.
    let refused = save(&given, &[]).with(2).out();
    assert!(refused.contains("destination_exists") && refused.contains("--force"), "{refused}");
    // In a directory, `--force` replaces nothing.
    for _ in 0..3 {
        let _ = save(&sandbox.backups(), &["--force"]).with(0);
    }
    assert_eq!(fs::read(&given).unwrap(), before);
    assert_eq!(sandbox.names().len(), 8);
    let _ = save(&given, &["--force"]).with(0);
    assert_ne!(fs::read(&given).unwrap(), before);
    assert_eq!(sandbox.names().len(), 8);
}
