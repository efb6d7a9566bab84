//! The program, run as an operator runs it, in a home of its own with nothing else in its environment.

use etcd_seal::low_level::database::bolt::meta::{Meta, NO_FREELIST};
use etcd_seal::low_level::database::bolt::page::{Bucket, leaf};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No program hangs a test for longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long between two looks at something awaited.
const INTERVAL: Duration = Duration::from_millis(2);

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code, or 128 and the number of the signal that ended it, as a shell has it.
    pub code: i32,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }

    /// Fails the test unless it ended with `code`.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", String::from_utf8_lossy(&self.stdout), self.err());
        self
    }
}

/// A place of its own: a home, a directory for temporaries, one for archives, and a key.
pub struct Sandbox {
    root: TempDir,
    /// The recipient of [`Sandbox::identity`].
    pub recipient: String,
}

impl Sandbox {
    /// Makes one.
    ///
    /// # Panics
    /// If the program cannot make a key.
    #[must_use]
    pub fn new() -> Self {
        let mut sandbox = Self { root: tempfile::tempdir().unwrap(), recipient: String::new() };
        for directory in ["home", "tmp", "work", "backups"] {
            std::fs::create_dir(sandbox.path(directory)).unwrap();
        }
        let identity = sandbox.identity();
        let made = finish(sandbox.program().arg("keygen").arg("-o").arg(identity)).with(0);
        made.out().trim_end().clone_into(&mut sandbox.recipient);
        sandbox
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// All of it.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where archives go.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.path("backups")
    }

    /// The identity file.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.path("key.txt")
    }

    /// The program without arguments.
    #[must_use]
    pub fn program(&self) -> Command {
        self.tame(Command::new(env!("CARGO_BIN_EXE_etcd-seal")))
    }

    /// `command` with the sandbox for its environment.
    #[must_use]
    pub fn tame(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.path("work"));
        command
    }

    /// `save` for the sandbox's key.
    #[must_use]
    pub fn save(&self) -> Command {
        let mut command = self.program();
        command.args(["save", "-r", &self.recipient]);
        command
    }

    /// One of the commands that open, with the sandbox's key.
    #[must_use]
    pub fn open(&self, name: &str) -> Command {
        let mut command = self.program();
        command.arg(name).arg("-i").arg(self.identity());
        command
    }

    /// The names in the directory of archives, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        names(&self.backups())
    }

    /// The only archive there.
    ///
    /// # Panics
    /// If there is none, or another file than its sidecar beside it.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        let names = self.names();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].ends_with(".db.zst.age"), "{names:?}");
        assert_eq!(names[1], format!("{}.sha256", names[0]));
        self.backups().join(&names[0])
    }

    /// Every file in the sandbox.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.root().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let is_directory = entry.file_type().unwrap().is_dir();
                if is_directory { &mut directories } else { &mut files }.push(entry.path());
            }
        }
        files.sort();
        files
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// The names in a directory, sorted.
#[must_use]
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs a command to its end without input.
#[must_use]
pub fn finish(command: &mut Command) -> Ended {
    Running::start(command.stdin(Stdio::null())).wait()
}

/// Runs a command to its end with `input`.
///
/// # Panics
/// If it cannot be run.
#[must_use]
pub fn finish_with(command: &mut Command, input: &[u8]) -> Ended {
    let mut running = Running::start(command.stdin(Stdio::piped()));
    // Who does not read all of it is judged by the exit code.
    let _ = running.child.stdin.take().unwrap().write_all(input);
    running.wait()
}

/// Something running; killed when dropped.
pub struct Running {
    /// The process.
    pub child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts it with its output read in the background.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut running = Self::start_unread(command);
        running.stdout = running.child.stdout.take().map(drain);
        running
    }

    /// Starts it with its standard output left unread in `child.stdout`, so that it blocks when the pipe is full.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_unread(command: &mut Command) -> Self {
        Self::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// What has been started already. Its standard error is read in the background, where that is a pipe.
    #[must_use]
    pub fn of(mut child: Child) -> Self {
        let stderr = child.stderr.take().map(drain);
        Self { child, stdout: None, stderr }
    }

    /// Starts it with `input`, after which its standard input stays open.
    ///
    /// # Panics
    /// If it cannot be started, or does not take all of it.
    #[must_use]
    pub fn start_with(command: &mut Command, input: &[u8]) -> Self {
        let mut running = Self::start(command.stdin(Stdio::piped()));
        running.child.stdin.as_mut().unwrap().write_all(input).unwrap();
        running
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Waits for its end without closing its standard input first, which would end it by itself.
    #[must_use]
    pub fn wait_with_input_open(mut self) -> Ended {
        let input = self.child.stdin.take();
        let ended = self.wait();
        drop(input);
        ended
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Whether it is still there.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, and watches meanwhile how much memory it takes at most.
    ///
    /// # Panics
    /// If the end does not come.
    #[must_use]
    pub fn wait_and_watch(mut self) -> (Ended, u64) {
        let mut peak = 0;
        await_that("the program ends", || {
            peak = self.process().peak_memory().unwrap_or(peak);
            !self.is_alive()
        });
        (self.wait(), peak)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not come.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        if self.stdout.is_none() {
            self.stdout = self.child.stdout.take().map(drain);
        }
        drop(self.child.stdin.take());
        let mut status: Option<ExitStatus> = None;
        await_that("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        let joined = |thread: Option<JoinHandle<Vec<u8>>>| {
            thread.map(|thread| thread.join().unwrap()).unwrap_or_default()
        };
        Ended {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap()),
            stdout: joined(self.stdout.take()),
            stderr: joined(self.stderr.take()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

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
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn whole(self) -> Thread {
        Thread::parse(&std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap())
    }

    /// Its threads, without those that end meanwhile.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn threads(self) -> Vec<Thread> {
        std::fs::read_dir(format!("/proc/{}/task", self.0))
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
            .map(|stat| Thread::parse(&stat))
            .collect()
    }

    /// The most memory it has had so far, in bytes; `None` once it has ended.
    #[must_use]
    pub fn peak_memory(self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// How many of its threads have this name.
    #[must_use]
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

/// Waits until `come` says so.
///
/// # Panics
/// If it never does.
pub fn await_that(what: &str, mut come: impl FnMut() -> bool) {
    let started = Instant::now();
    while !come() {
        assert!(started.elapsed() < PATIENCE, "it never came that {what}");
        sleep(INTERVAL);
    }
}

/// Sends a signal to one process.
///
/// # Panics
/// If it cannot be sent.
pub fn signal(process: u32, name: &str) {
    super::run(Command::new("kill").args(["-s", name, &process.to_string()]));
}

/// Random bytes.
///
/// # Panics
/// If the system has none.
#[must_use]
pub fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// Bytes of a page of [`snapshot`].
pub const PAGE_SIZE: usize = 4096;

/// What [`snapshot`] is at, and what it is of: as much as a [`Script`](super::fake::Script) says of itself.
const REVISION: u64 = 3;
const MEMBER: &[u8] = b"2";

/// A snapshot of a database in which an etcd of one member has written once. Beside that its `pages` are of no use and
/// random, so that it hardly compresses. For tests of how bytes travel.
#[must_use]
pub fn snapshot(pages: usize) -> Vec<u8> {
    snapshot_of(&random(pages * PAGE_SIZE))
}

/// The same with these bytes in the pages that are of no use.
///
/// # Panics
/// If they do not fill pages.
#[must_use]
pub fn snapshot_of(unused: &[u8]) -> Vec<u8> {
    assert!(unused.len().is_multiple_of(PAGE_SIZE));
    let meta = Meta {
        page_size: 4096,
        flags: 0,
        root: 2,
        root_sequence: 0,
        freelist: NO_FREELIST,
        high_water_mark: (unused.len() / PAGE_SIZE + 3) as u64,
        transaction: 1,
    };
    let mut bytes = Vec::new();
    for page in [&Meta { transaction: 0, ..meta }.to_page(0)[..], &meta.to_page(1), &buckets()] {
        bytes.extend(page);
        bytes.resize(bytes.len().next_multiple_of(PAGE_SIZE), 0);
    }
    bytes.extend(unused);
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

/// The page of all buckets, which lie in it.
fn buckets() -> Vec<u8> {
    let bucket = |name: &[u8], key: &[u8], value: &[u8]| {
        let content = leaf(0, &[(key.to_vec(), value.to_vec(), false)], |_| Some(0)).unwrap();
        (name.to_vec(), Bucket::inline(&content, 0), true)
    };
    let revision = [&REVISION.to_be_bytes()[..], b"_", &[0; 8]].concat();
    let buckets = [
        bucket(b"key", &revision, b"\x0a\x01a"),
        bucket(b"members", MEMBER, br#"{"id":2}"#),
        bucket(b"meta", b"consistent_index", &[0; 8]),
    ];
    leaf(2, &buckets, |_| Some(0)).unwrap()
}
