//! Whom an archive is for, through the program: every kind of recipient, passphrases on a real terminal, and archives
//! that others made. Stock age judges in both directions, in every version there is.

use harness::contents::{Access, Client, etcdctl};
use harness::program::{Program, tools};
use harness::pty::Dialogue;
use harness::sandbox::Sandbox;
use harness::{Etcd, Options, etcds};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const PASSPHRASE: &str = "correct horse battery staple";

/// The recipient that age-plugin-tagtest opens: age encrypts to it without the plugin.
const TAG_RECIPIENT: &str = "age1tag1qwe0kafsjrar4txm6heqnhpfuggzr0gvznz7fvygxrlq90u5mq2pysxtw6h";

/// A snapshot of a real etcd, the same for all tests; `None` where there is no etcd.
fn snapshot() -> Option<&'static [u8]> {
    static SNAPSHOT: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let taken = SNAPSHOT.get_or_init(|| {
        let sandbox = Sandbox::new();
        let member = Etcd::start(etcds().first()?, &Options::default());
        let access = Access::new::<&str>(&member.address(), &[]);
        Client::new(&sandbox, &member, access.clone()).load();
        etcdctl(&sandbox, &member).args(&access.flags).args(["snapshot", "save", "snapshot.db"]).succeed();
        Some(fs::read(sandbox.path("snapshot.db")).unwrap())
    });
    taken.as_deref()
}

/// A sandbox with the snapshot in it as `snapshot.db`.
fn with_snapshot() -> Option<(Sandbox, &'static [u8])> {
    let snapshot = snapshot()?;
    let sandbox = Sandbox::new();
    sandbox.write("snapshot.db", snapshot);
    Some((sandbox, snapshot))
}

/// `save ARCHIVE --from snapshot.db`.
fn sealing(sandbox: &Sandbox, archive: &str) -> Program {
    sandbox.seal(["save", archive, "--from", "snapshot.db", "--json"])
}

/// `restore ARCHIVE -o -`.
fn restoring(sandbox: &Sandbox, archive: &str) -> Program {
    sandbox.seal(["restore", archive, "-o", "-"])
}

/// What zstd makes of a stream.
fn unpacked(sandbox: &Sandbox, stream: Vec<u8>) -> Vec<u8> {
    sandbox.program("zstd").arg("-d").input(stream).succeed().stdout
}

/// What this age and zstd make of an archive.
fn by_stock_tools(sandbox: &Sandbox, age: &Path, identity: &str, archive: &str) -> Vec<u8> {
    unpacked(sandbox, sandbox.program(age).args(["-d", "-i", identity, archive]).succeed().stdout)
}

/// age-keygen's key in `name`; returns its recipient.
fn age_key(sandbox: &Sandbox, name: &str) -> String {
    sandbox.program("age-keygen").args(["-o", name]).succeed();
    sandbox.program("age-keygen").args(["-y", name]).succeed().text().trim_end().to_owned()
}

/// An ssh key in `name`; returns its public half without the comment.
fn ssh_key(sandbox: &Sandbox, name: &str, kind: &str, passphrase: &str) -> String {
    let words = ["-q", "-C", "operator@example", "-t", kind, "-N", passphrase, "-f", name];
    sandbox.program("ssh-keygen").args(words).succeed();
    let public = fs::read_to_string(sandbox.path(format!("{name}.pub"))).unwrap();
    public.rsplit_once(' ').unwrap().0.to_owned()
}

/// A plugin with both halves, as small as can be: the file key stands in its stanza as it is. No real plugin that can
/// be mixed with other recipients has recipients that are the plugin's own.
const BARE_PLUGIN: &str = r#"#!/bin/bash
read_body() { body=; while read -r line; do body+=$line; [ ${#line} -lt 64 ] && break; done; }
answer() { printf '%s\n' "$@"; read -r reply; read_body; }
keys=() stanzas=()
while read -r arrow command index rest; do
    read_body
    case $command in
        wrap-file-key) keys+=("$body") ;;
        recipient-stanza) [ "${rest%% *}" = bare ] && stanzas+=("$index $body") ;;
        done) break ;;
    esac
done
for index in "${!keys[@]}"; do answer "-> recipient-stanza $index bare" "${keys[index]}"; done
for stanza in "${stanzas[@]}"; do answer "-> file-key ${stanza% *}" "${stanza#* }"; done
printf '%s\n' '-> done' ''
"#;

/// Puts the plugin `bare` into the directory `plugins`; returns its recipient. Its identity is in `bare.txt`.
fn bare_plugin(sandbox: &Sandbox) -> String {
    sandbox.make_directory("plugins");
    let plugin = sandbox.write("plugins/age-plugin-bare", BARE_PLUGIN);
    fs::set_permissions(plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let identity = age::plugin::Identity::default_for_plugin("bare").unwrap().to_string();
    sandbox.write("bare.txt", identity);
    // Without data, as the identity has none.
    "age1bare147syx8".to_owned()
}

/// Where plugins are: ours in the sandbox, and the real ones.
fn plugin_directories(sandbox: &Sandbox) -> Vec<PathBuf> {
    let real = tools("age-plugin-tagtest").first().map(|plugin| plugin.parent().unwrap().to_owned());
    [sandbox.path("plugins")].into_iter().chain(real).collect()
}

#[test]
fn each_of_six_recipients_alone_opens_one_archive() {
    let Some((sandbox, snapshot)) = with_snapshot() else { return };
    let plugin = bare_plugin(&sandbox);
    let recipients = [
        age_key(&sandbox, "first.txt"),
        age_key(&sandbox, "second.txt"),
        ssh_key(&sandbox, "ed25519", "ed25519", ""),
        ssh_key(&sandbox, "rsa", "rsa", ""),
        plugin,
        TAG_RECIPIENT.to_owned(),
    ];
    let directories = plugin_directories(&sandbox);
    let sealing = recipients
        .iter()
        .fold(sealing(&sandbox, "all.age"), |program, recipient| program.arg("-r").arg(recipient));
    let report = sealing.find_first_in(&directories).succeed().object();
    assert_eq!(report["recipients"].as_array().unwrap().len(), recipients.len());

    let mut identities = vec!["first.txt", "second.txt", "ed25519", "rsa", "bare.txt"];
    if directories.len() > 1 {
        let identity = age::plugin::Identity::default_for_plugin("tagtest").unwrap().to_string();
        sandbox.write("tagtest.txt", identity);
        identities.push("tagtest.txt");
    }
    for identity in identities {
        let alone = |program: Program| program.args(["-i", identity]).find_first_in(&directories).succeed();
        assert!(alone(restoring(&sandbox, "all.age")).stdout == snapshot, "{identity}");
        alone(sandbox.seal(["verify", "all.age"]));
        alone(sandbox.seal(["info", "all.age"]));
        for age in tools("age") {
            let opening = sandbox.program(&age).args(["-d", "-i", identity, "all.age"]);
            let stream = opening.find_first_in(&directories).succeed().stdout;
            assert!(unpacked(&sandbox, stream) == snapshot, "{identity} {}", age.display());
        }
    }
    what_is_public(&sandbox, &recipients);
}

/// A machine without any key learns whose archive it is, and no more.
fn what_is_public(sandbox: &Sandbox, recipients: &[String]) {
    let info = sandbox.seal(["info", "all.age", "--json"]).succeed();
    let seen = info.object();
    assert_eq!(seen["authenticated"], false);
    assert_eq!(seen["source"], "file");
    let stanzas: Vec<_> = seen["stanzas"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    let mut sorted = stanzas.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["X25519", "X25519", "bare", "p256tag", "ssh-ed25519", "ssh-rsa"]);
    for inside in ["host", "recipients", "database_sha256"] {
        assert_eq!(seen.get(inside), None, "{seen}");
    }
    for recipient in recipients {
        assert!(!info.text().contains(recipient.as_str()));
    }
    sandbox.seal(["verify", "all.age"]).succeed();
}

#[test]
fn a_post_quantum_archive_is_for_its_kind_alone() {
    let Some((sandbox, snapshot)) = with_snapshot() else { return };
    let Some(plugin) = tools("age-plugin-pq").pop() else { return };
    let plugins = plugin.parent().unwrap();
    let keygen = || sandbox.program(plugins.join("age-keygen"));
    keygen().args(["-pq", "-o", "native.txt"]).succeed();
    let recipient = keygen().args(["-y", "native.txt"]).succeed().text().trim_end().to_owned();
    let converted = sandbox.program(&plugin).args(["-identity", "native.txt"]).succeed();
    sandbox.write("plugin.txt", converted.stdout);
    sealing(&sandbox, "pq.age").args(["-r", &recipient]).find_first_in([plugins]).succeed();
    let restored =
        restoring(&sandbox, "pq.age").args(["-i", "plugin.txt"]).find_first_in([plugins]).succeed();
    assert!(restored.stdout == snapshot);
    assert!(by_stock_tools(&sandbox, &plugins.join("age"), "native.txt", "pq.age") == snapshot);
    let seen = sandbox.seal(["info", "--json", "pq.age"]).succeed().object();
    assert_eq!(
        (seen["stanzas"].to_string().as_str(), &seen["source"]),
        ("[\"mlkem768x25519\"]", &"file".into())
    );
    let mixed = sealing(&sandbox, "mixed.age").args(["-r", &recipient, "-r", &age_key(&sandbox, "key.txt")]);
    let refused = mixed.find_first_in([plugins]).run().ends_with(2).object();
    assert!(refused["hint"].as_str().unwrap().contains("post-quantum"), "{refused}");
    assert!(!sandbox.path("mixed.age").exists());
}

#[test]
fn wrong_keys_open_nothing() {
    let Some((sandbox, snapshot)) = with_snapshot() else { return };
    let own = age_key(&sandbox, "own.txt");
    age_key(&sandbox, "stranger.txt");
    ssh_key(&sandbox, "ed25519", "ed25519", "");
    ssh_key(&sandbox, "locked", "ed25519", PASSPHRASE);
    let passphrase = sandbox.write("passphrase", "wrong");
    sealing(&sandbox, "x.age").args(["-r", &own]).succeed();
    for wrong in
        [&["-i", "stranger.txt"][..], &["-i", "ed25519", "-i", "stranger.txt"], &["-i", "locked"], &["-p"]]
    {
        for command in [&["restore", "x.age", "-o", "out.db"][..], &["verify", "x.age"], &["info", "x.age"]] {
            let opening = sandbox.seal(command).args(wrong).env("ETCD_SEAL_PASSPHRASE_FILE", &passphrase);
            let refused = opening.fails_with(12, "etcd-seal: hint: ");
            assert!(refused.stdout.is_empty(), "{refused:?}");
        }
    }
    assert!(!sandbox.path("out.db").exists());
    // The right one among wrong ones does, wherever it stands.
    for order in [["own.txt", "ed25519", "stranger.txt"], ["locked", "stranger.txt", "own.txt"]] {
        let identities = order.into_iter().flat_map(|identity| ["-i", identity]);
        assert!(restoring(&sandbox, "x.age").args(identities).succeed().stdout == snapshot);
    }
}

#[test]
fn recipients_and_identities_come_from_everywhere_they_may() {
    let Some((sandbox, snapshot)) = with_snapshot() else { return };
    let first = age_key(&sandbox, "first.txt");
    let second = age_key(&sandbox, "second.txt");
    let ssh = ssh_key(&sandbox, "ssh", "ed25519", "");
    let list = format!("# both of them\n\n{first}\r\n  {second}\n{ssh} another@host\n{first}\n");
    let recorded = |program: Program| {
        let told = program.succeed().object()["recipients"].as_array().unwrap().len();
        sandbox.seal(["info", "--json", "x.age", "-i", "first.txt"]).succeed();
        told
    };
    let sealing = || sealing(&sandbox, "x.age").arg("--force");
    sandbox.write("list", &list);
    assert_eq!(recorded(sealing().args(["-R", "list"])), 3);
    assert_eq!(recorded(sealing().args(["-R", "-"]).input(list.as_bytes())), 3);
    assert_eq!(recorded(sealing().args(["-R", "list", "-R", "ssh.pub", "-r", &ssh, "-r", &second])), 3);
    let variables = |program: Program| {
        program.env("ETCD_SEAL_RECIPIENTS", format!("{first},{ssh}")).env("ETCD_SEAL_RECIPIENTS_FILE", "list")
    };
    assert_eq!(recorded(variables(sealing())), 3);
    // One flag replaces all of the environment.
    let report = variables(sealing().args(["-r", &first])).succeed().object();
    assert_eq!(report["recipients"], serde_json::json!([first]));
    restoring(&sandbox, "x.age").args(["-i", "ssh"]).run().ends_with(12);
    let said =
        variables(sandbox.seal(["save", "y.age", "--from", "snapshot.db", "-r", &first, "-r", &first]));
    assert!(said.succeed().text().contains(", 1 recipient,"));

    let key = fs::read(sandbox.path("first.txt")).unwrap();
    assert!(restoring(&sandbox, "x.age").args(["-i", "-"]).input(key).succeed().stdout == snapshot);
    let by_variable = restoring(&sandbox, "x.age").env("ETCD_SEAL_IDENTITY", "first.txt");
    assert!(by_variable.succeed().stdout == snapshot);
    let replaced =
        restoring(&sandbox, "x.age").env("ETCD_SEAL_IDENTITY", "first.txt").args(["-i", "second.txt"]);
    replaced.run().ends_with(12);
    // Two identities in one file are two.
    let both = ["second.txt", "first.txt"].map(|name| fs::read_to_string(sandbox.path(name)).unwrap());
    sandbox.write("both.txt", both.concat());
    assert!(restoring(&sandbox, "x.age").args(["-i", "both.txt"]).succeed().stdout == snapshot);
}

#[test]
fn a_passphrase_is_age_s_in_both_directions() {
    let Some((sandbox, snapshot)) = with_snapshot() else { return };
    let ours = |program: Program| program.arg("-p").env("ETCD_SEAL_PASSPHRASE_FILE", "passphrase");
    sandbox.write("passphrase", format!("{PASSPHRASE}\n"));
    let report = ours(sealing(&sandbox, "ours.age")).succeed().object();
    assert_eq!(report["recipients"], serde_json::json!(["passphrase"]));
    assert!(ours(restoring(&sandbox, "ours.age")).succeed().stdout == snapshot);
    let seen = sandbox.seal(["info", "--json", "ours.age"]).succeed().object();
    assert_eq!((seen["stanzas"].to_string().as_str(), seen.get("source")), ("[\"scrypt\"]", None));
    let opened = ours(sandbox.seal(["info", "--json", "ours.age"])).succeed().object();
    assert_eq!((&opened["opened"], &opened["source"]), (&true.into(), &"file".into()));
    sandbox.program("zstd").args(["-q", "snapshot.db", "-o", "snapshot.zst"]).succeed();
    for age in tools("age") {
        let mut opening = Dialogue::begin(&sandbox.program(&age).args(["-d", "ours.age"]));
        opening.answer("passphrase", PASSPHRASE);
        let (code, stream, screen) = opening.end();
        assert_eq!(code, 0, "{screen}");
        assert!(unpacked(&sandbox, stream) == snapshot);

        let mut theirs =
            Dialogue::begin(&sandbox.program(&age).args(["-p", "-o", "theirs.age", "snapshot.zst"]));
        theirs.answer("passphrase", PASSPHRASE);
        theirs.answer("onfirm", PASSPHRASE);
        assert_eq!(theirs.end().0, 0);
        assert!(ours(restoring(&sandbox, "theirs.age")).succeed().stdout == snapshot);
        // A reader without the passphrase has no key; a reader with only keys has none either.
        let _ = sandbox.seal(["keygen", "-o", "key.txt"]).run();
        for archive in ["ours.age", "theirs.age"] {
            restoring(&sandbox, archive).args(["-i", "key.txt"]).fails_with(12, "passphrase");
        }
        fs::remove_file(sandbox.path("theirs.age")).unwrap();
    }
}

#[test]
fn a_new_passphrase_is_asked_for_twice_without_echo() {
    let Some((sandbox, snapshot)) = with_snapshot() else { return };
    let mut sealing_twice = Dialogue::begin(&sealing(&sandbox, "x.age").arg("-p"));
    sealing_twice.answer("passphrase for the archive: ", PASSPHRASE);
    sealing_twice.answer("the same again: ", PASSPHRASE);
    let (code, stdout, screen) = sealing_twice.end();
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains(PASSPHRASE) && !String::from_utf8_lossy(&stdout).contains(PASSPHRASE));
    let mut opening = Dialogue::begin(&restoring(&sandbox, "x.age").arg("-p"));
    opening.answer("passphrase of the archive: ", PASSPHRASE);
    let (code, stdout, screen) = opening.end();
    assert_eq!(code, 0, "{screen}");
    assert!(stdout == snapshot && !screen.contains(PASSPHRASE));

    for (second, complaint) in [("correct horse", "the two passphrases differ"), ("", "nothing was entered")]
    {
        let mut slipping = Dialogue::begin(&sandbox.seal(["save", "y.age", "--from", "snapshot.db", "-p"]));
        slipping.answer("passphrase for the archive: ", PASSPHRASE);
        slipping.answer("the same again: ", second);
        let (code, _, screen) = slipping.end();
        assert_eq!(code, 2, "{screen}");
        assert!(screen.contains(complaint), "{screen}");
        assert!(!sandbox.path("y.age").exists());
    }
    // An unattended run is told apart from a wrong answer.
    sealing(&sandbox, "y.age").arg("-p").run().ends_with(2);
    let unattended = sandbox.seal(["restore", "x.age", "-o", "-", "-p"]).run();
    unattended.ends_with(2).says("ETCD_SEAL_PASSPHRASE_FILE");
    sandbox.write("wrong", "wrong");
    let wrong = restoring(&sandbox, "x.age").arg("-p").env("ETCD_SEAL_PASSPHRASE_FILE", "wrong");
    wrong.run().ends_with(12);
}

/// Runs `program`, which asks for [`PASSPHRASE`] once.
fn unlocking(program: &Program, question: &str) -> Vec<u8> {
    let mut dialogue = Dialogue::begin(program);
    dialogue.answer(question, PASSPHRASE);
    let (code, stdout, screen) = dialogue.end();
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains(PASSPHRASE), "{screen}");
    stdout
}

#[test]
fn locked_identities_are_unlocked_at_the_terminal_or_from_the_file() {
    let Some((sandbox, snapshot)) = with_snapshot() else { return };
    let mut recipients = vec![
        ssh_key(&sandbox, "ed25519", "ed25519", PASSPHRASE),
        ssh_key(&sandbox, "rsa", "rsa", PASSPHRASE),
    ];
    let mut identities = vec!["ed25519".to_owned(), "rsa".to_owned()];
    for (number, age) in tools("age").iter().enumerate() {
        let (open, locked) = (format!("{number}.txt"), format!("{number}.txt.age"));
        recipients.push(age_key(&sandbox, &open));
        let armor = if number == 0 { "-pa" } else { "-p" };
        let flags = if armor == "-pa" { vec!["-p", "-a"] } else { vec!["-p"] };
        let mut locking = Dialogue::begin(&sandbox.program(age).args(flags).args(["-o", &locked, &open]));
        locking.answer("passphrase", PASSPHRASE);
        locking.answer("onfirm", PASSPHRASE);
        assert_eq!(locking.end().0, 0);
        fs::remove_file(sandbox.path(open)).unwrap();
        identities.push(locked);
    }
    let sealing = recipients
        .iter()
        .fold(sealing(&sandbox, "x.age"), |program, recipient| program.args(["-r", recipient]));
    sealing.succeed();
    sandbox.write("passphrase", PASSPHRASE);
    for identity in &identities {
        let opening = || restoring(&sandbox, "x.age").args(["-i", identity]);
        assert!(unlocking(&opening(), identity) == snapshot, "{identity}");
        let from_file = opening().env("ETCD_SEAL_PASSPHRASE_FILE", "passphrase").succeed();
        assert!(from_file.stdout == snapshot, "{identity}");
        opening().fails_with(2, "ETCD_SEAL_PASSPHRASE_FILE");
        let stock = sandbox.program("age").args(["-d", "-i", identity, "x.age"]);
        assert!(unpacked(&sandbox, unlocking(&stock, "passphrase")) == snapshot);
        let mut wrong = Dialogue::begin(&opening());
        wrong.answer(identity, "wrong");
        let (code, stdout, screen) = wrong.end();
        assert_eq!((code, stdout.len()), (12, 0), "{screen}");
    }
}

#[test]
fn archives_of_others_open_and_say_what_they_lack() {
    let Some((sandbox, snapshot)) = with_snapshot() else { return };
    let recipient = age_key(&sandbox, "key.txt");
    sandbox.program("zstd").args(["-q", "snapshot.db", "-o", "packed"]).succeed();
    let database = sandbox.write("database.db", &snapshot[..snapshot.len() - 32]);
    for age in tools("age") {
        for (armor, content, zstd) in [
            (None, "packed", true),
            (Some("-a"), "packed", true),
            (None, "snapshot.db", false),
            (Some("-a"), "snapshot.db", false),
        ] {
            let archive = "foreign.age";
            let words = ["-r", &recipient, "-o", archive, content];
            sandbox.program(&age).args(armor).args(words).succeed();
            let seal = |words: &[&str]| sandbox.seal(words).args(["-i", "key.txt", "--json"]).succeed();
            for report in [
                seal(&["verify", archive]).object(),
                seal(&["restore", archive, "-o", "out.db", "--force"]).object(),
            ] {
                assert_eq!(report["foreign"]["zstd"], zstd, "{report}");
                assert_eq!(report["foreign"]["armored"], armor.is_some(), "{report}");
                let lacks = report["foreign"]["lacks"].to_string();
                assert!(lacks.contains("a manifest"), "{report}");
                assert_eq!(lacks.contains("a seek table"), zstd, "{report}");
                assert_eq!(lacks.contains("compression"), !zstd, "{report}");
                assert_eq!((&report["digest"], report.get("revision")), (&"verified".into(), None));
            }
            assert!(fs::read(sandbox.path("out.db")).unwrap() == snapshot);
            let told = sandbox.seal(["verify", archive, "-i", "key.txt"]).succeed();
            assert!(told.text().contains("not made by etcd-seal: it lacks a manifest"), "{}", told.text());
            let seen = sandbox.seal(["info", archive, "--json"]).succeed().object();
            assert_eq!((&seen["authenticated"], seen.get("foreign")), (&false.into(), None));
            // A file is looked at from both ends, a pipe is read as a whole.
            let piped = sandbox.seal(["info", "-", "--json", "-i", "key.txt"]);
            let piped = piped.input(fs::read(sandbox.path(archive)).unwrap()).succeed().object();
            assert_eq!(piped["digest"], "verified");
            for info in [seal(&["info", archive]).object(), piped] {
                assert_eq!((&info["opened"], &info["foreign"]["zstd"]), (&true.into(), &zstd.into()));
                for same in ["armored", "archive_size", "header_size", "payload_size"] {
                    assert_eq!(info[same], seen[same], "{info} {seen}");
                }
            }
            let info = sandbox.seal(["info", archive, "-i", "key.txt"]).succeed();
            assert!(info.text().contains("lacks                a manifest"), "{}", info.text());
            sandbox.seal(["verify", archive]).run().ends_with(3);
        }
        // Without etcd's digest it is not proved to be what etcd wrote.
        let words = ["-r", &recipient, "-o", "bare.age", database.to_str().unwrap()];
        sandbox.program(&age).args(words).succeed();
        sandbox.seal(["verify", "bare.age", "-i", "key.txt"]).run().ends_with(13);
        let allowed = sandbox.seal(["verify", "bare.age", "-i", "key.txt", "--allow-missing-digest"]).run();
        allowed.ends_with(3);
    }
}
