//! What the program says: JSON that holds every fact of the archive, lines and bars where they belong.

use harness::process::await_that;
use harness::program::{Outcome, Program, etcd_seal};
use harness::sandbox::Sandbox;
use harness::snapshots::snapshot;
use harness::trace::{traced, written_paths};
use harness::{Etcd, an_etcd, can, dead_address, each_etcd, needs};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A text of one object on one line, with no key in it twice.
fn object(line: &str) -> Map<String, Value> {
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line}");
    let value: Value = serde_json::from_str(line).unwrap();
    // Of two equal keys one would have been lost.
    assert_eq!(value.to_string().len(), line.len(), "{line}");
    assert_types("", &value);
    value.as_object().unwrap().clone()
}

/// Fails the test unless every value is of the type its name promises, and nothing is null.
fn assert_types(name: &str, value: &Value) {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let right = match (name, value) {
        (_, Value::Object(object)) => {
            for (name, value) in object {
                assert_types(name, value);
            }
            true
        }
        (_, Value::Array(array)) => {
            for value in array {
                assert_types("", value);
            }
            true
        }
        ("cluster_id" | "member_id" | "id", Value::String(text)) => text.len() == 16 && is_hex(text),
        (name, Value::String(text)) if name.ends_with("sha256") => text.len() == 64 && is_hex(text),
        (name, Value::String(text)) if name.ends_with("_at") => is_time(text),
        ("ratio", Value::Number(number)) => number.is_f64(),
        ("level", Value::Number(number)) => number.is_i64(),
        (name, Value::Number(number)) => {
            let integers = ["format_version", "exit_code", "revision", "frames", "raft_term", "raft_index"];
            let of_database = "entries leases users roles alarm_count bumped_by bumped_to compact_revision secrets \
                               plain_secrets";
            let named = integers.contains(&name)
                || of_database.split(' ').any(|field| field == name)
                || name.starts_with("damaged_")
                || name.ends_with("_size")
                || name.ends_with("_ms");
            named && number.is_u64()
        }
        (
            "ok" | "armored" | "zstd" | "authenticated" | "opened" | "dry_run" | "auth_enabled",
            Value::Bool(_),
        ) => true,
        (name, Value::String(text)) => {
            let texts = "_id sha256 _at _size _ms revision ok".split(' ');
            !text.is_empty() && !texts.into_iter().any(|kind| name.ends_with(kind))
        }
        _ => false,
    };
    assert!(right, "{name}: {value}");
}

/// RFC 3339, UTC, whole seconds.
fn is_time(text: &str) -> bool {
    let shape: String =
        text.chars().map(|character| if character.is_ascii_digit() { '9' } else { character }).collect();
    shape == "9999-99-99T99:99:99Z"
}

/// Every field and its type, a line each.
fn schema(object: &Map<String, Value>) -> String {
    let mut lines = String::new();
    fields("", object, &mut lines);
    lines
}

fn fields(prefix: &str, object: &Map<String, Value>, lines: &mut String) {
    for (name, value) in object {
        let kind = match value {
            Value::Object(inner) => {
                fields(&format!("{prefix}{name}."), inner, lines);
                continue;
            }
            Value::Array(_) => "array",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Null => "null",
        };
        // Only some versions of etcd tell it.
        if name != "storage_version" {
            writeln!(lines, "{prefix}{name}: {kind}").unwrap();
        }
    }
}

/// Little-endian.
fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The content of the skippable frame that is `bytes`.
fn skippable(bytes: &[u8], magic: usize) -> &[u8] {
    assert_eq!((u32_at(bytes, 0), u32_at(bytes, 4)), (magic, bytes.len() - 8));
    &bytes[8..]
}

/// Manifest and trailer of an archive, read with stock age and by the format's specification alone.
fn documents(sandbox: &Sandbox, archive: &Path) -> (Map<String, Value>, Map<String, Value>) {
    let age = sandbox.program("age").args(["-d", "-i"]).arg(sandbox.identity()).arg(archive);
    let stream = age.succeed().stdout;
    let footer = stream.len() - 9;
    assert_eq!(
        (stream[footer + 4], u32_at(&stream, footer + 5)),
        (0, 0x8F92_EAB1),
        "no checksums, and seekable"
    );
    let frames = u32_at(&stream, footer);
    let table = footer - 8 * frames;
    skippable(&stream[table - 8..], 0x184D_2A5E);
    let sizes: Vec<usize> = (0..frames).map(|frame| u32_at(&stream, table + 8 * frame)).collect();
    assert_eq!(sizes.iter().sum::<usize>(), table - 8, "the table tells of everything before it");
    let json = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes).unwrap();
    let trailer = table - 8 - sizes.last().unwrap();
    (
        json(skippable(&stream[..sizes[0]], 0x184D_2A50)),
        json(skippable(&stream[trailer..table - 8], 0x184D_2A51)),
    )
}

/// Fails the test unless every field of `part` stands in `whole` with the same value.
fn assert_part_of(part: &Map<String, Value>, whole: &Map<String, Value>) {
    for (name, value) in part {
        assert_eq!(Some(value), whole.get(name), "{name}");
    }
}

/// An archive of a real etcd with everything said that can be said, and the JSON that told of it.
fn told_save(sandbox: &Sandbox, etcd: &Etcd) -> Map<String, Value> {
    let said =
        ["--cluster-name", "prod", "--note", "before the upgrade", "--tag", "daily", "--tag", "upgrade"];
    let save =
        sandbox.save().args(["--json", "--endpoints", &etcd.address()]).args(said).arg(sandbox.backups());
    let saved = save.succeed();
    assert_eq!(saved.stderr, "");
    object(saved.text())
}

#[test]
fn save_tells_every_fact_of_the_archive() {
    needs!(can("age", &["--version"]));
    for etcd in each_etcd() {
        etcd.fill("/registry", 300, 10_000);
        let sandbox = Sandbox::furnished();
        let told = told_save(&sandbox, &etcd);
        let archive = sandbox.archive();
        let (manifest, trailer) = documents(&sandbox, &archive);
        assert_types("manifest", &Value::Object(manifest.clone()));
        assert_types("trailer", &Value::Object(trailer.clone()));
        assert_part_of(&manifest, &told);
        assert_part_of(&trailer, &told);

        let bytes = fs::read(&archive).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let number = |name: &str| told[name].as_u64().unwrap();
        assert_eq!((&told["ok"], number("exit_code"), &told["command"]), (&true.into(), 0, &"save".into()));
        assert_eq!(PathBuf::from(text("path")), archive);
        assert_eq!(number("archive_size"), bytes.len() as u64);
        assert_eq!(text("archive_sha256"), hex::encode(Sha256::digest(&bytes)));
        assert_eq!((text("source"), text("digest")), ("etcd".into(), "verified".into()));
        assert_eq!((text("cluster_name"), text("note")), ("prod".into(), "before the upgrade".into()));
        assert_eq!(told["tags"], Value::from(vec!["daily", "upgrade"]));
        assert_eq!(told["recipients"], Value::from(vec![sandbox.recipient.clone()]));
        assert_eq!((text("endpoint"), text("member_name")), (etcd.address(), etcd.name().to_owned()));

        // What was told is what is inside.
        let restored = sandbox.open("restore").arg(&archive).args(["-o", "-"]).succeed().stdout;
        assert_eq!(number("snapshot_size"), restored.len() as u64);
        let database = &restored[..restored.len() - 32];
        assert_eq!(text("database_sha256"), hex::encode(Sha256::digest(database)));
        // Rounded to two digits.
        let hundredths = restored.len() * 100 / bytes.len();
        let ratio = format!("{:.0}", told["ratio"].as_f64().unwrap() * 100.0).parse::<usize>().unwrap();
        assert!(ratio == hundredths || ratio == hundredths + 1, "{ratio} {hundredths}");
        let name = format!("-r{}.db.zst.age", number("revision"));
        assert!(text("path").ends_with(&name), "{name}");
        assert!(number("revision") >= 4, "{name}");
    }
}

#[test]
fn the_fields_of_every_command_stay() {
    let Some(etcd) = an_etcd() else { return };
    etcd.fill("/registry", 10, 100);
    let sandbox = Sandbox::furnished();
    let mut all = format!("## save\n{}", schema(&told_save(&sandbox, &etcd)));
    let archive = sandbox.archive();
    let mut add = |title: &str, code: i32, command: Program| {
        let ended = command.arg("--json").run().ends_with(code);
        let object = object(if ended.stdout.is_empty() { &ended.stderr } else { ended.text() });
        assert_eq!(object["exit_code"], code);
        assert_eq!(object["ok"], code == 0);
        write!(all, "\n## {title}\n{}", schema(&object)).unwrap();
    };
    add("info", 0, sandbox.seal(["info"]).arg(&archive));
    add("info with a key", 0, sandbox.open("info").arg(&archive));
    add("verify", 0, sandbox.seal(["verify"]).arg(&archive));
    add("verify with a key", 0, sandbox.open("verify").arg(&archive));
    add("restore", 0, sandbox.open("restore").arg(&archive).arg("-o").arg(sandbox.path("x.db")));
    add("keygen", 0, sandbox.seal(["keygen"]).arg("-o").arg(sandbox.path("new.txt")));
    add("save -n", 0, sandbox.save().arg("-n").arg(sandbox.backups()));
    add("restore -n", 0, sandbox.open("restore").arg("-n").arg(&archive).arg("-o").arg(sandbox.path("y.db")));
    let member = ["--data-dir", "member"];
    add("restore --data-dir", 0, sandbox.open("restore").arg(&archive).args(member));
    let planned = sandbox.open("restore").arg("-n").arg(&archive).args(["--data-dir", "new"]);
    add("restore --data-dir -n", 0, planned);
    add("restore --data-dir where one is", 2, sandbox.open("restore").arg(&archive).args(member));
    let cluster = ["--output-dir", "members", "--cluster-plan", PLAN, "--kubernetes"];
    add("restore --output-dir", 0, sandbox.open("restore").arg(&archive).args(cluster));
    let aside = sandbox.path("aside.db.zst.age");
    fs::copy(&archive, &aside).unwrap();
    add("verify without a sidecar", 3, sandbox.seal(["verify"]).arg(&aside));
    let mut damaged = fs::read(&archive).unwrap();
    let middle = damaged.len() - 200;
    damaged[middle] ^= 1;
    fs::write(&aside, damaged).unwrap();
    add("verify of damage", 13, sandbox.open("verify").arg(&aside));
    add("a failure", 14, sandbox.save().args(["--endpoints", &dead_address()]).arg(sandbox.backups()));
    insta::assert_snapshot!("fields", all);
}

/// Two members.
const PLAN: &str = "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380";

/// The object without what differs from run to run and from etcd to etcd.
fn redacted(mut object: Map<String, Value>) -> String {
    assert_part_of(
        &Map::from_iter([("ok".into(), true.into()), ("digest".into(), "verified".into())]),
        &object,
    );
    for volatile in ["archive", "duration_ms", "snapshot_age_ms", "snapshot_size", "snapshot"] {
        *object.get_mut(volatile).unwrap() = "…".into();
    }
    // The place of the test is another in every run.
    for member in object["members"].as_array_mut().unwrap() {
        let flags = member["etcd_flags"].as_array_mut().unwrap();
        if let Some(data_dir) = flags[0].as_str().unwrap().strip_prefix("--data-dir=/") {
            assert!(data_dir.ends_with("/member"), "{data_dir}");
            flags[0] = "--data-dir=…".into();
        }
    }
    let database = object["database"].as_object_mut().unwrap();
    database.insert("cluster_version".into(), "…".into());
    // Only some versions of etcd have it.
    database.remove("storage_version");
    format!("{:#}\n", Value::Object(object))
}

#[test]
fn members_are_told_with_all_that_etcd_needs_to_start() {
    let Some(etcd) = an_etcd() else { return };
    etcd.fill("/registry", 10, 100);
    let sandbox = Sandbox::furnished();
    told_save(&sandbox, &etcd);
    let told = |words: &[&str]| {
        let ended = sandbox.open("restore").arg("--json").arg(sandbox.archive()).args(words).succeed();
        redacted(object(ended.text()))
    };
    let member = ["--data-dir", "member", "--name", "b", "--initial-cluster", PLAN];
    let more = ["--initial-advertise-peer-urls", "https://10.0.0.2:2380", "--initial-cluster-token", "new"];
    insta::assert_snapshot!("data_dir", told(&[&member[..], &more].concat()));
    let raised = ["--bump-revision", "1000", "--mark-compacted"];
    let members = ["--output-dir", "members", "--cluster-plan", PLAN, "--initial-cluster-token", "new"];
    insta::assert_snapshot!("output_dir", told(&[&members[..], &raised].concat()));
}

#[test]
fn a_key_adds_to_what_info_tells_and_verify_agrees() {
    needs!(can("age", &["--version"]));
    let Some(etcd) = an_etcd() else { return };
    let sandbox = Sandbox::furnished();
    let saved = told_save(&sandbox, &etcd);
    let archive = sandbox.archive();
    let (manifest, trailer) = documents(&sandbox, &archive);
    let tell = |command: Program| object(command.arg("--json").arg(&archive).succeed().text());
    let public = tell(sandbox.seal(["info"]));
    assert_eq!((&public["authenticated"], &public["opened"]), (&false.into(), &false.into()));
    assert!(!public.contains_key("sealed_by"));
    for secret in ["endpoint", "member_name", "host", "tags", "note", "recipients", "database_sha256"] {
        assert!(!public.contains_key(secret), "{secret}");
    }
    let sizes = ["archive_size", "header_size", "payload_size"].map(|name| public[name].as_u64().unwrap());
    assert_eq!(sizes[0], saved["archive_size"].as_u64().unwrap());
    assert!(sizes[0] >= sizes[1] + sizes[2], "{sizes:?}");
    let opened = tell(sandbox.open("info"));
    // That it opens proves nothing of who sealed it.
    assert_eq!((&opened["authenticated"], &opened["opened"]), (&false.into(), &true.into()));
    assert_eq!(opened["sealed_by"], "unknown");
    let verified = tell(sandbox.open("verify"));
    assert_eq!((&verified["proved"], &verified["sidecar"]), (&"content".into(), &"equal".into()));
    assert_eq!((verified.get("authenticated"), &verified["sealed_by"]), (None, &"unknown".into()));
    for told in [&opened, &verified] {
        assert_part_of(&manifest, told);
        assert_part_of(&trailer, told);
    }
    let fact = |name: &str| !["opened", "command", "frames"].contains(&name);
    let description: Map<String, Value> = public
        .iter()
        .filter(|(name, _)| fact(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    assert_part_of(&description, &opened);
}

#[test]
fn several_archives_are_told_one_by_one() {
    let sandbox = Sandbox::furnished();
    for name in ["1.age", "2.age"] {
        let save = sandbox.save();
        save.args(["--from", "-"]).arg(sandbox.backups().join(name)).input(snapshot(2)).succeed();
    }
    let paths = ["1.age", "missing.age", "2.age"].map(|name| sandbox.backups().join(name));
    for command in ["verify", "info"] {
        let ended = sandbox.open(command).arg("--json").args(&paths).run().ends_with(10);
        assert_eq!(ended.stderr, "");
        let told: Vec<_> = ended.text().split_inclusive('\n').map(object).collect();
        let oks: Vec<bool> = told.iter().map(|told| told["ok"].as_bool().unwrap()).collect();
        assert_eq!(oks, [true, false, true]);
        for (told, path) in told.iter().zip(&paths) {
            assert_eq!(told["path"], path.to_str().unwrap());
        }
    }
}

#[test]
fn what_is_unknown_is_left_out() {
    let sandbox = Sandbox::furnished();
    let save = sandbox.save().args(["--from", "-", "--json"]).arg(sandbox.backups());
    let told = object(save.input(snapshot(2)).succeed().text());
    assert_eq!(told["source"], "stdin");
    let unknown = "cluster_name cluster_id member_id etcd_version revision snapshot_started_at endpoint member_name \
                   tls conditions tags note status_after stream_open_ms storage_version";
    for unknown in unknown.split(' ') {
        assert!(!told.contains_key(unknown), "{unknown}");
    }
    let name = &sandbox.published()[0];
    assert!(name.starts_with("snapshot-") && name.contains("-r0."), "{name}");
}

/// Of a text for people, no more than one line that ends.
fn one_line(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line:?}");
    line
}

#[test]
fn results_are_where_they_belong() {
    let sandbox = Sandbox::furnished();
    let bytes = snapshot(500);
    let file = sandbox.path("snapshot.db");
    fs::write(&file, &bytes).unwrap();
    for quiet in [false, true] {
        let more = quiet.then_some("-q");
        let archive = sandbox.backups().join(format!("{quiet}.age"));
        let from = |destination: &Path| sandbox.save().args(more).arg("--from").arg(&file).arg(destination);
        let saved = from(&archive).succeed();
        let said = |line: &str, about: &str| {
            if quiet { assert_eq!(line, "") } else { assert!(one_line(line).starts_with(about), "{line}") }
        };
        // The result of save has more lines, which are set in.
        let said_of_save = |text: &str, about: &str, lines: usize| {
            let joined = text.replace("\n  ", " ");
            assert_eq!(text.lines().count(), if quiet { 0 } else { lines }, "{text}");
            said(&joined, about);
        };
        said_of_save(saved.text(), archive.to_str().unwrap(), 2);
        assert_eq!(saved.stderr, "", "no bar, no log before half a minute");
        let piped = from(Path::new("-")).succeed();
        // No sidecar has the digest.
        said_of_save(&piped.stderr, "-: ", 3);
        let sha256 = hex::encode(Sha256::digest(&piped.stdout));
        assert!(quiet || piped.stderr.ends_with(&format!("\n  sha256 {sha256}\n")), "{}", piped.stderr);
        let told = from(Path::new("-")).arg("--json").succeed();
        let sha256 = hex::encode(Sha256::digest(&told.stdout));
        assert_eq!(object(&told.stderr)["archive_sha256"], sha256);

        let verified = sandbox.open("verify").args(more).arg(&archive).succeed();
        assert_eq!(verified.stderr, "");
        said(verified.text(), archive.to_str().unwrap());
        // What was asked for is shown even so.
        let informed = sandbox.open("info").args(more).arg(&archive).succeed();
        assert_eq!(informed.stderr, "");
        assert!(informed.text().starts_with(archive.to_str().unwrap()) && informed.text().ends_with('\n'));
        let restored = sandbox.open("restore").args(more).arg(&archive).args(["-o", "-"]).succeed();
        assert_eq!(restored.stdout, bytes);
        said(&restored.stderr, "-: ");
        let key = sandbox.seal(["keygen"]).args(more).args(["-o", "-", "--json"]).succeed();
        assert_eq!(object(&key.stderr)["command"], "keygen");
        assert!(key.text().contains("\nAGE-SECRET-KEY-1"));
    }
    // Failures too, and as the last line where standard output is taken.
    let nowhere = ["--endpoints", &dead_address()].map(str::to_owned);
    for (destination, on_stdout) in [("../backups", true), ("-", false)] {
        let failed = sandbox.save().args(&nowhere).args([destination, "--json"]).run().ends_with(14);
        let told = if on_stdout { failed.text() } else { &failed.stderr };
        assert_eq!(object(told)["exit_code"], 14);
        let text = sandbox.save().args(&nowhere).arg(destination).run().ends_with(14);
        assert!(text.stdout.is_empty());
        let lines: Vec<_> =
            text.stderr.lines().map(|line| line.split_inclusive(": ").take(2).collect::<String>()).collect();
        assert_eq!(lines, ["etcd-seal: error: ", "etcd-seal: hint: "]);
    }
}

/// Runs `arguments` of the program at a terminal, with the snapshot coming from a pipe that waits for `seen`; returns
/// all the terminal saw.
fn at_a_terminal(sandbox: &Sandbox, arguments: &str, awaited: Option<&str>) -> (Outcome, String) {
    let (pipe, log) = (sandbox.path("tmp/pipe"), sandbox.path("tmp/log"));
    let _ = fs::remove_file(&log);
    if !pipe.exists() {
        harness::run(Command::new("mkfifo").arg(&pipe));
    }
    let line = format!("{} {arguments} <{}", etcd_seal(), pipe.display());
    let script = sandbox.program("script").args(["-qfec", &line]).arg(&log);
    let mut running = script.env("SHELL", "/bin/sh").env("TERM", "xterm").start_fed();
    let terminal = running.child.stdin.take();
    let bytes = snapshot(2000);
    let mut writer = fs::File::options().write(true).open(&pipe).unwrap();
    std::io::Write::write_all(&mut writer, &bytes[..bytes.len() - 1000]).unwrap();
    let seen = || fs::read(&log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default();
    if let Some(awaited) = awaited {
        await_that(awaited, || seen().contains(awaited));
    }
    std::io::Write::write_all(&mut writer, &bytes[bytes.len() - 1000..]).unwrap();
    drop(writer);
    await_that("it is over", || seen().contains("Script done"));
    drop(terminal);
    (running.wait(), seen())
}

#[test]
fn a_terminal_sees_a_bar_and_nothing_else_does() {
    needs!(can("script", &["--version"]));
    let sandbox = Sandbox::furnished();
    let save = format!("save -r {} --from -", sandbox.recipient);
    let (ended, seen) = at_a_terminal(&sandbox, &format!("{save} ../backups/1.age"), Some("sealing"));
    ended.ends_with(0);
    assert!(seen.contains('\u{1b}') && seen.contains("100%") && seen.contains("MiB"), "{seen:?}");
    let result = seen.lines().find(|line| line.contains(": verified")).unwrap();
    assert!(result.contains("../backups/1.age: "), "{result:?}");

    for quiet in [format!("{save} -q ../backups/2.age"), format!("{save} ../backups/3.age 2>../tmp/err")] {
        let (ended, seen) = at_a_terminal(&sandbox, &quiet, None);
        ended.ends_with(0);
        assert!(!seen.contains("\u{1b}[2K") && !seen.contains("sealing"), "{seen:?}");
    }
    assert_eq!(fs::read(sandbox.path("tmp/err")).unwrap(), b"");
}

#[test]
fn a_dry_run_asks_no_question_and_touches_nothing() {
    needs!(can("strace", &["--version"]));
    let sandbox = Sandbox::furnished();
    let file = sandbox.path("snapshot.db");
    fs::write(&file, snapshot(2)).unwrap();
    let archive = sandbox.path("x.age");
    sandbox.save().arg("--from").arg(&file).arg(&archive).succeed();
    let before = sandbox.files();
    let live = dead_address();
    let (save, restore) = (sandbox.save(), sandbox.open("restore").arg(&archive));
    let (save, restore) = (|| save.clone(), || restore.clone());
    let commands = [
        save().args(["--endpoints", &live, "--user", "root"]).arg(sandbox.backups()),
        save().arg("--from").arg(&file).arg(sandbox.backups().join("y.age")),
        save().args(["--endpoints", &live, "-"]),
        sandbox.seal(["save", "-p", "--endpoints", &live]).arg(sandbox.backups()),
        restore().arg("-o").arg(sandbox.path("y.db")),
        restore().args(["-o", "-"]),
        restore().args(["--data-dir", "../member", "--replace"]),
        restore().args(["--output-dir", "../members", "--cluster-plan", PLAN]),
    ];
    for command in commands {
        let told = format!("{command:?}");
        let (ended, calls) = traced(command.arg("-n"));
        let ended = ended.ends_with(0);
        // A password that TLS would not protect is warned of; of members a second line tells what they would be made from.
        let (warnings, plan): (Vec<String>, Vec<String>) = ended
            .said()
            .lines()
            .map(str::to_owned)
            .partition(|line| line.starts_with("etcd-seal: warning: the password goes to"));
        let planned = plan[0].starts_with("would ") && plan[1..].iter().all(|line| line.starts_with("from "));
        assert!(warnings.len() <= 1 && plan.len() <= 2 && planned, "{warnings:?} {plan:?}");
        assert_eq!(written_paths(&calls), [].into(), "{told}");
        assert!(!calls.iter().any(|call| call.name == "connect"), "{told}");
        assert_eq!(sandbox.files(), before);
    }
    // What would be refused is refused.
    sandbox.save().arg("-n").arg("--from").arg(&file).arg(&archive).run().ends_with(2);
    sandbox.save().arg("-n").arg(sandbox.path("nowhere/x.age")).run().ends_with(2);
    sandbox.seal(["save"]).arg("-n").arg(sandbox.backups()).run().ends_with(2);
}
