//! Publishing files, seen from outside the process: killed at any step, out of space, under any umask, refused by
//! the system. The process under test is this program itself, run as its own ignored test [`child`].

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use etcd_seal::low_level::interrupt::Interrupt;
use etcd_seal::low_level::store::local::{UnpublishedFile, abandon_all};
use etcd_seal::low_level::store::sidecar::{Agreement, Sidecar};
use etcd_seal::low_level::store::{Existing, Published};
use etcd_seal::{Error, Result};
use harness::program::Program;
use harness::sandbox::names;
use harness::skip;
use harness::{again, needs};
use tempfile::TempDir;

/// What the child is to do, and where.
const ACTION: &str = "STORE_TEST_ACTION";
const DIRECTORY: &str = "STORE_TEST_DIRECTORY";

/// More than the limits set below, and than one write of the kernel.
const SIZE: usize = 1 << 20;

/// SHA-256 of [`SIZE`] zero bytes, as `head -c 1048576 /dev/zero | sha256sum` says.
const SHA256: &str = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";

#[test]
#[ignore = "the others run it as a child process"]
fn child() {
    let directory = std::env::var_os(DIRECTORY).unwrap();
    let directory = Path::new(&directory);
    let outcome = match std::env::var(ACTION).unwrap().as_str() {
        "publish" => publish(directory, Existing::Refuse),
        "replace" => publish(directory, Existing::Replace),
        "abandon" => abandon(directory),
        other => panic!("no action {other}"),
    };
    match outcome {
        Ok(()) => say("outcome: done"),
        Err(error) => {
            say(&format!("outcome: {}\nerror: {error}\nhint: {}", error.kind().name(), error.hint()));
        }
    }
    // Inside a namespace of its own, only the child can see what is left.
    if let Ok(entries) = fs::read_dir(directory) {
        entries.for_each(|entry| say(&format!("left: {}", entry.unwrap().file_name().display())));
    }
}

fn say(line: &str) {
    let mut past_the_harness = std::io::stdout();
    writeln!(past_the_harness, "\n{line}").unwrap();
}

fn publish(directory: &Path, existing: Existing) -> Result<()> {
    let mut sha256 = [0; 32];
    hex::decode_to_slice(SHA256, &mut sha256).unwrap();
    let mut unpublished = UnpublishedFile::create(directory)?;
    for chunk in vec![0; SIZE].chunks(10_000) {
        unpublished.write_all(chunk).map_err(|error| Error::io("write", "the archive", error))?;
    }
    unpublished.publish("x.age", existing, Some(sha256), &Interrupt::new()).and_then(whole)
}

/// Nothing was published with a shortfall.
fn whole(published: Published) -> Result<()> {
    published.shortfall.map_or(Ok(()), Err)
}

fn abandon(directory: &Path) -> Result<()> {
    publish(directory, Existing::Refuse)?;
    let unpublished = [UnpublishedFile::create(directory)?, UnpublishedFile::create(directory)?];
    assert_eq!(names(directory).len(), 4);
    abandon_all();
    say(&format!("after abandoning: {}", names(directory).join(" ")));
    let [late, _] = unpublished;
    late.publish("late.age", Existing::Refuse, None, &Interrupt::new()).and_then(whole)
}

/// The child, behind `wrapper`.
fn command(wrapper: &[&str], action: &str, directory: &Path) -> Program {
    let again = again::program(child).args(["--ignored", "--test-threads=1"]).behind(wrapper);
    again.env(ACTION, action).env(DIRECTORY, directory)
}

/// Runs the child and returns what it said.
fn run(wrapper: &[&str], action: &str, directory: &Path) -> String {
    let outcome = command(wrapper, action, directory).run();
    let said = outcome.text().to_owned();
    assert!(said.contains("outcome: "), "{said}\n{}", outcome.stderr);
    said
}

/// Judged by `sha256sum`, and by what reads sidecars here.
fn assert_published(directory: &Path) {
    assert_eq!(names(directory), ["x.age", "x.age.sha256"]);
    let judge = Command::new("sha256sum")
        .args(["--check", "--strict", "--status", "x.age.sha256"])
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(judge.success());
    let archive = directory.join("x.age");
    assert_eq!(fs::metadata(&archive).unwrap().len(), SIZE as u64);
    let sidecar = Sidecar::read_beside(&archive).unwrap().unwrap();
    assert_eq!(hex::encode(sidecar.sha256), SHA256);
    assert_eq!(sidecar.compare(&archive, &sidecar.sha256).unwrap(), Agreement::Full);
}

fn make_old(path: &Path) {
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(path).unwrap().set_modified(an_hour_ago).unwrap();
}

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_process_that_must_exit_leaves_nothing_but_what_is_published() {
    let place = place();
    let said = run(&[], "abandon", place.path());
    assert!(said.contains("after abandoning: x.age x.age.sha256\n"), "{said}");
    assert!(said.contains("outcome: io"), "what was abandoned was published: {said}");
    assert_published(place.path());
}

/// Runs the child with `faults` injected. Returns what it said and the system calls it made, in order.
fn run_with_faults(faults: &[&str], action: &str, directory: &Path) -> (String, Vec<String>) {
    let place = place();
    let log = place.path().join("log");
    let calls = "trace=openat,flock,write,fsync,fdatasync,unlinkat,linkat,renameat,renameat2";
    let more = ["-y", "-o", log.to_str().unwrap(), "-e", calls];
    let said = command(&[], action, directory).faulty(faults, &more).run();
    let calls = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    (said.text().to_owned(), calls)
}

/// The first word and the final names of the calls that matter, in order.
fn steps(calls: &[String], directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let temporary = |name: &str| name.starts_with(".etcd-seal-");
    let step = |line: &String| {
        let call = line.split_once(' ')?.1.trim_start();
        let (word, rest) = call.split_once('(')?;
        let successful = !call.contains(" = -1 ");
        let about_us = rest.contains(directory) && successful;
        let last = rest.split('"').rev().nth(1).filter(|name| !temporary(name)).unwrap_or("temporary");
        match word {
            "fsync" if rest.starts_with(|digit: char| digit.is_ascii_digit()) && about_us => {
                Some(if rest.contains(".etcd-seal-") { "fsync file" } else { "fsync directory" }.to_owned())
            }
            "unlinkat" | "linkat" | "renameat" | "renameat2" if about_us => Some(format!("{word} {last}")),
            _ => None,
        }
    };
    calls.iter().filter_map(step).collect()
}

#[test]
fn the_steps_are_taken_in_the_documented_order() {
    needs!(skip::can_trace());
    let place = place();
    let (said, calls) = run_with_faults(&[], "publish", place.path());
    assert!(said.contains("outcome: done"), "{said}");
    let to_the_end = ["renameat x.age.sha256", "fsync directory"];
    let fresh = [&["fsync file", "fsync file", "renameat2 x.age"], &to_the_end[..]].concat();
    assert_eq!(steps(&calls, place.path()), fresh, "{calls:#?}");

    let (said, calls) = run_with_faults(&[], "replace", place.path());
    assert!(said.contains("outcome: done"), "{said}");
    let replacing =
        [&["fsync file", "fsync file", "unlinkat x.age.sha256", "renameat x.age"], &to_the_end[..]].concat();
    assert_eq!(steps(&calls, place.path()), replacing, "{calls:#?}");

    let created = |line: &&String| line.contains("O_CREAT") && line.contains(place.path().to_str().unwrap());
    for line in calls.iter().filter(created) {
        assert!(line.contains("O_EXCL") && line.contains("O_NOFOLLOW") && line.contains(", 0600)"), "{line}");
    }
    assert_eq!(calls.iter().filter(created).count(), 2);
    assert_published(place.path());
}

#[test]
fn every_fallback_of_publishing_without_replacing_is_taken() {
    needs!(skip::can_trace());
    let cases = [
        (&["renameat2:error=EINVAL"][..], &["linkat x.age", "unlinkat temporary"][..]),
        (&["renameat2:error=ENOSYS"], &["linkat x.age", "unlinkat temporary"]),
        (&["renameat2:error=EOPNOTSUPP", "linkat:error=EPERM"], &["renameat x.age"]),
        (&["renameat2:error=EINVAL", "linkat:error=EOPNOTSUPP"], &["renameat x.age"]),
        (&["renameat2:error=EINVAL", "linkat:error=EMLINK"], &["renameat x.age"]),
    ];
    for (faults, commit) in cases {
        let place = place();
        let (said, calls) = run_with_faults(faults, "publish", place.path());
        assert!(said.contains("outcome: done"), "{faults:?}: {said}");
        let steps = steps(&calls, place.path());
        assert_eq!(steps[2..2 + commit.len()], *commit, "{faults:?}: {steps:?}");
        assert_published(place.path());

        let (said, _) = run_with_faults(faults, "publish", place.path());
        assert!(said.contains("outcome: destination_exists"), "{faults:?}: {said}");
        assert_published(place.path());
    }
}

#[test]
fn a_failure_before_the_commit_leaves_nothing_and_after_it_the_archive() {
    needs!(skip::can_trace());
    let both: &[&str] = &["x.age", "x.age.sha256"];
    let cases = [
        (&["fsync:error=EIO:when=1"][..], "io", &[][..]),
        (&["fsync:error=ENOSPC:when=2"], "no_space", &[]),
        (&["renameat2:error=EACCES"], "io", &[]),
        (&["renameat2:error=EINVAL", "linkat:error=EIO"], "io", &[]),
        (&["renameat2:error=EINVAL", "linkat:error=EPERM", "renameat:error=EIO:when=1"], "io", &[]),
        (&["renameat:error=EIO"], "partly_published", &["x.age"]),
        (&["fsync:error=EIO:when=3"], "partly_published", both),
        // Filesystems that cannot sync directories at all.
        (&["fsync:error=EINVAL:when=3"], "done", both),
        (&["fsync:error=EOPNOTSUPP:when=3"], "done", both),
    ];
    for (faults, kind, left) in cases {
        let place = place();
        let (said, calls) = run_with_faults(faults, "publish", place.path());
        assert!(said.contains(&format!("outcome: {kind}\n")), "{faults:?}: {said}");
        assert_eq!(names(place.path()), *left, "{faults:?}");
        if kind == "done" {
            assert_published(place.path());
        } else if kind == "partly_published" {
            assert!(said.contains("x.age is complete, but "), "{said}");
            assert_eq!(fs::metadata(place.path().join("x.age")).unwrap().len(), SIZE as u64);
            let synced = calls.iter().filter(|line| line.contains("fsync(")).count();
            assert_eq!(synced, 3, "the directory was not synced: {calls:#?}");
        }
    }
}

#[test]
fn killed_at_any_step_there_is_a_whole_archive_or_none() {
    needs!(skip::can_trace());
    let steps = [
        ("write:signal=KILL:when=50", false),
        ("fsync:signal=KILL:when=1", false),
        ("fsync:signal=KILL:when=2", false),
        ("renameat2:signal=KILL", false),
        ("renameat:signal=KILL", true),
        ("fsync:signal=KILL:when=3", true),
    ];
    for (step, published) in steps {
        let place = place();
        let (said, _) = run_with_faults(&[step], "publish", place.path());
        assert!(!said.contains("outcome: "), "{step}: it was not killed");
        let left = names(place.path());
        assert_eq!(left.iter().any(|name| name == "x.age"), published, "{step}: {left:?}");
        if published {
            assert_eq!(fs::metadata(place.path().join("x.age")).unwrap().len(), SIZE as u64);
        }
        let temporary = |name: &&String| Path::new(name).extension() == Some(OsStr::new("tmp"));
        left.iter().filter(temporary).for_each(|name| make_old(&place.path().join(name)));
        run(&[], "replace", place.path());
        assert_published(place.path());
    }
}

#[test]
fn where_locks_are_not_supported_files_are_published_and_nothing_is_removed() {
    needs!(skip::can_trace());
    for error in ["ENOLCK", "EOPNOTSUPP", "ENOSYS"] {
        let place = place();
        let stale = place.path().join(".etcd-seal-0123456789abcdef.tmp");
        fs::write(&stale, "").unwrap();
        make_old(&stale);
        let fault = format!("flock:error={error}");
        let (said, _) = run_with_faults(&[&fault], "publish", place.path());
        assert!(said.contains("outcome: done"), "{said}");
        assert!(stale.exists());
        fs::remove_file(&stale).unwrap();
        assert_published(place.path());
    }
}

#[test]
fn a_temporary_lost_to_another_run_before_it_was_locked_is_given_up_for_a_new_one() {
    needs!(skip::can_trace());
    let place = place();
    let (said, calls) = run_with_faults(&["flock:error=EAGAIN:when=1"], "publish", place.path());
    assert!(said.contains("outcome: done"), "{said}");
    assert_published(place.path());
    let created = calls.iter().filter(|line| line.contains("O_EXCL") && line.contains(".etcd-seal-"));
    assert_eq!(created.count(), 3, "two for the archive and one for its sidecar: {calls:#?}");
}
