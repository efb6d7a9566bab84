//! What the documentation says is tried out: the commands of the README, with their output; its break-glass line; the
//! exit codes of etcd-seal(1); the cron file, checks and drill of etcd-seal-deploy(7); and every line of
//! etcd-seal-compare(7). All of it is read from the files and run.

use harness::program::{Outcome, Program, etcd_seal};
use harness::sandbox::Sandbox;
use harness::snapshots::random;
use harness::{Etcd, LOOPBACK_NAMES, Options, Pki, ServerTls, etcds, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const README: &str = include_str!("../../README.md");
const PROGRAM: &str = include_str!("../../man/etcd-seal.1");
const DEPLOY: &str = include_str!("../../man/etcd-seal-deploy.7");
const COMPARE: &str = include_str!("../../man/etcd-seal-compare.7");

/// Lines of the README: it is read in two minutes.
const README_LINES_MAX: usize = 90;

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
struct Place(Sandbox);

impl Place {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        symlink(etcd_seal(), sandbox.make_directory("bin").join("etcd-seal")).unwrap();
        Self(sandbox)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// bash with a clean environment; `beside` is where an etcd and its tools are.
    fn bash(&self, script: &str, beside: Option<&Path>) -> Program {
        let beside = beside.map(|etcd| etcd.parent().unwrap().to_owned());
        self.0
            .program("bash")
            .args(["-c", script])
            .find_first_in([self.path("bin")].into_iter().chain(beside))
    }

    fn shell(&self, script: &str) -> Outcome {
        self.bash(script, None).run()
    }

    fn must(&self, script: &str) -> String {
        self.bash(script, None).succeed().text().to_owned()
    }

    /// A snapshot of a real etcd, of some hundred KiB that cannot be compressed, as `snapshot`.
    fn snapshot(&self, etcd: &Path) {
        let source = Etcd::start(etcd, &Options::default());
        for key in 0..20 {
            let noise = random(30_000);
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

/// The named examples of a manual page, in its order, as they are shown.
fn examples(page: &str) -> Vec<(&str, String)> {
    let mut examples = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        assert_ne!(line, ".EX", "an example of the page has no name");
        let Some(name) = line.strip_prefix(r#".\" block: "#) else { continue };
        assert_eq!(lines.next(), Some(".EX"), "{name}");
        let text: Vec<String> = lines.by_ref().take_while(|line| *line != ".EE").map(shown).collect();
        examples.push((name, text.join("\n")));
    }
    examples
}

/// A line of a manual page as it is shown. Knows only the escapes that the examples need.
fn shown(line: &str) -> String {
    assert!(!line.replace(r"\-", "").contains(['-', '`', '^', '~']), "shown as something else: {line}");
    let shown = line.replace(r"\-", "-").replace(r"\(aq", "'");
    assert!(
        !shown.contains('\\') && !line.starts_with(['.', '\'']),
        "not known to be shown as it is: {line}"
    );
    shown
}

/// The example of this name.
#[track_caller]
fn example(page: &str, name: &str) -> String {
    let found = examples(page).into_iter().find(|(found, _)| *found == name);
    found.unwrap_or_else(|| panic!("the page has no example {name}")).1
}

/// Asserts that the page has no example except those that a test runs, and those that say why none can.
fn assert_all_are_run(page: &str, run: &[&str]) {
    for (name, _) in examples(page) {
        assert!(run.contains(&name) || name.contains(" (not run by the tests: "), "no test runs {name}");
    }
}

/// The commands of the README's examples with a prompt, each with the output that follows it.
fn transcript() -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut in_example = false;
    for line in README.lines() {
        if line.starts_with("```") {
            in_example = line == "```console";
        } else if in_example {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => output.extend([line, "\n"]),
                (None, None) => panic!("output before the first command: {line}"),
            }
        }
    }
    commands
}

/// The text without what differs from run to run: words that hold a digit, units of bytes, and how lines are wrapped.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let is_of_word = char::is_ascii_alphanumeric;
    for word in text.split_inclusive(|character| !is_of_word(&character)) {
        let (token, end) =
            word.split_at(word.find(|character| !is_of_word(&character)).unwrap_or(word.len()));
        let varies = token.contains(|character: char| character.is_ascii_digit())
            || matches!(token, "bytes" | "KiB" | "MiB" | "GiB");
        masked.extend([if varies { "#" } else { token }, end]);
    }
    masked.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `text` is `pattern`, in which `…` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('…') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    rest.char_indices().any(|(at, _)| matches(after, &rest[at..])) || matches(after, "")
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    assert!(README.lines().count() <= README_LINES_MAX, "{} lines", README.lines().count());
    let links = README.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let files: Vec<&str> = links.filter(|link| !link.starts_with("https://")).collect();
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).is_file(), "{file}");
    }
}

#[test]
fn the_commands_of_the_readme_print_what_it_shows() {
    let commands = transcript();
    assert!(commands.len() >= 4, "{commands:?}");
    for etcd in etcds() {
        let place = Place::new();
        let server = Etcd::start(&etcd, &Options::default());
        run(server.etcdctl().args(["put", "key", "value"]));
        fs::create_dir(place.path("backups")).unwrap();
        for (command, expected) in &commands {
            let (beside, endpoint) = (etcd.parent().unwrap().display(), server.address());
            let variables = format!("export PATH={beside}:$PATH ETCDCTL_ENDPOINTS={endpoint}");
            let script = format!("{variables}\n{{ {command}\n}} 2>&1");
            let output = place.shell(&script);
            let printed = output.text();
            assert!(output.code == 0, "{command}: {printed}");
            assert!(
                matches(&masked(expected), &masked(printed)),
                "{command} prints\n{printed}\nand the README shows\n{expected}"
            );
        }
    }
}

/// The install script puts the program, a page for each command and topic, and completions into the prefix.
#[test]
fn the_install_script_fills_the_prefix_it_is_given() {
    let place = Place::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install");
    place.must(&format!("{script} prefix bin/etcd-seal && prefix/bin/etcd-seal version"));
    let pages = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/man")).unwrap();
    for page in pages.map(|entry| entry.unwrap()) {
        let name = page.file_name().into_string().unwrap();
        let installed = place.path(&format!("prefix/share/man/man{}/{name}", &name[name.len() - 1..]));
        assert_eq!(fs::read(page.path()).unwrap(), fs::read(installed).unwrap(), "{name}");
    }
    place.must("bash -n prefix/share/bash-completion/completions/etcd-seal");
    place.must("bash -c '. prefix/share/bash-completion/completions/etcd-seal && complete -p etcd-seal'");
    for file in ["zsh/site-functions/_etcd-seal", "fish/vendor_completions.d/etcd-seal.fish"] {
        let completions = fs::read_to_string(place.path(&format!("prefix/share/{file}"))).unwrap();
        assert!(completions.contains("keygen"), "{file}");
    }
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
fn the_line_of_break_glass_refuses_every_truncated_archive() {
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
        assert!(careful.code != 0, "cut to {cut} of {} bytes", whole.len());
        let code = place.shell("etcd-seal verify X -i key.txt").code;
        assert_eq!(code, 13, "cut to {cut} of {} bytes", whole.len());
        lies += usize::from(place.shell("age -d -i key.txt X | zstd -d > lie.db").code == 0);
    }
    assert!(lies > 0, "the README says that a plain pipe takes some of these for whole, and none was");
    fs::write(place.path("X"), &whole).unwrap();
    place.must(break_glass());
    let damage = "head -c -1000 X > Y";
    assert!(README.contains(&format!("`{damage}`")), "the README proposes another way to try it");
    place.must(damage);
    place.shell(&break_glass().replace(" X ", " Y ")).fails();
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
    let stream = place.shell("age -d -i key.txt plain.age").stdout;
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
    let help = run(Command::new(etcd_seal()).arg("--help"));
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
    let (_, section) = PROGRAM.split_once(".SH \"EXIT STATUS\"\n").unwrap();
    let (section, _) = section.split_once(".PP\n").unwrap();
    let page: BTreeMap<u8, String> = section
        .split(".TP\n")
        .skip(1)
        .map(|item| {
            let (code, meaning) = item.trim_end().split_once('\n').unwrap();
            let code = code.strip_prefix(r"\fB").and_then(|code| code.strip_suffix(r"\fR")).unwrap();
            let meaning = meaning.replace(r"\-", "-").replace(r"\(aq", "'");
            (code.parse().unwrap(), meaning.strip_suffix('.').unwrap().to_owned())
        })
        .collect();
    assert_eq!(program.len(), 12, "{list}");
    assert_eq!(page, program);
}

/// A script that runs the lines of an example, and prints for each that says what it prints the last line it printed.
/// Adds each of those lines to `claims`, with what it says.
fn script_of(example: &str, claims: &mut Vec<(String, String)>) -> String {
    let mut script = String::new();
    for line in example.lines() {
        // etcdctl takes no variable beside a flag, so each command gets one of the two.
        let variable = if line.contains("--endpoints") { "unset ETCDCTL_ENDPOINTS; " } else { "" };
        // Nothing else runs between two lines: some print `$?` of the one before.
        let words = if let Some((command, printed)) = line.split_once("# prints ") {
            claims.push((command.trim_end().to_owned(), printed.to_owned()));
            format!("last=$( {{ {variable}{command}\n}} | tail -n 1 )\necho \"$last\"\n")
        } else if variable.is_empty() {
            format!("{{ {line}\n}} >&2\n")
        } else {
            format!("( {variable}{line}\n) >&2\n")
        };
        script.push_str(&words);
    }
    script
}

#[test]
fn every_line_of_the_comparison_prints_what_it_says() {
    let preparation = example(COMPARE, "preparation");
    let compared: Vec<(&str, String)> = examples(COMPARE)
        .into_iter()
        .filter(|(name, _)| *name != "preparation" && !name.contains(" (not run by the tests: "))
        .collect();
    assert_eq!(compared.len(), 13);
    for etcd in etcds() {
        let place = Place::new();
        let server = Etcd::start(&etcd, &Options::default());
        let mut claims = Vec::new();
        let mut script = format!("exec 2>err\nexport ETCDCTL_ENDPOINTS={}\n", server.address());
        script.extend(["{ ", &preparation.replace('\n', " || exit\n"), " || exit\n} >&2\n"]);
        for (_, example) in &compared {
            script += &script_of(example, &mut claims);
        }
        assert_eq!(claims.len(), compared.len(), "each example says what it prints: {claims:?}");
        let script = script.replace("127.0.0.1:2379", &server.address()).replace("timeout 60 ", "timeout 3 ");
        let output = place.bash(&script, Some(&etcd)).run();
        let printed: Vec<&str> = output.text().lines().collect();
        let errors = fs::read_to_string(place.path("err")).unwrap();
        assert_eq!(printed.len(), claims.len(), "{printed:?}\n{errors}");
        for (((name, _), (command, expected)), printed) in compared.iter().zip(&claims).zip(printed) {
            assert_eq!(printed, expected, "{}: {name}: {command}\n{errors}", etcd.display());
        }
    }
}

/// Three members that ask for client certificates, and those of the cron file below `etc` of the place.
fn cluster_of_the_cron_file(etcd: &Path, pki: &Pki, place: &Place) -> Vec<Etcd> {
    let tls =
        ServerTls { leaf: pki.issue("server", LOOPBACK_NAMES), client_authority: Some(pki.authority()) };
    let members = Etcd::start_cluster(etcd, 3, &Options { tls: Some(tls), ..Options::default() });
    let client = pki.issue("backup", LOOPBACK_NAMES);
    for directory in ["etc/etcd", "etc/etcd-seal", "backups"] {
        fs::create_dir_all(place.path(directory)).unwrap();
    }
    fs::copy(pki.authority(), place.path("etc/etcd/ca.crt")).unwrap();
    fs::copy(client.certificate, place.path("etc/etcd/backup.crt")).unwrap();
    fs::copy(client.key, place.path("etc/etcd/backup.key")).unwrap();
    members
}

#[test]
fn the_page_on_daily_operation_works_for_a_cluster_of_three_with_client_certificates() {
    assert_all_are_run(DEPLOY, &["key", "cron", "check-without-key", "check-with-key", "drill"]);
    let Some(etcd) = etcds().into_iter().next() else { return };
    let place = Place::new();
    let pki = Pki::new();
    let members = cluster_of_the_cron_file(&etcd, &pki, &place);
    place.must(&example(DEPLOY, "key"));
    place.must("mv recipients.txt etc/etcd-seal/");

    let cron = example(DEPLOY, "cron");
    let mut environment: Vec<String> = cron.lines().map(str::to_owned).collect();
    for (number, member) in members.iter().enumerate() {
        environment[0] = environment[0].replace(&format!("10.0.0.{}:2379", number + 1), &member.address());
    }
    let job = environment.pop().unwrap();
    assert!(!job.contains('%'), "cron makes a line's end of it");
    // Five times, a user, and then the command.
    let command = job.splitn(7, ' ').nth(6).unwrap().replace("/usr/local/bin/", "");
    let script = format!("export {}\n{command}\n", environment.join("\nexport "));
    let root = place.path("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    let script = script.replace("/etc/", &format!("{root}/etc/")).replace("=/backups/", "=backups/");
    let output = place.shell(&script).ends_with(0);
    assert_eq!(output.said(), "", "cron would mail this");
    place.must("ls backups/prod-*.age");
    for name in ["check-without-key", "check-with-key", "drill"] {
        place.must(&format!("set -e\n{}", example(DEPLOY, name).replace("/backups/", "backups/")));
    }
}
