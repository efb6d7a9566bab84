//! What the system tells of a process, and what it is told.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// No program hangs a test for longer.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long between two looks at something awaited.
const INTERVAL: Duration = Duration::from_millis(2);

/// What the system tells of a process.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

/// One of its threads, or all of them together.
#[derive(Debug)]
pub struct Thread {
    /// What it is called.
    pub name: String,
    /// Its nice value.
    pub nice: i32,
    /// The processor time it has taken.
    pub processor_time: Duration,
}

impl Process {
    /// All of it.
    pub fn whole(self) -> Thread {
        Thread::parse(&std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap())
    }

    /// Its threads, without those that end meanwhile.
    pub fn threads(self) -> Vec<Thread> {
        std::fs::read_dir(format!("/proc/{}/task", self.0))
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
            .map(|stat| Thread::parse(&stat))
            .collect()
    }

    /// The most memory it has had so far, in bytes; `None` once it has ended.
    pub fn peak_memory(self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// How many of its threads have this name.
    pub fn count(self, name: &str) -> usize {
        self.threads().iter().filter(|thread| thread.name == name).count()
    }
}

impl Thread {
    /// Out of a line of `proc_pid_stat(5)`.
    fn parse(stat: &str) -> Self {
        let (before, after) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = after.split_whitespace().collect();
        // The manual counts from 1, and these fields begin with its third.
        let field = |number: usize| fields[number - 3];
        let ticks = |number| field(number).parse::<u64>().unwrap();
        let milliseconds = (ticks(14) + ticks(15)) * 1000 / rustix::param::clock_ticks_per_second();
        Self {
            name: before.split_once('(').unwrap().1.to_owned(),
            nice: field(19).parse().unwrap(),
            processor_time: Duration::from_millis(milliseconds),
        }
    }
}

/// The permissions of a file or directory, or of a link itself.
pub fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Waits until `come` says so.
pub fn await_that(what: &str, mut come: impl FnMut() -> bool) {
    let started = Instant::now();
    while !come() {
        assert!(started.elapsed() < PATIENCE, "it never came that {what}");
        sleep(INTERVAL);
    }
}

/// A process that is killed when this is dropped.
pub struct Kept(pub Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal to one process.
pub fn signal(process: u32, name: &str) {
    super::run(Command::new("kill").args(["-s", name, &process.to_string()]));
}
