//! `tether`: starts etcd for another command, such as `drill`, so that no process outlives that.
//!
//! A process that is killed cannot clean up. So the command starts etcd through this launcher, whose standard input is a pipe
//! that only the command holds open: when the pipe ends, however the command ended, the launcher kills everything it started. As
//! a subreaper it becomes the parent of orphans below it, so that a script that forks, even into a session of its own,
//! leaves nothing behind. If the launcher itself is killed, Linux kills its child: a second stage sets a parent-death
//! signal, which survives the exec, and then becomes etcd. The command adopts and ends what etcd has started.

use crate::cli::exit::Exit;
use crate::cli::terminal::console::Console;
use crate::pipeline::private_etcd::children;
use clap::Args;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid, getppid, kill_process,
    set_child_subreaper, set_parent_process_death_signal, wait, waitid,
};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `tether`.
#[derive(Debug, Args)]
pub(crate) struct TetherArguments {
    /// The process it is to end with
    #[arg(value_name = "ID")]
    pub(crate) owner: i32,
    /// Become the program instead of watching it
    #[arg(long)]
    pub(crate) directly: bool,
    /// The program and its arguments
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) program: Vec<OsString>,
}

/// This program, even if its file was replaced or removed meanwhile.
const OURSELVES: &str = "/proc/self/exe";
/// How long to wait before looking again for killed processes.
const POLL: Duration = Duration::from_millis(10);

/// The command to put before a program's path and arguments, to start it through the launcher.
pub(crate) fn launcher() -> Vec<OsString> {
    let launcher = [OURSELVES.to_owned(), "tether".to_owned(), own_id(), "--".to_owned()];
    launcher.map(OsString::from).to_vec()
}

fn own_id() -> String {
    getpid().as_raw_nonzero().to_string()
}

/// Runs the program, and exits as it does.
pub(crate) fn run(given: &TetherArguments, console: &Console) -> ExitCode {
    let ended = check_parent(given.owner, given.directly).and_then(|()| {
        let (program, arguments) = given.program.split_first().ok_or("no program is named")?;
        if given.directly {
            become_program(given.owner, program, arguments)
        } else {
            hold(program, arguments)
        }
    });
    match ended {
        Ok(status) => end_as(status),
        Err(what) => {
            console.write(&format!("etcd-seal: error: {what}\n"));
            Exit::Failure.code().into()
        }
    }
}

/// Refuses to run programs for any process but a drill, as far as that can be checked.
fn check_parent(owner: i32, directly: bool) -> Result<(), String> {
    check_there(owner)?;
    let is_pipe = rustix::fs::fstat(std::io::stdin().as_fd())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    let file = |process: &str| {
        rustix::fs::stat(format!("/proc/{process}/exe")).map(|stat| (stat.st_dev, stat.st_ino))
    };
    let same_program = match (file(&owner.to_string()), file("self")) {
        (Ok(parent), Ok(own)) => parent == own,
        // A drill hides its secrets from other processes of its user, which includes this one.
        (Err(Errno::ACCESS | Errno::PERM), Ok(_)) => true,
        _ => false,
    };
    if same_program && (is_pipe || directly) {
        return Ok(());
    }
    Err("tether is for etcd-seal alone, which runs it by itself".to_owned())
}

/// Fails if the parent has ended, which shows in a new parent id.
fn check_there(owner: i32) -> Result<(), String> {
    let there = getppid().is_some_and(|id| id.as_raw_nonzero().get() == owner);
    if there { Ok(()) } else { Err("the command that started it is gone".to_owned()) }
}

/// The second stage. Sets the parent-death signal and becomes the program; returns only on failure.
fn become_program(owner: i32, program: &OsStr, arguments: &[OsString]) -> Result<WaitStatus, String> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("cannot ask for a signal when the drill ends: {error}"))?;
    // The signal is not sent if the parent ended before it was set.
    check_there(owner)?;
    let error = Command::new(program).args(arguments).exec();
    Err(format!("cannot run {}: {error}", program.display()))
}

/// Runs the program until it or the drill ends, and kills all processes that are left.
fn hold(program: &OsStr, arguments: &[OsString]) -> Result<WaitStatus, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
    set_child_subreaper(Some(getpid())).map_err(|error| failed("become a subreaper", &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("watch for signals", &error))?;
    let _entered = runtime.enter();
    // Signals for etcd's process group must not end the launcher first: caught here, they do nothing.
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        drop(signal(kind).map_err(|error| failed("watch for signals", &error))?);
    }
    let child = Command::new(OURSELVES)
        .args(["tether", &own_id(), "--directly", "--"])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| failed("start another process", &error))?;
    // While this lock is held, no process is waited for, so that no process id can be reused.
    let reaping = Arc::new(Mutex::new(()));
    let held = Arc::clone(&reaping);
    std::thread::Builder::new()
        .spawn(move || {
            wait_for_the_end_of_the_drill();
            loop {
                kill_children(&held);
                std::thread::sleep(POLL);
            }
        })
        .map_err(|error| failed("start a thread", &error))?;
    reap(&child, &reaping).map_err(|error| failed("wait for a process", &error))
}

fn wait_for_the_end_of_the_drill() {
    let mut input = std::io::stdin().lock();
    let mut byte = [0];
    while matches!(input.read(&mut byte), Ok(1)) {}
}

/// Waits for all processes, and kills the others once the program has ended. Returns the status of the program.
fn reap(child: &Child, reaping: &Mutex<()>) -> rustix::io::Result<WaitStatus> {
    let id = Pid::from_child(child);
    let mut ended = None;
    loop {
        if ended.is_some() {
            kill_children(reaping);
        }
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(Errno::INTR) => continue,
            Err(Errno::CHILD) => return ended.ok_or(Errno::CHILD),
            other => other.map(drop)?,
        }
        let _held = reaping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((reaped, status)) = wait(WaitOptions::NOHANG)?
            && reaped == id
        {
            ended = Some(status);
        }
    }
}

/// Kills all children. Their own children become children of this process, to be killed in the next round.
fn kill_children(reaping: &Mutex<()>) {
    let _held = reaping.lock().unwrap_or_else(PoisonError::into_inner);
    for child in children().unwrap_or_default() {
        // A failure only means that the child has ended already.
        let _ = kill_process(child.id, Signal::KILL);
    }
}

/// Ends with the same exit code, or by the same signal.
fn end_as(status: WaitStatus) -> ExitCode {
    if let Some(code) = status.exit_status() {
        return u8::try_from(code).unwrap_or(u8::MAX).into();
    }
    let number = status.terminating_signal().unwrap_or(0);
    if let Some(signal) = Signal::from_named_raw(number) {
        // Returns if the signal is caught here.
        let _ = kill_process(getpid(), signal);
    }
    u8::try_from(128 + number).unwrap_or(u8::MAX).into()
}
