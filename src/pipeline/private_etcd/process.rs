//! A private etcd process: started, watched, and always ended.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

/// How long etcd may take to end after a request to end.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How long a launcher may take to kill etcd and all processes that etcd started.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// How often to look for an end.
const POLL: Duration = Duration::from_millis(10);
/// Bytes at the end of a log that are read.
const TAIL_SIZE: u64 = 64 * 1024;
/// Lines of the log that are quoted.
const TOLD_LINES: usize = 3;
/// Most bytes of a line that are quoted.
const TOLD_SIZE: usize = 400;
/// Marks of lines that tell why etcd gave up: in the JSON of 3.5 and later, in the text of 3.4, of Go itself.
const TELLING: [&str; 7] = [
    "\"level\":\"fatal\"",
    "\"level\":\"panic\"",
    "\"level\":\"error\"",
    " C | ",
    " E | ",
    "panic: ",
    "fatal error: ",
];

/// How to start etcd.
#[derive(Clone, Debug)]
pub struct Program {
    /// The path of etcd.
    pub etcd: PathBuf,
    /// The launcher, run with etcd's path and arguments appended: a program that ends etcd, and every process that etcd has
    /// started, as soon as its own standard input ends, and that exits as etcd does. May be empty.
    pub launcher: Vec<OsString>,
    /// The value of `PATH`, which is etcd's whole environment.
    pub search_path: Option<OsString>,
}

/// A running etcd, in a process group of its own; dropping it kills it.
pub(super) struct Process {
    child: Child,
    /// Whether a launcher ends everything when its standard input ends.
    launched: bool,
    name: String,
    log: File,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `program` in `directory`, with its output in `log`.
    pub(super) fn start(
        program: &Program,
        name: &str,
        directory: &Path,
        log: File,
        arguments: &[String],
    ) -> Result<Self> {
        let copy =
            || log.try_clone().map_err(|error| Error::io("write", format!("the log of etcd {name}"), error));
        let (output, errors) = (copy()?, copy()?);
        let launched = !program.launcher.is_empty();
        let mut words = program.launcher.iter().map(OsString::as_os_str).chain([program.etcd.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or(OsStr::new("etcd")));
        command.args(words).args(arguments).current_dir(directory).env_clear();
        if let Some(path) = &program.search_path {
            command.env("PATH", path);
        }
        let input = if launched { Stdio::piped() } else { Stdio::null() };
        command.stdin(input).stdout(output).stderr(errors).process_group(0);
        let child = command.spawn().map_err(|error| {
            Error::new(Kind::NoEtcd, format!("cannot run {}: {error}", program.etcd.display()))
                .with_source(error)
        })?;
        tracing::debug!("started etcd {name}, process {}", child.id());
        Ok(Self { child, launched, name: name.to_owned(), log, ended: None })
    }

    /// The exit status, once etcd has ended. A script may leave children behind: they are killed here, too, before the wait
    /// that would release the number of their group.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let seen = waitid(WaitId::Pid(Pid::from_child(&self.child)), look);
            let failed = |error| Error::io("wait for", format!("etcd {}", self.name), error);
            if seen.map_err(|error| failed(error.into()))?.is_some() {
                self.signal(Signal::KILL);
                self.ended = Some(self.child.wait().map_err(failed)?);
            }
        }
        Ok(self.ended)
    }

    /// Asks etcd to end, and waits; kills it if it does not end.
    pub(super) fn stop(mut self, interrupt: &Interrupt) -> Result<()> {
        if self.ended()?.is_none() {
            self.signal(Signal::TERM);
        }
        let asked = Instant::now();
        while self.ended()?.is_none() {
            interrupt.check()?;
            if asked.elapsed() > STOP_PATIENCE {
                tracing::warn!("etcd {} does not end when asked to, and is killed", self.name);
                break;
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Quotes the end of its log.
    pub(super) fn last_words(&self) -> String {
        let words = tail(&self.log).map(|text| telling_lines(&text)).unwrap_or_default();
        if words.is_empty() { "it says nothing".to_owned() } else { format!("it says: {words}") }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The launcher also ends processes that have left the group, which no signal to the group reaches.
    fn let_launcher_end_it(&mut self) {
        drop(self.child.stdin.take());
        let asked = Instant::now();
        while self.launched && asked.elapsed() < KILL_PATIENCE {
            match self.ended() {
                Ok(None) => std::thread::sleep(POLL),
                _ => return,
            }
        }
    }

    /// Sends a signal to the group, so that it reaches the children of a script too. The number of the group stays valid
    /// until the process is waited for.
    fn signal(&self, signal: Signal) {
        let sent = kill_process_group(Pid::from_child(&self.child), signal);
        if let Err(error) = sent {
            tracing::debug!(name = self.name, %error, "cannot send a signal");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.let_launcher_end_it();
        }
        if self.ended.is_none() {
            self.signal(Signal::KILL);
            if let Err(error) = self.child.wait() {
                tracing::warn!("cannot wait for the end of etcd {}: {error}", self.name);
            }
        }
    }
}

/// Reads the end of a log without moving the write position.
fn tail(log: &File) -> std::io::Result<String> {
    let length = log.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(length.min(TAIL_SIZE)).unwrap_or(0)];
    log.read_exact_at(&mut bytes, length.saturating_sub(TAIL_SIZE))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines that tell why it ended, or otherwise the last lines.
fn telling_lines(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let tells = |line: &&str| TELLING.iter().any(|mark| line.contains(mark));
    let mut told: Vec<&str> = lines().filter(tells).collect();
    if told.is_empty() {
        told = lines().collect();
    }
    let first = told.len().saturating_sub(TOLD_LINES);
    let told: Vec<String> = told[first..].iter().map(|line| beginning(&plain(line)).to_owned()).collect();
    told.join(" | ")
}

/// A line without what only etcd's developers read: of JSON the message and the error, not the stack.
fn plain(line: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Line {
        msg: String,
        error: Option<String>,
    }
    match serde_json::from_str(line) {
        Ok(Line { msg, error: Some(error) }) => format!("{msg}: {error}").into(),
        Ok(Line { msg, error: None }) => msg.into(),
        Err(_) => line.into(),
    }
}

fn beginning(line: &str) -> &str {
    let end = (0..=TOLD_SIZE.min(line.len())).rev().find(|&end| line.is_char_boundary(end));
    &line[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, directory: &Path) -> Process {
        let program = Program { etcd: "/bin/sh".into(), launcher: Vec::new(), search_path: None };
        let mut log = File::options();
        let log = log.read(true).write(true).create(true).truncate(true).open(directory.join("m1.log"));
        Process::start(&program, "m1", directory, log.unwrap(), &["-c".to_owned(), script.to_owned()])
            .unwrap()
    }

    #[test]
    fn the_lines_that_tell_are_told() {
        let log = "start\n{\"level\":\"fatal\",\"msg\":\"no room\"}\n\ngoroutine 1\nexit\n";
        assert_eq!(telling_lines(log), "no room");
        let log =
            r#"{"level":"error","msg":"bootstrap failed","error":"not \"3.7\"","stacktrace":"main.main"}"#;
        assert_eq!(telling_lines(log), "bootstrap failed: not \"3.7\"");
        assert_eq!(telling_lines("a\nb\nc\nd\n"), "b | c | d");
        assert_eq!(telling_lines(&"ä".repeat(1000)).len(), TOLD_SIZE);
        assert_eq!(telling_lines(""), "");
    }

    /// A signal to one process would miss its children.
    #[test]
    fn nothing_of_it_outlives_its_owner() {
        ends_whole("sleep 600 & echo $!; wait", drop);
        ends_whole("sleep 600 & echo $!; exit 0", |mut process| {
            let began = Instant::now();
            while process.ended().unwrap().is_none() {
                assert!(began.elapsed() < STOP_PATIENCE);
                std::thread::sleep(POLL);
            }
        });
    }

    fn ends_whole(script: &str, end: impl FnOnce(Process)) {
        let directory = tempfile::tempdir().unwrap();
        let process = shell(script, directory.path());
        let began = Instant::now();
        let sleeper: i32 = loop {
            assert!(began.elapsed() < STOP_PATIENCE);
            match std::fs::read_to_string(directory.path().join("m1.log")).unwrap().trim().parse() {
                Ok(id) => break id,
                Err(_) => std::thread::sleep(POLL),
            }
        };
        end(process);
        let sleeper = Pid::from_raw(sleeper).unwrap();
        // The process is an orphan by then, and ends only after its new parent has waited for it.
        while rustix::process::test_kill_process(sleeper).is_ok() {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.as_raw_nonzero()));
            if status.is_ok_and(|status| status.contains(" Z ")) {
                break;
            }
            assert!(began.elapsed() < STOP_PATIENCE);
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn an_end_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("echo panic: no; exit 3", directory.path());
        let began = Instant::now();
        while process.ended().unwrap().is_none() {
            assert!(began.elapsed() < STOP_PATIENCE);
            std::thread::sleep(POLL);
        }
        assert_eq!(process.ended().unwrap().unwrap().code(), Some(3));
        assert_eq!(process.last_words(), "it says: panic: no");
        process.stop(&Interrupt::new()).unwrap();
        shell("exec sleep 600", directory.path()).stop(&Interrupt::new()).unwrap();
    }
}
