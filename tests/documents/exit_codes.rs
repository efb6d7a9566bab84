//! Every exit code of the table, but the reserved one, produced honestly: by what it is documented for.

use age_core::format::{FileKey, Stanza};
use harness::process::{await_that, signal};
use harness::program::Running;
use harness::proxy::{Harm, proxy};
use harness::refusal::{RECIPIENT, fill_with_noise, scene, snapshot};
use harness::sandbox::Sandbox;
use harness::skip;
use harness::{Etcd, Options, dead_address, etcds, needs};
use serde_json::Value;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// `save` of a file of the scene, to this destination.
fn save(from: &str, destination: &str) -> Vec<String> {
    ["save", destination, "--from", from, "-r", RECIPIENT].map(str::to_owned).to_vec()
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

#[test]
fn partly_is_3_when_only_the_sidecar_or_the_directory_failed() {
    needs!(skip::can_trace());
    let scene = scene!();
    let both: &[&str] = &["b.age", "b.age.sha256"];
    for (fault, left, code) in [
        ("fsync:error=EIO:when=1", &[][..], 1),
        ("fsync:error=EIO:when=2", &[], 1),
        ("fsync:error=ENOSPC:when=2", &[], 1),
        ("renameat2:error=EACCES", &[], 1),
        ("renameat2:error=EIO", &[], 1),
        ("renameat:error=EIO", &["b.age"], 3),
        ("renameat:error=ENOSPC", &["b.age"], 3),
        ("fsync:error=EIO:when=3", both, 3),
    ] {
        for json in [false, true] {
            let program = scene.sandbox.seal(save("snapshot.db", "out/b.age")).args(json.then_some("--json"));
            let outcome = program.faulty(&[fault], &[]).run().ends_with(code);
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
                let outcome = outcome.says("etcd-seal: hint: ");
                assert_eq!(outcome.stderr.contains("is complete, but"), code == 3, "{}", outcome.stderr);
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
        // The stanza alone tells a later version.
        ("v2", r#"{"format":"etcd-seal","format_version":3}"#, 15),
        // A version that its document contradicts, or that is none, is damage.
        ("v1", LATER, 13),
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
                assert_eq!(Some(outcome.code), Some(code), "{title} {words:?}: {}", outcome.stderr);
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
    // The data directory of an etcd.
    sandbox.make_directory("1.age");
    sandbox.write("1.age/db", "");
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

/// The signals that ask to stop: name, number and exit code.
const SIGNALS: [(&str, u32, i32); 2] = [("INT", 2, 130), ("TERM", 15, 143)];

/// Sends a signal, and waits for the end with this code; what was told on standard output.
fn ends_by(running: Running, signal: &str, code: i32) -> Vec<u8> {
    running.signal(signal);
    let ended = running.wait_with_input_open().ends_with(code);
    let told = "etcd-seal: error: interrupted\netcd-seal: hint: nothing was published; run it again\n";
    // With --json it is told elsewhere.
    assert!(ended.stderr.ends_with(told) || ended.stdout.starts_with(b"{"), "{}", ended.stderr);
    ended.stdout
}

#[test]
fn signals_while_waiting_for_input() {
    let scene = scene!();
    let sandbox = &scene.sandbox;
    let pipe = sandbox.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (signal, _, code) in SIGNALS {
        // A FIFO without a writer: nothing has begun. Handlers are there once the process asks to open it.
        let running = sandbox.seal(save("pipe", "out")).start_fed();
        await_that("signals are caught", || catches_signals(running.child.id()));
        ends_by(running, signal, code);
        assert_eq!(sandbox.names("out"), [""; 0]);

        // Half a snapshot has come, and there is a temporary.
        let running = sandbox.seal(save("pipe", "out")).start_fed();
        let mut writer = File::options().write(true).open(&pipe).unwrap();
        writer.write_all(&snapshot().unwrap()[..300_000]).unwrap();
        await_that("there is a temporary", || sandbox.names("out").len() == 1);
        assert!(sandbox.names("out")[0].starts_with(".etcd-seal-"));
        ends_by(running, signal, code);
        assert_eq!(sandbox.names("out"), [""; 0]);
        drop(writer);

        // The same from standard input, and half an archive for restore.
        let archive = scene.archive();
        let half_an_archive = &archive[..archive.len() / 2];
        let restore = ["restore", "-", "-i", "key.txt", "-o", "out/s.db"].map(str::to_owned).to_vec();
        for (words, half) in [(save("-", "out"), &snapshot().unwrap()[..300_000]), (restore, half_an_archive)]
        {
            let running = sandbox.seal(&words).input(half).start_fed();
            await_that("there is a temporary", || sandbox.names("out").len() == 1);
            ends_by(running, signal, code);
            assert_eq!(sandbox.names("out"), [""; 0]);
        }

        // Nothing is written by verify; the failure is told as JSON in the place of the result.
        let verify = sandbox.seal(["verify", "-", "-i", "key.txt", "--json"]);
        let running = verify.input(half_an_archive).start_fed();
        let stdout = ends_by(running, signal, code);
        let told: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
        assert_eq!((&told["exit_code"], &told["kind"]), (&code.into(), &"interrupted".into()), "{told}");
    }
}

/// Whether a process has handlers for SIGINT and SIGTERM.
fn catches_signals(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap_or(0);
    SIGNALS.iter().all(|(_, number, _)| caught & (1 << (number - 1)) != 0)
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
    for (signal, _, code) in SIGNALS {
        let begin = |destination: &str, endpoint: &str| {
            let save = sandbox.seal(["save", destination, "-r", RECIPIENT, "--endpoints", endpoint]);
            save.args(["--dial-timeout=60s", "--command-timeout=60s"]).start_fed()
        };
        // In the midst of the stream.
        let running = begin("out", &stalled);
        await_that("there is a temporary", || sandbox.names("out").len() == 1);
        ends_by(running, signal, code);
        assert_eq!(sandbox.names("out"), [""; 0]);

        // On standard output what has come is no archive.
        let running = begin("-", &stalled);
        await_that("signals are caught", || catches_signals(running.child.id()));
        let stdout = ends_by(running, signal, code);
        sandbox.write("torn.age", stdout);
        sandbox.program("age").args(["-d", "-i", "key.txt", "torn.age"]).run().ends_with(1);

        // While a server that never answers is asked for the status.
        let running = begin("out", &silent_address);
        let accepted = silent.accept().unwrap();
        await_that("signals are caught", || catches_signals(running.child.id()));
        ends_by(running, signal, code);
        assert_eq!(sandbox.names("out"), [""; 0]);
        drop(accepted);
    }
}

#[test]
fn a_signal_after_the_commit_is_too_late() {
    needs!(skip::can_trace());
    let scene = scene!();
    let sandbox = &scene.sandbox;
    // The sidecar gets its name later than the archive by more than the program is given to stop when it may.
    let save = sandbox.seal(save("snapshot.db", "out/b.age"));
    let strace = save.faulty(&["renameat:delay_enter=4000000"], &[]).start();
    await_that("the archive has its name", || sandbox.path("out/b.age").exists());
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.child.id())).unwrap();
    signal(children.split_whitespace().next().unwrap().parse().unwrap(), "TERM");
    strace.wait().ends_with(0);
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
        let told = ways.map(|outcome| (Some(outcome.code), outcome.object()["kind"].take()));
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
