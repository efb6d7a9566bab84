//! What cannot be tried here, said where it is seen.
//!
//! A test that lacks a tool of `scripts/setup test`, an etcd or the fixtures fails, unless `ETCD_SEAL_TEST_ALLOW_SKIP=1`. What
//! the machine refuses (namespaces, root's rights) and what is beyond `scripts/setup` (plugins, other releases) is passed
//! over. Either way one line goes to standard error and to the file that `ETCD_SEAL_TEST_SKIPS` names.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Set to 1: a test may be skipped although what it lacks could be had.
const ALLOW: &str = "ETCD_SEAL_TEST_ALLOW_SKIP";

/// Names the file that collects what was skipped; `scripts/test` prints it.
const COLLECTED_IN: &str = "ETCD_SEAL_TEST_SKIPS";

/// What `scripts/setup test` installs, or what every Debian has.
const REQUIRED: [&str; 9] =
    ["age", "age-keygen", "etcd", "etcdctl", "groff", "script", "ssh-keygen", "strace", "zstd"];

/// Ends the test here unless what it needs can be had; the question itself tells what was passed over.
#[macro_export]
macro_rules! needs {
    ($can:expr) => {
        if !$can {
            return;
        }
    };
}

/// Prints a line of the test's own.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Passes over a part that this machine refuses.
pub fn refused(why: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {why}", thread.name().unwrap_or("a thread"));
    say(&line);
    if let Some(path) = std::env::var_os(COLLECTED_IN) {
        // One write, so that lines of several tests do not mix.
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Passes over a part that lacks what could be had.
#[track_caller]
pub fn lacking(what: &str) {
    let allowed = std::env::var_os(ALLOW).is_some_and(|value| value == "1");
    assert!(allowed, "{what}; scripts/setup test installs the tools, and {ALLOW}=1 goes without");
    refused(what);
}

/// Passes over a part that lacks the tool `name`.
#[track_caller]
pub fn lacking_tool(name: &str) {
    let what = format!("no {name} on PATH or in ETCD_SEAL_TEST_ETCDS");
    if REQUIRED.contains(&name) { lacking(&what) } else { refused(&what) }
}

/// Whether `program` can be run with `arguments` here; where it cannot, the part is passed over.
#[track_caller]
pub fn can(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => return true,
        Err(_) => lacking_tool(program),
        Ok(_) => refused(&format!("cannot run {program} {}", arguments.join(" "))),
    }
    false
}

/// Whether strace works here: it may be missing, and a container may forbid it.
#[track_caller]
pub fn can_trace() -> bool {
    can("strace", &["-e", "trace=none", "true"])
}

/// Whether the test runs as root; where it does not, the part that is `what` is passed over.
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        refused(what);
    }
    root
}

/// The directory of snapshots and databases made elsewhere.
#[track_caller]
pub fn fixtures() -> Option<PathBuf> {
    let named = std::env::var_os("ETCD_SEAL_TEST_FIXTURES").map(PathBuf::from);
    let found = named.filter(|directory| directory.is_dir());
    if found.is_none() {
        lacking("ETCD_SEAL_TEST_FIXTURES names no directory");
    }
    found
}
