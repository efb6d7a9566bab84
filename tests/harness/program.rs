//! The program as people run it: its own process, a clean environment, no terminal, a home of its own.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// How long a program may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every executable of this name: the one on `PATH`, and those in the directories of `ETCD_SEAL_TEST_ETCDS`. Says so
/// where there is none.
#[must_use]
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

/// A directory to work in, which is also the home of what runs there. Removed when dropped.
pub struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    /// An empty one.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// The path of `name` in it.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file in it, and returns its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Makes a directory in it, and returns its path.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn make_directory(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// The names of what is in it, or in a directory in it, sorted.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn names(&self, directory: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// etcd-seal with these words.
    pub fn seal<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Program {
        self.program(env!("CARGO_BIN_EXE_etcd-seal")).args(words)
    }

    /// Another program in the same surroundings.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Program {
        // A session of its own has no terminal, so that no user who runs the tests is asked for a passphrase. It stays
        // the same process.
        let mut command = Command::new("setsid");
        command
            .arg(program)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        Program { command, input: Vec::new() }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// A program about to run.
pub struct Program {
    /// For what is not asked for often.
    pub command: Command,
    input: Vec<u8>,
}

impl Program {
    /// One more word.
    #[must_use]
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    /// More words.
    #[must_use]
    pub fn args<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.command.args(words);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Directories to find programs in before those of `PATH`.
    ///
    /// # Panics
    /// If one has a colon in its name.
    #[must_use]
    pub fn find_first_in<D: AsRef<Path>>(self, directories: impl IntoIterator<Item = D>) -> Self {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let first = directories.into_iter().map(|directory| directory.as_ref().to_owned());
        let path = std::env::join_paths(first.chain(std::env::split_paths(&inherited))).unwrap();
        self.env("PATH", path)
    }

    /// Another directory to work in.
    #[must_use]
    pub fn working_in(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// What it reads on standard input, else nothing.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be run, or does not end in time; then it is killed.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let told = format!("{:?}", self.command);
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{told}: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let input = self.input;
        // A program that does not read its input breaks the pipe; what it answers is judged by the test.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let stdout = Drain::new(child.stdout.take().unwrap());
        let stderr = Drain::new(child.stderr.take().unwrap());
        if !(stdout.ends_in_time() && stderr.ends_in_time()) {
            child.kill().unwrap();
            panic!("{told} does not end: {}", String::from_utf8_lossy(&stderr.all()));
        }
        let status = child.wait().unwrap();
        feeding.join().unwrap();
        Outcome {
            told,
            status,
            stdout: stdout.all(),
            stderr: String::from_utf8_lossy(&stderr.all()).into_owned(),
        }
    }

    /// Runs it to a successful end.
    ///
    /// # Panics
    /// If it fails.
    pub fn succeed(self) -> Outcome {
        self.run().ends_with(0)
    }
}

/// Reads a pipe to its end.
pub struct Drain {
    thread: JoinHandle<Vec<u8>>,
    ended: Receiver<()>,
}

impl Drain {
    /// Begins to.
    ///
    /// # Panics
    /// If the pipe breaks.
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
    #[must_use]
    pub fn ends_in_time(&self) -> bool {
        self.ended.recv_timeout(PATIENCE).is_ok()
    }

    /// All there was, once it has ended.
    ///
    /// # Panics
    /// If the pipe broke.
    #[must_use]
    pub fn all(self) -> Vec<u8> {
        self.thread.join().unwrap()
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    told: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error.
    pub stderr: String,
}

impl Outcome {
    /// Asserts the exit code.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        let (told, stdout) = (&self.told, String::from_utf8_lossy(&self.stdout));
        assert_eq!(self.status.code(), Some(code), "{told}\n{}\n{stdout}\n{}", self.status, self.stderr);
        self
    }

    /// Asserts that it failed by itself.
    ///
    /// # Panics
    /// If it was killed or succeeded.
    #[track_caller]
    pub fn fails(self) -> Self {
        let code = self.status.code();
        assert!(code.is_some_and(|code| code != 0), "{}: {}\n{}", self.told, self.status, self.stderr);
        self
    }

    /// Asserts that standard error has these words.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "{}: no {words:?} in:\n{}", self.told, self.stderr);
        self
    }

    /// Standard output as text.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The objects of `--json` on standard output.
    ///
    /// # Panics
    /// If they are none.
    #[must_use]
    pub fn objects(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only object of `--json` on standard output.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[must_use]
    pub fn object(&self) -> serde_json::Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{}", self.text());
        objects.remove(0)
    }
}
