//! What the program says and does when it is asked for what cannot be: exit code, words, and nothing left behind.
//!
//! Every attempt is made twice, the second time with `--json`, and both must tell the same. What was told is
//! collected, without what differs from run to run, for one snapshot.

use super::program::Outcome;
use super::sandbox::Sandbox;
use super::{Etcd, Options, etcds, run};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

/// Recipient of [`IDENTITY`]; a pair made for these tests.
pub const RECIPIENT: &str = "age1zh99s6tmf6dkdussg4ctnatewfxahsg3q80hapxsq8ycwf20tdpqqvy9at";
/// Opens what is sealed to [`RECIPIENT`].
pub const IDENTITY: &str = "AGE-SECRET-KEY-12MYL3WWW37Y7G9AG60D95ZVM3RQFJ5PLDATSS3XFHG8YSFEK05VSR5PLYK";
/// Opens nothing here.
pub const OTHER_IDENTITY: &str = "AGE-SECRET-KEY-16NF7AXCEUCKDYL7TPCX2V56AWGZDL7R9S9ERPSQNC44TDN59LLAS2TLWU2";

/// Values of the snapshot that do not compress, so that its archive has several chunks.
const VALUES: usize = 3;
const VALUE_SIZE: usize = 200_000;

/// A snapshot of a real etcd as its own etcdctl saves it; `None`, said aloud, where there is no etcd.
pub fn snapshot() -> Option<&'static [u8]> {
    static SNAPSHOT: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    SNAPSHOT.get_or_init(|| Some(take_snapshot(etcds().first()?))).as_deref()
}

fn take_snapshot(etcd: &Path) -> Vec<u8> {
    let etcd = Etcd::start(etcd, &Options::default());
    fill_with_noise(&etcd);
    let sandbox = Sandbox::new();
    run(etcd.etcdctl().args(["snapshot", "save"]).arg(sandbox.path("snapshot.db")));
    std::fs::read(sandbox.path("snapshot.db")).unwrap()
}

/// Puts values that do not compress.
pub fn fill_with_noise(etcd: &Etcd) {
    for number in 0..VALUES {
        let mut value = vec![0; VALUE_SIZE];
        getrandom::fill(&mut value).unwrap();
        let mut put = etcd.etcdctl();
        put.args(["put", &format!("noise/{number}")]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = put.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&value).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

/// A scene, or the end of the test where there is no etcd to take a snapshot of, and that is allowed.
#[macro_export]
macro_rules! scene {
    () => {
        match $crate::refusal::Scene::new() {
            Some(scene) => scene,
            None => return,
        }
    };
}
pub use scene;

/// A sandbox with a key, a snapshot, an archive of it and an empty `out`, and what was told in it.
pub struct Scene {
    /// Where it plays: `key.txt`, `other.txt`, `snapshot.db`, `a.age` with its sidecar, `out/`.
    pub sandbox: Sandbox,
    told: String,
    wrong: Vec<String>,
}

impl Scene {
    /// Sets the stage; `None` where there is no etcd to take a snapshot of.
    pub fn new() -> Option<Self> {
        let scene = Self { sandbox: Sandbox::new(), told: String::new(), wrong: Vec::new() };
        scene.sandbox.write("key.txt", format!("{IDENTITY}\n"));
        scene.sandbox.write("other.txt", format!("{OTHER_IDENTITY}\n"));
        scene.sandbox.write("snapshot.db", snapshot()?);
        scene.sandbox.make_directory("out");
        scene.seal(["save", "a.age", "--from", "snapshot.db", "-r", RECIPIENT, "--frame-size", "64KiB"]);
        Some(scene)
    }

    /// Runs etcd-seal to a successful end.
    pub fn seal<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Outcome {
        self.sandbox.seal(words).succeed()
    }

    /// The bytes of the archive.
    pub fn archive(&self) -> Vec<u8> {
        std::fs::read(self.sandbox.path("a.age")).unwrap()
    }

    /// Something that must be refused; the words are split at white space.
    pub fn attempt<'s>(&'s mut self, words: &str) -> Attempt<'s> {
        let words = words.split_whitespace().map(str::to_owned).collect();
        Attempt {
            scene: self,
            words,
            variables: Vec::new(),
            input: Vec::new(),
            wrapper: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// All that was told, for a snapshot.
    #[track_caller]
    pub fn told(&self) -> &str {
        self.try_told().unwrap_or_else(|wrong| panic!("\n{wrong}"))
    }

    /// The same, or what is wrong.
    pub fn try_told(&self) -> Result<&str, String> {
        if self.wrong.is_empty() { Ok(&self.told) } else { Err(self.wrong.join("\n")) }
    }

    /// Begins anew with what was told.
    #[track_caller]
    pub fn forget(&mut self) {
        self.told();
        self.told.clear();
    }

    /// Every file and directory with its content, to see that nothing changed.
    fn everything(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        collect(&self.sandbox.path(""), &mut found);
        found
    }
}

fn collect(directory: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        if kind.is_dir() {
            collect(&path, found);
        }
        let content = kind.is_file().then(|| std::fs::read(&path).unwrap());
        found.insert(path, content);
    }
}

/// Something that must be refused.
#[must_use = "it is made by `refused`"]
pub struct Attempt<'s> {
    scene: &'s mut Scene,
    words: Vec<String>,
    variables: Vec<(String, String)>,
    input: Vec<u8>,
    wrapper: Vec<String>,
    secrets: Vec<String>,
}

impl Attempt<'_> {
    /// One more word, white space and all.
    pub fn word(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// With this on standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Run by a shell script, which gets the program and its words as `"$@"`.
    pub fn in_shell(self, script: &str) -> Self {
        self.behind(&["sh", "-c", script, "sh"])
    }

    /// Run by another program.
    pub fn behind(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Nothing that is told may hold this.
    pub fn never_showing(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Asserts that it is refused, with this code and for this reason, and that nothing changed. What is wrong with
    /// that is told by [`Scene::told`], so that one failure does not hide others.
    pub fn refused(self, code: i32, kind: &str) {
        let title = self.title();
        match self.try_refused(code, kind) {
            Ok(told) => {
                let _ = writeln!(self.scene.told, "$ {title}\n{code} {kind}\n{told}");
            }
            Err(wrong) => self.scene.wrong.push(format!("$ {title}\n{wrong}")),
        }
    }

    fn try_refused(&self, code: i32, kind: &str) -> Result<String, String> {
        let before = self.scene.everything();
        let plain = self.run(false);
        check(self.scene.everything() == before, || format!("files changed: {}", plain.stderr))?;
        let json = self.run(true);
        check(self.scene.everything() == before, || "files changed under --json".to_owned())?;
        let told = self.judge(&plain, code)?;
        self.judge_json(&json, code, kind, &told)?;
        Ok(told)
    }

    fn title(&self) -> String {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let words = ["etcd-seal".to_owned()].into_iter().chain(self.words.iter().cloned());
        let line: Vec<String> = variables.chain(words).collect();
        self.without_secrets(&normalised(&line.join(" ")))
    }

    fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "SECRET"))
    }

    fn run(&self, json: bool) -> Outcome {
        let program =
            self.scene.sandbox.seal(&self.words).args(json.then_some("--json")).behind(&self.wrapper);
        let program = self.variables.iter().fold(program, |program, (name, value)| program.env(name, value));
        program.input(self.input.clone()).run()
    }

    /// What was told, once it is as it must be: last an error, then a hint.
    fn judge(&self, outcome: &Outcome, code: i32) -> Result<String, String> {
        let stderr = &outcome.stderr;
        self.check_end(outcome, code)?;
        let lines: Vec<&str> = stderr.lines().collect();
        let [.., error, hint] = &lines[..] else { return Err(format!("not two lines: {stderr}")) };
        let (Some(error), Some(hint)) =
            (error.strip_prefix("etcd-seal: error: "), hint.strip_prefix("etcd-seal: hint: "))
        else {
            return Err(format!("no error and hint last: {stderr}"));
        };
        for text in [error, hint] {
            check(!text.ends_with('.') && !text.trim().is_empty(), || format!("ends badly: {text}"))?;
            check(!text.contains("panicked") && !text.contains('\u{2068}'), || {
                format!("not for people: {text}")
            })?;
        }
        Ok(normalised(stderr))
    }

    /// One object, in the place of the result, that tells the same.
    fn judge_json(&self, outcome: &Outcome, code: i32, kind: &str, told: &str) -> Result<(), String> {
        self.check_end(outcome, code)?;
        let stdout = String::from_utf8_lossy(&outcome.stdout);
        let line = if self.takes_stdout() {
            check(!stdout.contains(r#""ok":false"#), || "the failure is among the data".to_owned())?;
            outcome.stderr.lines().last().unwrap_or_default().to_owned()
        } else {
            let alone = stdout.matches('\n').count() == 1 && !outcome.stderr.contains("error:");
            check(alone, || format!("not one object alone: {stdout}\n{}", outcome.stderr))?;
            stdout.into_owned()
        };
        let failure: serde_json::Value =
            serde_json::from_str(&line).map_err(|error| format!("no JSON: {error}: {line}"))?;
        let verdict = failure["ok"] == false && failure["exit_code"] == code && failure["kind"] == kind;
        check(verdict, || format!("not {code} {kind}: {line}"))?;
        for field in ["error", "hint"] {
            // A usage repeats the flags that were given.
            let text = failure[field].as_str().unwrap_or_default().replace(" --json", "");
            let same = format!("etcd-seal: {field}: {}\n", normalised(&text));
            check(told.contains(&same), || format!("--json tells something else:\n{same}\n{told}"))?;
        }
        Ok(())
    }

    fn check_end(&self, outcome: &Outcome, code: i32) -> Result<(), String> {
        let stdout = String::from_utf8_lossy(&outcome.stdout);
        check(outcome.code == code, || {
            format!(
                "{}, not {code}\n{}{}",
                outcome.code,
                String::from_utf8_lossy(&outcome.stdout[..outcome.stdout.len().min(500)]),
                outcome.stderr
            )
        })?;
        let shown =
            |secret: &&String| outcome.stderr.contains(secret.as_str()) || stdout.contains(secret.as_str());
        check(!self.secrets.iter().any(|secret| shown(&secret)), || {
            format!("a secret is shown: {}", outcome.stderr)
        })
    }

    /// Whether standard output is where the archive, snapshot or key goes.
    fn takes_stdout(&self) -> bool {
        let to_stdout = |words: &[String]| words[0] == "-o" && words[1] == "-";
        match self.words.first().map(String::as_str) {
            Some("save") => self.words.get(1).is_some_and(|destination| destination == "-"),
            Some("restore" | "keygen") => {
                self.words.windows(2).any(to_stdout)
                    || self.words.iter().any(|word| word == "-o-" || word == "--output=-")
            }
            _ => false,
        }
    }
}

fn check(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}

/// `text` without ports, digests and positions, which are others in every run.
pub fn normalised(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(|character: char| character.is_ascii_alphanumeric()) {
        shown.push_str(&rest[..begin]);
        let word = &rest[begin..];
        let end = word.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_port = digits && (shown.ends_with("127.0.0.1:") || shown.ends_with("localhost:"));
        let is_count = digits
            && (shown.ends_with("byte ")
                || shown.ends_with("after ")
                || shown.ends_with("page says ")
                || after.starts_with(" bytes"));
        shown.push_str(match word.len() {
            _ if is_port => "PORT",
            _ if is_count => "N",
            64 if hex => "SHA256",
            _ => word,
        });
        rest = after;
    }
    shown.push_str(rest);
    shown
}
