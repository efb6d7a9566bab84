//! Programs of the user's that run before and after a command.

use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often to look for an end.
const POLL: Duration = Duration::from_millis(10);
/// The prefix of a field of the result in the environment.
const FIELD: &str = "ETCD_SEAL_RESULT_";

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    program: String,
    arguments: Vec<String>,
}

impl Hook {
    /// Splits `text` as a shell does, without any of its expansions.
    ///
    /// # Errors
    /// The reason, for a message that names the flag.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words = shell_words::split(text).map_err(|_| "a quote in it does not end")?;
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.is_empty()).ok_or("it names no program")?;
        Ok(Self { program, arguments: words.collect() })
    }

    fn start(&self, event: &Event) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(event.variables()).stdin(Stdio::null());
        // Standard output carries the result, or the archive.
        command.stdout(std::io::stderr().as_fd().try_clone_to_owned()?);
        command.process_group(0).spawn()
    }

    /// Runs it to its end, but for at most `timeout`; an interrupt ends it sooner.
    fn run(&self, event: &Event, timeout: Duration, interrupt: Option<&Interrupt>) -> Result<()> {
        let began = Instant::now();
        let failed = |why: String| {
            let message = format!("the program {} of --run-{} {why}", self.program, event.when.name());
            Error::new(Kind::HookFailed, message)
        };
        let mut child = self
            .start(event)
            .map_err(|error| failed(format!("cannot be run: {error}")).with_source(error))?;
        let status = wait(&mut child, || {
            if let Some(interrupt) = interrupt {
                interrupt.check()?;
            }
            if began.elapsed() < timeout {
                Ok(())
            } else {
                Err(failed(format!("took longer than {timeout:?}")))
            }
        })?;
        tracing::debug!(program = self.program, hook = event.when.name(), %status, took = ?began.elapsed(), "ran a program");
        if status.success() { Ok(()) } else { Err(failed(format!("failed: {status}"))) }
    }
}

/// Waits as long as `patience` allows it, and then kills the child and what it started.
fn wait(child: &mut Child, mut patience: impl FnMut() -> Result<()>) -> Result<ExitStatus> {
    let failed = |error| Error::io("wait for", "a program", error);
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        if let Err(error) = patience() {
            // A failure only means that the group has ended already.
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            child.wait().map_err(failed)?;
            return Err(error);
        }
        std::thread::sleep(POLL);
    }
}

/// When a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before the command.
    Before,
    /// After success.
    After,
    /// After a failure.
    Failed,
    /// After both.
    Finally,
}

impl When {
    /// The name in the flag and in the environment.
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Failed => "failed",
            Self::Finally => "finally",
        }
    }
}

/// What a program is told through its environment.
pub(super) struct Event {
    /// The command of etcd-seal.
    pub(super) command: &'static str,
    /// Which programs run.
    pub(super) when: When,
    /// The fields of the result, once there is one.
    pub(super) fields: Vec<(String, String)>,
}

impl Event {
    fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let own = [("ETCD_SEAL_COMMAND", self.command), ("ETCD_SEAL_HOOK", self.when.name())];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // A variable ends at a NUL, which a field may hold as any other character.
        let field = |(name, value): &(String, String)| {
            (format!("{FIELD}{}", name.to_uppercase()), value.replace('\0', "\u{fffd}"))
        };
        own.into_iter().chain(self.fields.iter().map(field).collect::<Vec<_>>())
    }
}

/// The programs of a command.
#[derive(Debug)]
pub(super) struct Hooks {
    pub(super) before: Vec<Hook>,
    pub(super) after: Vec<Hook>,
    pub(super) failed: Vec<Hook>,
    pub(super) finally: Vec<Hook>,
    /// How long each may take.
    pub(super) timeout: Duration,
}

impl Hooks {
    /// Runs the programs before the command, up to the first that fails.
    ///
    /// # Errors
    /// [`Kind::HookFailed`], [`Kind::Interrupted`].
    pub(super) fn before(&self, event: &Event, interrupt: &Interrupt) -> Result<()> {
        self.of(event.when).iter().try_for_each(|hook| hook.run(event, self.timeout, Some(interrupt)))
    }

    /// Runs every program of `event`, also after one that fails, and also when the command was interrupted. The others than
    /// the first failure are warnings.
    ///
    /// # Errors
    /// [`Kind::HookFailed`].
    pub(super) fn after(&self, event: &Event) -> Result<()> {
        let mut failures =
            self.of(event.when).iter().filter_map(|hook| hook.run(event, self.timeout, None).err());
        let first = failures.next();
        failures.for_each(|failure| tracing::warn!("{failure}"));
        first.map_or(Ok(()), Err)
    }

    fn of(&self, when: When) -> &[Hook] {
        match when {
            When::Before => &self.before,
            When::After => &self.after,
            When::Failed => &self.failed,
            When::Finally => &self.finally,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let hook = Hook::parse("sh -c 'echo \"$1\" | cat' \"two words\" plain").unwrap();
        assert_eq!(hook.program, "sh");
        assert_eq!(hook.arguments, ["-c", "echo \"$1\" | cat", "two words", "plain"]);
        assert_eq!(Hook::parse("sh -c 'echo").unwrap_err(), "a quote in it does not end");
        for nothing in ["", "  ", "''"] {
            assert_eq!(Hook::parse(nothing).unwrap_err(), "it names no program");
        }
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id");
        let text = format!("sh -c 'sleep 600 & echo $! >{}; wait'", file.display());
        let hook = Hook::parse(&text).unwrap();
        let event = Event { command: "save", when: When::After, fields: Vec::new() };
        // Once the child is known, there is something to kill.
        let mut child = hook.start(&event).unwrap();
        let known = || std::fs::read_to_string(&file).ok().filter(|id| id.ends_with('\n'));
        let over = || Error::new(Kind::HookFailed, "over");
        let ended = wait(&mut child, || if known().is_some() { Err(over()) } else { Ok(()) });
        assert_eq!(ended.unwrap_err().to_string(), "over");
        let sleeper = Pid::from_raw(known().unwrap().trim().parse().unwrap()).unwrap();
        let began = Instant::now();
        while rustix::process::test_kill_process(sleeper).is_ok() && !is_zombie(sleeper) {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(POLL);
        }
    }

    fn is_zombie(id: Pid) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero()))
            .is_ok_and(|text| text.contains(") Z "))
    }
}
