//! The README read literally: its break-glass line, its table of exit codes, its cron line and every command of its
//! comparison are taken from the file and run.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use common::{Etcd, LOOPBACK_NAMES, Options, Pki, ServerTls, etcds, run};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const README: &str = include_str!("../README.md");

/// An age payload is sealed in chunks of this many bytes of plaintext and a tag of 16.
const CHUNK: usize = 64 * 1024;
/// Bytes that `--note` may have.
const NOTE_MAX: usize = 8192;
/// Snapshots tried before a test gives up finding one that suits it.
const SNAPSHOTS_MAX: usize = 20;
const SEALED_CHUNK: usize = CHUNK + 16;
/// What is between the header of an age file and its first chunk.
const NONCE: usize = 16;

/// A directory to work in, with this program first on the path.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_etcd-seal"), place.path().join("bin/etcd-seal")).unwrap();
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// bash with a clean environment; `beside` is where an etcd and its tools are.
    fn bash(&self, script: &str, beside: Option<&Path>) -> Command {
        let inherited = std::env::var_os("PATH").unwrap();
        let first =
            std::iter::once(self.path("bin")).chain(beside.map(|etcd| etcd.parent().unwrap().to_owned()));
        let path = std::env::join_paths(first.chain(std::env::split_paths(&inherited))).unwrap();
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", "120", "bash", "-c", script])
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn shell(&self, script: &str) -> Output {
        self.bash(script, None).output().unwrap()
    }

    fn must(&self, script: &str) -> String {
        run(&mut self.bash(script, None))
    }

    /// A snapshot of a real etcd, of some hundred KiB that cannot be compressed, as `snapshot`.
    fn snapshot(&self, etcd: &Path) {
        let source = Etcd::start(etcd, &Options::default());
        let mut noise = vec![0; 30_000];
        let mut random = fs::File::open("/dev/urandom").unwrap();
        for key in 0..20 {
            random.read_exact(&mut noise).unwrap();
            let value: String = noise.iter().map(|byte| char::from(b'0' + byte % 64)).collect();
            run(source.etcdctl().args(["put", &format!("key-{key}"), &value]));
        }
        run(source.etcdctl().args(["snapshot", "save"]).arg(self.path("snapshot")));
    }
}

/// The line of the README that begins so, on its own in a code block.
fn line(beginning: &str) -> &'static str {
    let found: Vec<&str> = README.lines().filter(|line| line.starts_with(beginning)).collect();
    assert_eq!(found.len(), 1, "{beginning}");
    found[0]
}

fn break_glass() -> &'static str {
    line("set -o pipefail; age -d ")
}

/// The rows of the table whose first row begins so, without their borders.
fn table(beginning: &str) -> Vec<Vec<String>> {
    let rows: Vec<&str> = README
        .lines()
        .skip_while(|line| !line.starts_with(beginning))
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 2, "no table {beginning}");
    let cells = |row: &str| {
        let row = row.trim_matches('|').replace(r"\|", "\0");
        row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
    };
    rows[2..].iter().map(|row| cells(row)).collect()
}

#[test]
fn the_line_of_break_glass_gives_what_restore_gives() {
    for etcd in etcds() {
        let place = Place::new();
        place.snapshot(&etcd);
        place.must("etcd-seal save X.age --from snapshot -r $(etcd-seal keygen -o key.txt) && mv X.age X");
        place.must(break_glass());
        place.must("etcd-seal restore X -i key.txt -o restored.db && cmp restored.db snapshot && cmp snapshot.db snapshot");
    }
}

#[test]
fn the_line_of_break_glass_refuses_whatever_was_cut() {
    let Some(etcd) = etcds().into_iter().next() else { return };
    let place = Place::new();
    let recipient = place.must("etcd-seal keygen -o key.txt");
    let recipient = recipient.trim();
    // The data are random, and one snapshot in a few has no frame that ends near enough before the end of a chunk.
    let note = (0..SNAPSHOTS_MAX).find_map(|_| {
        place.snapshot(&etcd);
        note_that_aligns_a_frame(&place, recipient)
    });
    let note = note.expect("a frame that can be aligned");
    place.must(&format!(
        "etcd-seal save aligned.age --from snapshot --frame-size 64KiB -r {recipient} --note {note}"
    ));
    let whole = fs::read(place.path("aligned.age")).unwrap();
    let payload = payload_offset(&whole);

    let chunks = (whole.len() - payload) / SEALED_CHUNK;
    assert!(chunks >= 4, "{chunks} chunks prove little");
    let boundaries = (0..=chunks).map(|chunk| payload + chunk * SEALED_CHUNK);
    let mut cuts: Vec<usize> = boundaries.flat_map(|cut| [cut - 1, cut, cut + 1]).collect();
    cuts.extend([0, 1, payload - NONCE, payload / 2, whole.len() - 1, whole.len() - 16, whole.len() - 1000]);
    let mut lies = 0;
    for cut in cuts {
        fs::write(place.path("X"), &whole[..cut]).unwrap();
        let careful = place.shell(break_glass());
        assert!(!careful.status.success(), "cut to {cut} of {} bytes", whole.len());
        let code = place.shell("etcd-seal verify X -i key.txt").status.code();
        assert_eq!(code, Some(13), "cut to {cut} of {} bytes", whole.len());
        lies += usize::from(place.shell("age -d -i key.txt X | zstd -d > lie.db").status.success());
    }
    assert!(lies > 0, "the README says that a plain pipe takes some of these for whole, and none was");
    fs::write(place.path("X"), &whole).unwrap();
    place.must(break_glass());
    // As the README proposes to try it.
    place.must("head -c -1000 X > Y");
    assert!(!place.shell(&break_glass().replace(" X ", " Y ")).status.success());
}

/// Where the payload of an age file begins.
fn payload_offset(archive: &[u8]) -> usize {
    let mac = archive.windows(5).position(|window| window == b"\n--- ").unwrap() + 1;
    mac + archive[mac..].iter().position(|&byte| byte == b'\n').unwrap() + 1 + NONCE
}

/// A note of such a length that a frame of the snapshot ends exactly where a chunk does: cut there, what is left is
/// a valid stream of both age chunks and zstd frames. `None` where it would be longer than a note may be.
fn note_that_aligns_a_frame(place: &Place, recipient: &str) -> Option<String> {
    place.must(&format!(
        "etcd-seal save plain.age --force --from snapshot --frame-size 64KiB -r {recipient} --note n"
    ));
    let stream = place.bash("age -d -i key.txt plain.age", None).output().unwrap().stdout;
    let number = |offset: usize| u32::from_le_bytes(stream[offset..offset + 4].try_into().unwrap()) as usize;
    // Zstandard Seekable Format: at the end the number of frames, a descriptor and a magic number; before them 8
    // bytes a frame, its compressed size first. Neither the manifest, which is first, nor the trailer, which is
    // last, is of the snapshot.
    let footer = stream.len() - 9;
    let frames = number(footer);
    let mut end = 0;
    let ends = (0..frames).map(|frame| {
        end += number(footer - 8 * (frames - frame));
        end
    });
    let shortest = ends.take(frames - 2).skip(1).map(|end| end.next_multiple_of(CHUNK) - end).min().unwrap();
    (shortest < NOTE_MAX).then(|| "n".repeat(1 + shortest))
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let help = run(Command::new(env!("CARGO_BIN_EXE_etcd-seal")).arg("--help"));
    let (_, list) = help.split_once("Exit status:\n").unwrap();
    let mut program: BTreeMap<u8, String> = BTreeMap::new();
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Ok(code) = word.parse() {
            program.insert(code, rest.trim().to_owned());
        } else {
            let mut above = program.last_entry().unwrap();
            let meaning = above.get_mut();
            *meaning = format!("{meaning} {line}");
        }
    }
    let readme: BTreeMap<u8, String> =
        table("| code |").into_iter().map(|row| (row[0].parse().unwrap(), row[1].replace('`', ""))).collect();
    assert_eq!(program.len(), 12, "{list}");
    assert_eq!(readme, program);
}

/// The commands of a cell of which it says what they print, and that.
fn claims(cell: &str) -> Vec<(&str, &str)> {
    let pieces: Vec<&str> = cell.split('`').collect();
    let spans = pieces.iter().skip(1).step_by(2).zip(pieces.iter().skip(2).step_by(2));
    spans
        .filter_map(|(command, after)| {
            let printed = after.strip_prefix(" prints ")?;
            Some((*command, printed.split([',', ';', ':', ' ']).next().unwrap()))
        })
        .collect()
}

#[test]
fn every_command_of_the_comparison_prints_what_it_says() {
    let preparation: Vec<&str> = README
        .lines()
        .skip_while(|line| !line.starts_with("recipient=$(etcd-seal keygen"))
        .take_while(|line| *line != "```")
        .collect();
    let rows = table("| | etcdctl and openssl or age | etcd-seal |");
    assert!(rows.iter().all(|row| row.len() == 3));
    for etcd in etcds() {
        let place = Place::new();
        let server = Etcd::start(&etcd, &Options::default());
        let mut lines = vec!["exec 2>err".to_owned()];
        if !etcd.with_file_name("etcdutl").is_file() {
            lines.push("etcdutl() { etcdctl \"$@\"; }".to_owned());
        }
        // etcdctl takes no variable beside a flag, so each command gets one of the two.
        let endpoints = format!("ETCDCTL_ENDPOINTS={}", server.address());
        lines.push(format!("export {endpoints}\n{{ {} || exit\n}} >&2", preparation.join(" || exit\n")));
        let mut expected = Vec::new();
        for (command, printed) in rows.iter().flat_map(|row| row.iter().flat_map(|cell| claims(cell))) {
            let variable = if command.contains("--endpoints") { "unset ETCDCTL_ENDPOINTS" } else { ":" };
            lines
                .push(format!("last=$( {{ {variable}\n{command}\n}} | tail -n 1 )\necho ${{last:-nothing}}"));
            expected.push((command, printed));
        }
        assert_eq!(expected.len(), 13, "{expected:?}");
        let script = lines
            .join("\n")
            .replace("127.0.0.1:2379", &server.address())
            .replace("timeout 60 ", "timeout 3 ");
        let output = place.bash(&script, Some(&etcd)).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let printed: Vec<&str> = printed.lines().collect();
        assert_eq!(
            printed.len(),
            expected.len(),
            "{printed:?}\n{}",
            fs::read_to_string(place.path("err")).unwrap()
        );
        for ((command, expected), printed) in expected.iter().zip(printed) {
            let as_said = if *expected == "an" { printed != "0" } else { printed == *expected };
            assert!(as_said, "{}: {command}: {printed}, not {expected}", etcd.display());
        }
    }
}

#[test]
fn the_cron_file_backs_up_a_cluster_of_three_with_client_certificates() {
    let Some(etcd) = etcds().into_iter().next() else { return };
    let place = Place::new();
    let pki = Pki::new();
    let tls =
        ServerTls { leaf: pki.issue("server", LOOPBACK_NAMES), client_authority: Some(pki.authority()) };
    let members = Etcd::start_cluster(&etcd, 3, &Options { tls: Some(tls), ..Options::default() });
    let client = pki.issue("backup", LOOPBACK_NAMES);
    for directory in ["etc/etcd", "etc/etcd-seal", "backups"] {
        fs::create_dir_all(place.path(directory)).unwrap();
    }
    fs::copy(pki.authority(), place.path("etc/etcd/ca.crt")).unwrap();
    fs::copy(client.certificate, place.path("etc/etcd/backup.crt")).unwrap();
    fs::copy(client.key, place.path("etc/etcd/backup.key")).unwrap();
    place.must("etcd-seal keygen -o key.txt > etc/etcd-seal/recipients.txt");

    let mut environment: Vec<String> = README
        .lines()
        .skip_while(|line| !line.starts_with("ETCDCTL_ENDPOINTS="))
        .take_while(|line| *line != "```")
        .map(str::to_owned)
        .collect();
    for (number, member) in members.iter().enumerate() {
        environment[0] = environment[0].replace(&format!("10.0.0.{}:2379", number + 1), &member.address());
    }
    let job = environment.pop().unwrap();
    assert!(!job.contains('%'), "cron makes a line's end of it");
    // Five times, a user, and then the command.
    let command = job.splitn(7, ' ').nth(6).unwrap().replace("/usr/local/bin/", "");
    let script = format!("export {}\n{command}\n", environment.join("\nexport "));
    let root = place.0.path().display();
    let script = script.replace("/etc/", &format!("{root}/etc/")).replace(" /backups/", " backups/");
    let output = place.shell(&script);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "cron would mail this: {output:?}");
    place.must("etcd-seal verify backups/prod-*.age && etcd-seal verify backups/prod-*.age -i key.txt");
}
