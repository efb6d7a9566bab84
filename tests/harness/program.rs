//! A program as people run it: its own process, in a sandbox, with a clean environment and no terminal.

use super::process::{PATIENCE, Process, await_that, signal};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

/// etcd-seal as cargo has built it with the tests: beside the directory of their binaries.
pub fn etcd_seal() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let test = std::env::current_exe().unwrap();
        test.ancestors().nth(2).unwrap().join("etcd-seal").to_str().unwrap().to_owned()
    });
    &PROGRAM
}

/// Every executable of this name: the one on `PATH`, and those in the directories of `ETCD_SEAL_TEST_ETCDS`. Says so
/// where there is none.
pub fn tools(name: &str) -> Vec<PathBuf> {
    let variable = |variable| std::env::var_os(variable).unwrap_or_default();
    let (on_path, more) = (variable("PATH"), variable("ETCD_SEAL_TEST_ETCDS"));
    let found = |directory: PathBuf| Some(directory.join(name)).filter(|tool| tool.is_file());
    let tools: Vec<PathBuf> = std::env::split_paths(&on_path)
        .find_map(found)
        .into_iter()
        .chain(std::env::split_paths(&more).filter(|directory| directory.is_absolute()).filter_map(found))
        .collect();
    if tools.is_empty() {
        super::skip::lacking_tool(name);
    }
    tools
}

/// A program about to run, as often as it is told to.
#[derive(Clone, Debug)]
#[must_use = "it does not run by itself"]
pub struct Program {
    words: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    input: Vec<u8>,
}

impl Program {
    pub(super) fn new(program: &OsStr, directory: PathBuf) -> Self {
        let words = vec![program.to_owned()];
        let path = std::env::var_os("PATH").map(|path| ("PATH".into(), path));
        Self { words, environment: path.into_iter().collect(), directory, input: Vec::new() }
    }

    /// What `command` runs, but without what the tests' own environment holds.
    pub fn of(command: &Command) -> Self {
        let directory = command.get_current_dir().unwrap_or(Path::new("."));
        let mut program = Self::new(command.get_program(), directory.to_owned()).args(command.get_args());
        let variables =
            command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        program.environment.extend(variables);
        program
    }

    /// One more word.
    pub fn arg(self, word: impl AsRef<OsStr>) -> Self {
        self.args([word])
    }

    /// More words.
    pub fn args<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Run by another program, to whose words these are added.
    pub fn behind<W: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = W>) -> Self {
        self.words.splice(..0, wrapper.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Run by a shell script, which gets the program and its words as `"$@"`.
    pub fn in_shell(self, script: &str) -> Self {
        self.behind(["sh", "-c", script, "sh"])
    }

    /// Under strace with these faults, such as `fsync:error=EIO:when=2`, and `more` words for it: of two that say the same
    /// the last counts.
    pub fn faulty<F: AsRef<str>>(self, faults: &[F], more: &[&str]) -> Self {
        let calls: Vec<&str> = faults.iter().filter_map(|fault| fault.as_ref().split(':').next()).collect();
        let mut words = vec![format!("trace={}", calls.join(","))];
        words.extend(faults.iter().map(|fault| format!("inject={}", fault.as_ref())));
        let words = words.iter().filter(|_| !faults.is_empty()).flat_map(|word| ["-e", word]);
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none"];
        self.behind(strace.into_iter().chain(words).chain(more.iter().copied()))
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// With nothing in its environment, not even what a sandbox puts there.
    pub fn without_environment(mut self) -> Self {
        self.environment.clear();
        self
    }

    /// Directories to find programs in before those of `PATH`.
    pub fn find_first_in<D: AsRef<Path>>(self, directories: impl IntoIterator<Item = D>) -> Self {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let first = directories.into_iter().map(|directory| directory.as_ref().to_owned());
        let path = std::env::join_paths(first.chain(std::env::split_paths(&inherited))).unwrap();
        self.env("PATH", path)
    }

    /// Another directory to work in.
    pub fn working_in(mut self, directory: impl AsRef<Path>) -> Self {
        directory.as_ref().clone_into(&mut self.directory);
        self
    }

    /// What it reads on standard input, else nothing.
    pub fn input(mut self, input: impl AsRef<[u8]>) -> Self {
        self.input = input.as_ref().to_vec();
        self
    }

    /// For what is not asked for often. A session of its own has no terminal, so that no user who runs the tests is asked for
    /// a passphrase; with `--ctty` it has that of its standard input. No signal is ignored, as `nohup` and a shell's `&` would
    /// have it for the tests and all they start. It stays the same process.
    pub fn command(&self, of_session: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/env");
        command.args(["--default-signal", "/usr/bin/setsid"]);
        command.args(of_session).args(&self.words).current_dir(&self.directory);
        command.env_clear().envs(&self.environment);
        command
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        let mut running = self.spawn(Stdio::piped());
        running.stdout = running.child.stdout.take().map(Drain::new);
        let mut stdin = running.child.stdin.take().unwrap();
        let input = self.input;
        // A program that does not read its input breaks the pipe; what it answers is judged by the test.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let outcome = running.wait();
        feeding.join().unwrap();
        outcome
    }

    /// Runs it to a successful end.
    #[track_caller]
    pub fn succeed(self) -> Outcome {
        self.run().ends_with(0)
    }

    /// Runs it to an end with this exit code and these words on standard error.
    #[track_caller]
    pub fn fails_with(self, code: i32, words: &str) -> Outcome {
        self.run().ends_with(code).says(words)
    }

    /// Starts it without input, with its output read in the background.
    pub fn start(&self) -> Running {
        let mut running = self.start_unread();
        running.stdout = running.child.stdout.take().map(Drain::new);
        running
    }

    /// Starts it without input, with its standard output left unread in `child.stdout`, so that it blocks when the pipe is full.
    pub fn start_unread(&self) -> Running {
        self.spawn(Stdio::null())
    }

    /// Starts it and gives it its input, after which its standard input stays open.
    pub fn start_fed(&self) -> Running {
        let mut running = self.spawn(Stdio::piped());
        running.stdout = running.child.stdout.take().map(Drain::new);
        running.feed(&self.input);
        running
    }

    /// Starts it without input, with this for its standard error and the output left unread.
    pub fn start_telling(&self, stderr: std::fs::File) -> Running {
        let mut command = self.command(&[]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        Running::of(child, format!("{:?}", self.words))
    }

    fn spawn(&self, stdin: Stdio) -> Running {
        let mut command = self.command(&[]);
        let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{:?}: {error}", self.words));
        Running::of(child, format!("{:?}", self.words))
    }
}

/// Something running; killed when dropped.
pub struct Running {
    /// The process.
    pub child: Child,
    told: String,
    stdout: Option<Drain>,
    stderr: Option<Drain>,
}

impl Running {
    fn of(mut child: Child, told: String) -> Self {
        let stderr = child.stderr.take().map(Drain::new);
        Self { child, told, stdout: None, stderr }
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Gives it more on its standard input.
    pub fn feed(&mut self, input: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(input).unwrap();
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Whether it is still there.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Reads one byte of the output that is left unread: it has begun.
    pub fn begin_to_read(&mut self) {
        self.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    }

    /// Waits for its end, and watches meanwhile how much memory it takes at most.
    pub fn wait_and_watch(mut self) -> (Outcome, u64) {
        let mut peak = 0;
        await_that("the program ends", || {
            peak = self.process().peak_memory().unwrap_or(peak);
            !self.is_alive()
        });
        (self.wait(), peak)
    }

    /// Waits for its end without closing its standard input first, which would end it by itself.
    pub fn wait_with_input_open(mut self) -> Outcome {
        let input = self.child.stdin.take();
        let outcome = self.wait();
        drop(input);
        outcome
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        if self.stdout.is_none() {
            self.stdout = self.child.stdout.take().map(Drain::new);
        }
        drop(self.child.stdin.take());
        let told = self.told.clone();
        await_that(&format!("{told} ends"), || !self.is_alive());
        let status = self.child.wait().unwrap();
        let all = |drain: Option<Drain>| drain.map(|drain| drain.all_in_time(&told)).unwrap_or_default();
        let (stdout, stderr) = (all(self.stdout.take()), all(self.stderr.take()));
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        Outcome { told, code, stdout, stderr: String::from_utf8(stderr).unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a pipe to its end.
pub struct Drain {
    thread: JoinHandle<Vec<u8>>,
    ended: Receiver<()>,
}

impl Drain {
    /// Begins to.
    pub fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            let _ = end.send(());
            bytes
        });
        Self { thread, ended }
    }

    /// Whether the end comes while the test is patient.
    pub fn ends_in_time(&self) -> bool {
        self.ended.recv_timeout(PATIENCE).is_ok()
    }

    /// All there was, once it has ended.
    pub fn all(self) -> Vec<u8> {
        self.thread.join().unwrap()
    }

    fn all_in_time(self, told: &str) -> Vec<u8> {
        assert!(self.ends_in_time(), "{told}: another process holds its output");
        self.all()
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    told: String,
    /// The exit code, or 128 and the number of the signal that ended it, as a shell has it.
    pub code: i32,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error.
    pub stderr: String,
}

impl Outcome {
    /// Asserts the exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        let (told, stdout) = (&self.told, String::from_utf8_lossy(&self.stdout));
        assert_eq!(self.code, code, "{told}\n{stdout}\n{}", self.stderr);
        self
    }

    /// Asserts that it failed by itself.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!((1..128).contains(&self.code), "{}: {}\n{}", self.told, self.code, self.stderr);
        self
    }

    /// Asserts that standard error has these words.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "{}: no {words:?} in:\n{}", self.told, self.stderr);
        self
    }

    /// Asserts that standard error has an error in the program's own words, with a way out.
    #[track_caller]
    pub fn tells_an_error(self) -> Self {
        let told = self.says("etcd-seal: error: ").says("etcd-seal: hint: ");
        assert!(!told.stderr.contains("panicked"), "{}: {}", told.told, told.stderr);
        told
    }

    /// Standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// All that was said: standard output, then standard error.
    pub fn said(&self) -> String {
        format!("{}{}", self.text(), self.stderr)
    }

    /// The objects of `--json` on standard output.
    pub fn objects(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only object of `--json` on standard output.
    #[track_caller]
    pub fn object(&self) -> serde_json::Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{}", self.text());
        objects.remove(0)
    }
}
