//! `tether`: how `drill` starts etcd, so that it never outlives the drill.
//!
//! A process that is killed cleans nothing up. So etcd is not started by itself but by this, which asks Linux to kill it as
//! soon as the thread that started it is gone, and then becomes etcd: that survives the exec.

use super::args::TetherArguments;
use super::exit::Exit;
use super::term::Console;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The words that come before a program's own, for this process to start it with.
pub(super) fn words() -> Vec<OsString> {
    // Of the child this is the same program, even if its file was replaced or removed meanwhile.
    let program = "/proc/self/exe".to_owned();
    let owner = rustix::process::getpid().as_raw_nonzero().to_string();
    [program, "tether".to_owned(), owner, "--".to_owned()].map(OsString::from).to_vec()
}

/// Becomes the program; returns only where that fails.
pub(super) fn run(words: &TetherArguments, console: &Console) -> Exit {
    let failed = |what: String| {
        console.write(&format!("etcd-seal: error: {what}\n"));
        Exit::Failure
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return failed(format!("cannot ask for a signal when the drill ends: {error}"));
    }
    // Whoever is gone by now sends no signal any more.
    if getppid().map(|id| id.as_raw_nonzero().get()) != Some(words.owner) {
        return failed("the drill is gone".to_owned());
    }
    let Some((program, arguments)) = words.words.split_first() else {
        return failed("no program is named".to_owned());
    };
    let error = Command::new(program).args(arguments).exec();
    failed(format!("cannot run {}: {error}", program.display()))
}
