//! Every exit code of the table, but the reserved one, produced honestly: by what it is documented for.

use crate::harness::program::{Drain, Sandbox};
use crate::harness::proxy::{Harm, proxy};
use crate::harness::refusal::{RECIPIENT, fill_with_noise, scene, snapshot};
use crate::harness::skip;
use crate::harness::{Etcd, Options, dead_address, etcds};
use age_core::format::{FileKey, Stanza};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// `save` of a file of the scene, to this destination.
fn save(from: &str, destination: &str) -> Vec<String> {
    ["save", destination, "--from", from, "-r", RECIPIENT].map(str::to_owned).to_vec()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        sleep(Duration::from_millis(5));
    }
}

/// A recipient as a later version of this program may have it, which puts this description into the header.
struct Later<'a> {
    recipient: &'a dyn age::Recipient,
    version: &'a str,
    description: &'a str,
}

impl age::Recipient for Later<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let (mut stanzas, labels) = self.recipient.wrap_file_key(file_key)?;
        stanzas.push(Stanza {
            tag: "etcd-snapshot".to_owned(),
            args: vec![self.version.to_owned()],
            body: self.description.as_bytes().to_vec(),
        });
        Ok((stanzas, labels))
    }
}

/// An archive of a version to come, with nothing in it that this program could know.
fn archive_of_later_version(version: &str, description: &str) -> Vec<u8> {
    let recipient: age::x25519::Recipient = RECIPIENT.parse().unwrap();
    let later = Later { recipient: &recipient, version, description };
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&later as &dyn age::Recipient)).unwrap();
    let mut archive = Vec::new();
    let mut payload = encryptor.wrap_output(&mut archive).unwrap();
    payload.write_all(b"what no reader knows yet").unwrap();
    payload.finish().unwrap();
    archive
}

const LATER: &str = r#"{"format":"etcd-seal","format_version":2,"seal":"of wax"}"#;

#[test]
fn done_is_0() {
    let scene = scene!();
    scene.seal(["info", "a.age"]);
    scene.seal(["info", "a.age", "-i", "key.txt"]);
    scene.seal(["verify", "a.age"]);
    scene.seal(["verify", "a.age", "-i", "key.txt"]);
    scene.seal(["restore", "a.age", "-i", "key.txt", "-o", "s.db"]);
    assert_eq!(fs::read(scene.sandbox.path("s.db")).unwrap(), snapshot().unwrap());
    scene.seal(["save", "b.age", "--from", "snapshot.db", "-r", RECIPIENT, "--dry-run"]);
    assert!(!scene.sandbox.path("b.age").exists());
    scene.seal(["keygen", "-o", "new.txt"]);
    scene.seal(["--version"]);
    scene.seal(["version"]);
    scene.seal(["help"]);
    scene.seal(["help", "save"]);
    scene.seal(["recovery"]);
    scene.seal(["verify", "--help"]);
}

#[test]
fn partly_is_3_without_etcd_s_digest() {
    let scene = scene!();
    let snapshot = snapshot().unwrap();
    scene.sandbox.write("digestless.db", &snapshot[..snapshot.len() - 32]);
    let allowed = save("digestless.db", "d.age");
    scene.sandbox.seal(&allowed).run().ends_with(13);
    let saved =
        scene.sandbox.seal(&allowed).args(["--allow-missing-digest", "--json"]).run().ends_with(3).object();
    assert_eq!(
        (&saved["ok"], &saved["exit_code"], &saved["digest"]),
        (&false.into(), &3.into(), &"absent".into())
    );
    for field in ["kind", "error", "hint"] {
        assert!(saved[field].as_str().is_some_and(|text| !text.is_empty()), "{saved}");
    }
    let verified = scene.sandbox.seal(["verify", "d.age", "-i", "key.txt"]).run().ends_with(3);
    assert!(verified.text().contains("no digest of etcd's"), "{}", verified.text());
    scene.sandbox.seal(["restore", "d.age", "-i", "key.txt", "-o", "s.db"]).run().ends_with(3);
    assert_eq!(fs::read(scene.sandbox.path("s.db")).unwrap(), snapshot[..snapshot.len() - 32]);
    // Made by another program.
    let words = ["-r", RECIPIENT, "-o", "f.age", "digestless.db"];
    scene.sandbox.program("age").args(words).succeed();
    scene.sandbox.seal(["verify", "f.age", "-i", "key.txt"]).run().ends_with(13);
    scene.sandbox.seal(["verify", "f.age", "-i", "key.txt", "--allow-missing-digest"]).run().ends_with(3);
}

#[test]
fn partly_is_3_without_key_and_sidecar() {
    let scene = scene!();
    fs::remove_file(scene.sandbox.path("a.age.sha256")).unwrap();
    let told = scene.sandbox.seal(["verify", "a.age", "--json"]).run().ends_with(3).object();
    assert_eq!(
        (&told["ok"], &told["exit_code"], &told["kind"]),
        (&false.into(), &3.into(), &"structure_only".into())
    );
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

/// strace that injects this fault into the program that follows.
fn faulty(fault: &str) -> Vec<&str> {
    vec![
        "-f",
        "-qq",
        "-o",
        "trace",
        "-e",
        "trace=fsync,renameat,renameat2",
        "-e",
        fault,
        env!("CARGO_BIN_EXE_etcd-seal"),
    ]
}

#[test]
fn partly_is_3_when_only_the_sidecar_or_the_directory_failed() {
    if !skip::can_trace() {
        return;
    }
    let scene = scene!();
    let both: &[&str] = &["b.age", "b.age.sha256"];
    for (fault, left, code) in [
        ("inject=fsync:error=EIO:when=1", &[][..], 1),
        ("inject=fsync:error=EIO:when=2", &[], 1),
        ("inject=renameat2:error=EACCES", &[], 1),
        ("inject=renameat:error=EIO", &["b.age"], 3),
        ("inject=fsync:error=EIO:when=3", both, 3),
    ] {
        for json in [false, true] {
            let words = save("snapshot.db", "out/b.age");
            let program = scene.sandbox.program("strace").args(faulty(fault)).args(&words);
            let outcome = if json { program.arg("--json") } else { program }.run().ends_with(code);
            assert_eq!(scene.sandbox.names("out"), *left, "{fault}");
            if json {
                let told = outcome.object();
                assert_eq!((&told["ok"], &told["exit_code"]), (&false.into(), &code.into()), "{told}");
                if code == 3 {
                    let sha256 = sha256(&fs::read(scene.sandbox.path("out/b.age")).unwrap());
                    assert_eq!(told["kind"], "partly_published", "{told}");
                    assert_eq!(
                        (&told["path"], &told["archive_sha256"]),
                        (&"out/b.age".into(), &sha256.into())
                    );
                }
            } else {
                assert!(outcome.stderr.contains("etcd-seal: hint: "), "{}", outcome.stderr);
                assert_eq!(outcome.text().starts_with("out/b.age: "), code == 3, "{}", outcome.text());
            }
            if code == 3 {
                scene.seal(["verify", "out/b.age", "-i", "key.txt"]);
            }
            for name in scene.sandbox.names("out") {
                fs::remove_file(scene.sandbox.path("out").join(name)).unwrap();
            }
        }
    }
}

#[test]
fn a_newer_format_is_15() {
    let scene = scene!();
    let cases = [
        ("v2", LATER, 15),
        ("v3", r#"{"format":"etcd-seal","format_version":3}"#, 15),
        ("v18446744073709551615", r#"{"format":"etcd-seal","format_version":18446744073709551615}"#, 15),
        // Versions that disagree, or are none, are damage.
        ("v1", LATER, 13),
        ("v2", r#"{"format":"etcd-seal","format_version":3}"#, 13),
        ("v0", r#"{"format":"etcd-seal","format_version":0}"#, 13),
        ("2", LATER, 13),
    ];
    for (version, description, code) in cases {
        scene.sandbox.write("later.age", archive_of_later_version(version, description));
        let title = format!("{version} {description}");
        for identity in ["key.txt", "other.txt"] {
            for words in [
                vec!["info", "later.age"],
                vec!["info", "later.age", "-i", identity],
                vec!["verify", "later.age"],
                vec!["verify", "later.age", "-i", identity],
                vec!["restore", "later.age", "-i", identity, "-o", "out/s.db"],
            ] {
                let outcome = scene.sandbox.seal(&words).run();
                assert_eq!(outcome.status.code(), Some(code), "{title} {words:?}: {}", outcome.stderr);
                assert_eq!(scene.sandbox.names("out"), [""; 0]);
            }
        }
        // A user who cannot read it so still can with stock tools, as the hint says.
        let stock = scene.sandbox.program("age").args(["-d", "-i", "key.txt", "later.age"]).succeed();
        assert_eq!(stock.text(), "what no reader knows yet");
    }
}

#[test]
fn the_worst_of_several_archives_counts() {
    let scene = scene!();
    let sandbox = &scene.sandbox;
    let mut damaged = scene.archive();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    sandbox.write("13.age", damaged);
    sandbox.write("15.age", archive_of_later_version("v2", LATER));
    scene.seal(["keygen", "-o", "third.txt"]);
    let third = fs::read_to_string(sandbox.path("third.txt")).unwrap();
    let third = third.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
    scene.seal(["save", "12.age", "--from", "snapshot.db", "-r", &third]);
    sandbox.make_directory("1.age");
    let bytes = snapshot().unwrap();
    sandbox.write("digestless.db", &bytes[..bytes.len() - 32]);
    sandbox.seal(save("digestless.db", "3.age")).arg("--allow-missing-digest").run().ends_with(3);
    fs::rename(sandbox.path("a.age"), sandbox.path("0.age")).unwrap();

    let worst_first = [13, 15, 12, 10, 1, 3, 0];
    for rank in 0..worst_first.len() {
        let mut names: Vec<String> = worst_first[rank..].iter().map(|code| format!("{code}.age")).collect();
        for _ in 0..2 {
            let verify = || sandbox.seal(["verify", "-i", "key.txt"]).args(&names);
            let told = verify().arg("--json").run().ends_with(worst_first[rank]).objects();
            verify().run().ends_with(worst_first[rank]);
            // Each is tried, in the order given, and has its own code.
            for (object, name) in told.iter().zip(&names) {
                assert_eq!(object["path"], name.as_str());
                assert_eq!(format!("{}.age", object["exit_code"]), *name, "{object}");
                assert_eq!(object["ok"], name == "0.age");
            }
            assert_eq!(told.len(), names.len());
            names.reverse();
        }
    }
    // info reads no payload, so that damage there is not seen, nor is it asked for the digest.
    sandbox.seal(["info", "-i", "key.txt", "15.age", "12.age", "missing.age", "0.age"]).run().ends_with(15);
    sandbox.seal(["info", "-i", "key.txt", "0.age", "12.age", "missing.age", "1.age"]).run().ends_with(12);
    sandbox.seal(["info", "0.age", "missing.age", "1.age"]).run().ends_with(10);
    sandbox.seal(["info", "0.age", "1.age"]).run().ends_with(1);
}

#[test]
fn the_other_codes() {
    let scene = scene!();
    let sandbox = &scene.sandbox;
    sandbox.seal(save("out", "out")).run().ends_with(1);
    sandbox.seal(["save", "out", "--from", "snapshot.db"]).run().ends_with(2);
    sandbox.seal(["verify", "missing.age"]).run().ends_with(10);
    sandbox.seal(["verify", "a.age", "-i", "other.txt"]).run().ends_with(12);
    sandbox.seal(save("key.txt", "out")).run().ends_with(13);
    sandbox.seal(["save", "out", "-r", RECIPIENT, "--endpoints", &dead_address()]).run().ends_with(14);
    assert_eq!(sandbox.names("out"), [""; 0]);
}

/// The program on its way, with standard input held open; killed when dropped.
struct Running {
    child: Child,
    stdout: Option<Drain>,
    stderr: Option<Drain>,
}

impl Running {
    fn start(sandbox: &Sandbox, words: &[String]) -> Self {
        let mut program = sandbox.seal(words).command;
        let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let stdout = Some(Drain::new(child.stdout.take().unwrap()));
        let stderr = Some(Drain::new(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    /// Sends a signal, and waits for the end with this code; what was told.
    fn ends_by(mut self, signal: Signal, code: i32) -> (Vec<u8>, String) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(id, signal).unwrap();
        wait_until("the program ends", || self.child.try_wait().unwrap().is_some());
        let stderr = String::from_utf8(self.stderr.take().unwrap().all()).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{stderr}");
        (self.stdout.take().unwrap().all(), stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SIGNALS: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];

/// What is told of a signal: that it was one, and the way out.
fn assert_told(stderr: &str) {
    let lines: Vec<&str> = stderr.lines().collect();
    let [.., error, hint] = &lines[..] else { panic!("{stderr}") };
    assert_eq!(*error, "etcd-seal: error: interrupted", "{stderr}");
    assert_eq!(*hint, "etcd-seal: hint: nothing was published; run it again", "{stderr}");
}

#[test]
fn signals_while_waiting_for_input() {
    let scene = scene!();
    let sandbox = &scene.sandbox;
    let pipe = sandbox.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (signal, code) in SIGNALS {
        // A FIFO without a writer: nothing has begun. Handlers are there once the process asks to open it.
        let running = Running::start(sandbox, &save("pipe", "out"));
        wait_until("signals are caught", || catches_signals(running.child.id()));
        let (_, stderr) = running.ends_by(signal, code);
        assert_told(&stderr);
        assert_eq!(sandbox.names("out"), [""; 0]);

        // Half a snapshot has come, and there is a temporary.
        let running = Running::start(sandbox, &save("pipe", "out"));
        let mut writer = File::options().write(true).open(&pipe).unwrap();
        writer.write_all(&snapshot().unwrap()[..300_000]).unwrap();
        wait_until("a temporary", || sandbox.names("out").len() == 1);
        assert!(sandbox.names("out")[0].starts_with(".etcd-seal-"));
        let (_, stderr) = running.ends_by(signal, code);
        assert_told(&stderr);
        assert_eq!(sandbox.names("out"), [""; 0]);
        drop(writer);

        // The same from standard input, and half an archive for restore.
        let archive = scene.archive();
        let half_an_archive = &archive[..archive.len() / 2];
        let restore = ["restore", "-", "-i", "key.txt", "-o", "out/s.db"].map(str::to_owned).to_vec();
        for (words, half) in [(save("-", "out"), &snapshot().unwrap()[..300_000]), (restore, half_an_archive)]
        {
            let mut running = Running::start(sandbox, &words);
            running.child.stdin.as_mut().unwrap().write_all(half).unwrap();
            wait_until("a temporary", || sandbox.names("out").len() == 1);
            let (_, stderr) = running.ends_by(signal, code);
            assert_told(&stderr);
            assert_eq!(sandbox.names("out"), [""; 0]);
        }

        // Nothing is written by verify; the failure is told as JSON in the place of the result.
        let mut running =
            Running::start(sandbox, &["verify", "-", "-i", "key.txt", "--json"].map(str::to_owned));
        running.child.stdin.as_mut().unwrap().write_all(half_an_archive).unwrap();
        let (stdout, _) = running.ends_by(signal, code);
        let told: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
        assert_eq!((&told["exit_code"], &told["kind"]), (&code.into(), &"interrupted".into()), "{told}");
    }
}

/// Whether a process has handlers for SIGINT and SIGTERM.
fn catches_signals(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap_or(0);
    SIGNALS.iter().all(|(signal, _)| caught & (1 << (signal.as_raw() - 1)) != 0)
}

#[test]
fn signals_while_etcd_stands_still() {
    let Some(binary) = etcds().into_iter().next() else { return };
    let scene = scene!();
    let sandbox = &scene.sandbox;
    let etcd = Etcd::start(&binary, &Options::default());
    fill_with_noise(&etcd);
    let stalled = proxy(&etcd.address(), Harm::Stall(300_000));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    for (signal, code) in SIGNALS {
        let words = |destination: &str, endpoint: &str| {
            [
                "save",
                destination,
                "-r",
                RECIPIENT,
                "--dial-timeout=60s",
                "--command-timeout=60s",
                "--endpoints",
                endpoint,
            ]
            .map(str::to_owned)
            .to_vec()
        };
        // In the midst of the stream.
        let running = Running::start(sandbox, &words("out", &stalled));
        wait_until("a temporary", || sandbox.names("out").len() == 1);
        let (_, stderr) = running.ends_by(signal, code);
        assert_told(&stderr);
        assert_eq!(sandbox.names("out"), [""; 0]);

        // On standard output what has come is no archive.
        let running = Running::start(sandbox, &words("-", &stalled));
        wait_until("signals are caught", || catches_signals(running.child.id()));
        let (stdout, _) = running.ends_by(signal, code);
        sandbox.write("torn.age", stdout);
        sandbox.program("age").args(["-d", "-i", "key.txt", "torn.age"]).run().ends_with(1);

        // While a server that never answers is asked for the status.
        let running = Running::start(sandbox, &words("out", &silent_address));
        let accepted = silent.accept().unwrap();
        wait_until("signals are caught", || catches_signals(running.child.id()));
        let (_, stderr) = running.ends_by(signal, code);
        assert_told(&stderr);
        assert_eq!(sandbox.names("out"), [""; 0]);
        drop(accepted);
    }
}

#[test]
fn a_signal_after_the_commit_is_too_late() {
    if !skip::can_trace() {
        return;
    }
    let scene = scene!();
    let sandbox = &scene.sandbox;
    // The sidecar gets its name later than the archive by more than the program is given to stop when it may.
    let strace = sandbox.program("strace").args(faulty("inject=renameat:delay_enter=4000000"));
    let mut strace = strace.args(save("snapshot.db", "out/b.age")).command;
    let mut strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the archive", || sandbox.path("out/b.age").exists());
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.id())).unwrap();
    let program = children.split_whitespace().next().unwrap().parse().ok().and_then(Pid::from_raw).unwrap();
    kill_process(program, Signal::TERM).unwrap();
    wait_until("the end", || strace.try_wait().unwrap().is_some());
    assert_eq!(strace.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.names("out"), ["b.age", "b.age.sha256"]);
    scene.seal(["verify", "out/b.age"]);
}

/// With a key, what is wrong with a header is the same to whatever reads the archive, and however it is read.
#[test]
fn all_who_open_agree_on_what_is_wrong_with_a_header() {
    const OF_HEADERS: [&str; 4] =
        ["not_an_archive", "header_damaged", "format_newer", "no_matching_identity"];
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let index: Value = serde_json::from_slice(&fs::read(vectors.join("index.json")).unwrap()).unwrap();
    let sandbox = Sandbox::new();
    let mut compared = 0;
    for vector in index["vectors"].as_array().unwrap() {
        let Some(kind) = vector["open"]["kind"].as_str().filter(|kind| OF_HEADERS.contains(kind)) else {
            continue;
        };
        let Some(identity) = vector["identity"].as_str() else { continue };
        let file = vectors.join(vector["file"].as_str().unwrap());
        let key = vectors.join(identity);
        let seal = |words: &[&str]| sandbox.seal(words).arg("-i").arg(&key).arg("--json");
        let input = || fs::read(&file).unwrap();
        let ways = [
            seal(&["verify"]).arg(&file).run(),
            seal(&["verify", "-"]).input(input()).run(),
            seal(&["info"]).arg(&file).run(),
            seal(&["info", "-"]).input(input()).run(),
            seal(&["restore", "-o", "out.db"]).arg(&file).run(),
            seal(&["restore", "-o", "out.db", "-"]).input(input()).run(),
        ];
        let told = ways.map(|outcome| (outcome.status.code(), outcome.object()["kind"].take()));
        for (exit, told_kind) in &told {
            assert_eq!((exit, told_kind), (&told[0].0, &Value::from(kind)), "{}: {told:?}", file.display());
        }
        // Without a key, too, a file and a pipe are the same.
        let keyless = [
            sandbox.seal(["verify", "--json"]).arg(&file).run(),
            sandbox.seal(["verify", "-", "--json"]).input(input()).run(),
            sandbox.seal(["info", "--json"]).arg(&file).run(),
            sandbox.seal(["info", "-", "--json"]).input(input()).run(),
        ];
        let kinds = keyless.map(|outcome| match outcome.object()["kind"].take() {
            // What is only a verdict of `verify`.
            Value::String(kind) if kind != "structure_only" => kind,
            _ => "none".to_owned(),
        });
        assert!(kinds.iter().all(|kind| *kind == kinds[0]), "{}: {kinds:?}", file.display());
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}
