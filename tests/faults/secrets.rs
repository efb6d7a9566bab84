//! Secrets and those who would like them: what a plugin gets to see, what is said, where a planted link leads, and what text
//! from elsewhere does to a terminal.

use harness::fake::{Fake, Script, Step};
use harness::needs;
use harness::program::{Outcome, Program};
use harness::sandbox::Sandbox;
use harness::skip;
use harness::snapshots::snapshot;
use harness::trace::{Call, traced};
use harness::trial::{BOTH, Publishing, Trial, is_temporary};
use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

const PASSWORD: &str = "hunter2-password-91ab";
const PASSPHRASE: &str = "hunter2-passphrase-7c5d";

/// A recipient and an identity of a plugin that is not installed anywhere, with valid checksums.
const RECIPIENT: &str = "age1asking18hqs4j";
const IDENTITY: &str = "AGE-PLUGIN-ASKING-1R23CLXD5MZFSH79VN6PG0KAYTJEQ8W4QLP89XU";

/// Pages of the snapshot.
const PAGES: usize = 100;

/// Installs a plugin that notes all that it is told and all that it can see, and then fails.
fn install_plugin(sandbox: &Sandbox) -> PathBuf {
    let plugins = sandbox.make_directory("plugins");
    // Its standard output stays open, so that it is waited for.
    let noting = "#!/bin/sh\n\
        exec 3>&1 >>SEEN 2>&1\n\
        echo \"words: $0 $*\"; env; ls -l /proc/$$/fd\n\
        tr '\\0' '\\n' </proc/$PPID/cmdline; tr '\\0' '\\n' </proc/$PPID/environ\n\
        while read -r line; do echo \"$line\"; [ \"$line\" = '-> done' ] && break; done\n\
        exit 1\n";
    let noting = noting.replace("SEEN", sandbox.path("seen").to_str().unwrap());
    sandbox.write_script("plugins/age-plugin-asking", noting);
    plugins
}

/// What a plugin that was run by `command` saw, and how the command ended.
fn seen_by_plugin(sandbox: &Sandbox, plugins: &PathBuf, command: Program) -> (String, Outcome) {
    let command = command.find_first_in([plugins]).env("ETCDCTL_PASSWORD", PASSWORD);
    let command = command.env("ETCDCTL_USER", format!("root:{PASSWORD}")).env("AGEDEBUG", "plugin");
    let ended = command.env("ETCDCTL_ENDPOINTS", "127.0.0.1:1").input(snapshot(3)).run();
    let seen = fs::read_to_string(sandbox.path("seen")).unwrap();
    fs::remove_file(sandbox.path("seen")).unwrap();
    (seen, ended)
}

/// A plugin is another program: it learns on its standard input what it needs, and nothing else, neither of its own command
/// line and environment nor of ours.
#[test]
fn a_plugin_sees_no_password() {
    let sandbox = Sandbox::furnished();
    let plugins = install_plugin(&sandbox);
    let archive = sandbox.path("x.age");
    sandbox.save().args(["--from", "-"]).arg(&archive).input(snapshot(3)).succeed();
    let identity = sandbox.write("plugin.txt", format!("{IDENTITY}\n"));

    let save = sandbox.seal(["save", "-r", RECIPIENT, "--from", "-", "-v"]).arg(sandbox.backups());
    let verify = sandbox.seal(["verify", "-v", "-i"]).arg(&identity).arg(&archive);
    for (command, state_machine) in [(save, "recipient-v1"), (verify, "identity-v1")] {
        let (seen, ended) = seen_by_plugin(&sandbox, &plugins, command);
        assert_ne!(ended.code, 0);
        let plugin = plugins.join("age-plugin-asking");
        let words = format!("words: {} --age-plugin={state_machine}\n", plugin.display());
        assert!(seen.starts_with(&words), "{seen}");
        assert!(seen.contains("ETCDCTL_ENDPOINTS=") && seen.contains("PATH="), "{seen}");
        assert!(!seen.contains(PASSWORD) && !seen.contains("AGEDEBUG"), "{seen}");
        assert!(!ended.said().contains(PASSWORD), "{}", ended.stderr);
        // What it is told on its standard input, its own identity and the file key, is told to no other process.
        // Short words say nothing: the client sends stanzas of random names and arguments ("grease"), some of one letter.
        let told = seen.lines().skip_while(|line| !line.starts_with("-> ")).flat_map(|line| line.split(' '));
        let secrets: Vec<&str> = told.filter(|word| word.len() > 20).collect();
        assert!(!secrets.is_empty(), "{seen}");
        for secret in secrets {
            assert!(!ended.stderr.contains(secret), "{secret} in {}", ended.stderr);
        }
    }
    assert!(sandbox.published().is_empty());
}

/// Where the program may not execute itself again, it says that the password stays visible and does its work.
#[test]
fn a_password_that_cannot_be_taken_away_is_warned_of() {
    let sandbox = Sandbox::furnished();
    // More than a pipe holds.
    let long = "x".repeat(100_000);
    let save = sandbox.save().env("ETCDCTL_PASSWORD", &long).args(["--from", "-"]).arg(sandbox.backups());
    let save = save.input(snapshot(3));
    save.clone().succeed().says("warning: age plugins can read");
    save.env("AGEDEBUG", "plugin").fails_with(2, "hint: unset AGEDEBUG");
    let _ = sandbox.archive();
}

/// What the program is told through the environment arrives, though the environment no longer has it: etcdctl's rules for
/// what belongs together are the best witness.
#[test]
fn a_password_that_was_taken_away_is_used() {
    let sandbox = Sandbox::furnished();
    let dead = harness::dead_address();
    let save = sandbox.save().args(["--endpoints", &dead, "-n"]).arg(sandbox.backups());
    let with_password = save.clone().env("ETCDCTL_PASSWORD", PASSWORD);
    with_password.clone().succeed().says("a password without a user is ignored");
    let user = OsStr::from_bytes(b"root:\xff");
    with_password.env("ETCDCTL_USER", user).fails_with(2, "ETCDCTL_USER is not UTF-8");
    // Another process's secrets are not taken for one's own.
    assert!(!save.env("ETCD_SEAL_HANDED_OVER", "1:0").succeed().stderr.contains("password"));
}

/// Private keys of every kind in the place of anything else: whatever is said of them does not repeat them.
#[test]
fn private_keys_in_the_wrong_place_are_not_repeated() {
    let sandbox = Sandbox::furnished();
    let post_quantum = format!("AGE-SECRET-KEY-PQ-1{}", "QPZRY9X8".repeat(12));
    let archive = sandbox.path("x.age");
    sandbox.save().args(["--from", "-"]).arg(&archive).input(snapshot(3)).succeed();
    let archive = archive.to_str().unwrap();
    let own_file = sandbox.identity();
    let own = fs::read_to_string(&own_file).unwrap();
    let own = own.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    for key in [post_quantum.as_str(), IDENTITY, own] {
        let (lower, secret) = (key.to_lowercase(), &key[key.len() - 20..]);
        let recipient = sandbox.recipient.as_str();
        let file = sandbox.path("one.txt");
        fs::write(&file, format!("x{key}\n")).unwrap();
        let file = file.to_str().unwrap();
        for key in [key, &lower] {
            let cases: &[&[&str]] = &[
                &["save", ".", "-r", key],
                &["save", ".", "-R", key],
                &["save", ".", "-R", file],
                &["save", ".", "-r", recipient, "-R", own_file.to_str().unwrap()],
                &["save", key, "-r", recipient],
                &["save", ".", "-r", recipient, key],
                &["save", "-r", recipient, "--from", archive, key],
                &["save", ".", "-r", recipient, "--from", key],
                &["save", ".", "-r", recipient, "--cacert", key],
                &["save", ".", "-r", recipient, "--endpoints", key],
                &["verify", key],
                &["verify", archive, "-i", key],
                &["verify", archive, "-i", file],
                &["info", key, "-i", key],
                &["info", archive, key],
                &["restore", archive, "-i", key, "-o", "x"],
                &["restore", archive, "-o", "x", key],
                &["restore", key, "-i", file, "-o", "x"],
                &["restore", archive, "-i", file, "-o", key, "--frobnicate", key],
                &["keygen", key],
                &["keygen", "-o", "x", key],
                &[key],
            ];
            for words in cases {
                for more in [&["-v"][..], &["--json"], &["-v", "--json"], &["-q"], &[]] {
                    let command = sandbox.seal(*words).args(more).env("RUST_LOG", "trace");
                    let ended = command.env("RUST_BACKTRACE", "full").run();
                    assert!((1..100).contains(&ended.code), "{words:?}: {}", ended.code);
                    let told = ended.said().to_uppercase();
                    assert!(!told.contains(secret), "{words:?} {more:?}: {told}");
                }
            }
            for variable in ["ETCD_SEAL_RECIPIENTS", "ETCD_SEAL_RECIPIENTS_FILE", "ETCD_SEAL_IDENTITY"] {
                let command = if variable.ends_with("IDENTITY") { "verify" } else { "save" };
                let command = sandbox.seal([command, archive, "-v"]).env(variable, key);
                let told = command.run().ends_with(2).said().to_uppercase();
                assert!(!told.contains(secret), "{variable}: {told}");
            }
        }
    }
}

/// What it takes to colour, move, ring, reorder and forge.
const TRICKS: &str = "\u{1b}[31mA\u{9b}2JB\u{202e}C\u{2066}D\u{7}E\rF\nFORGED\u{200b}";

/// Nothing but what may be shown, and no line that another program began.
fn assert_tame(ended: &Outcome, what: &str) {
    let told = ended.said();
    let tricky = |character: &char| {
        character.is_control() && *character != '\n'
            || ('\u{200b}'..='\u{200f}').contains(character)
            || ('\u{202a}'..='\u{202e}').contains(character)
            || ('\u{2066}'..='\u{2069}').contains(character)
    };
    assert_eq!(told.chars().find(tricky), None, "{what}: {told:?}");
    assert!(!told.lines().any(|line| line.starts_with("FORGED")), "{what}: {told}");
}

#[test]
fn text_from_elsewhere_is_tame() {
    let sandbox = Sandbox::furnished();
    let (work, recipient) = (sandbox.path("work"), sandbox.recipient.clone());
    fs::write(sandbox.path("snapshot.db"), snapshot(3)).unwrap();
    let named = work.join(format!("{TRICKS}.age"));
    let named = named.to_str().unwrap();
    let told_by = |words: &[&str], code: Option<i32>| {
        for more in [&[][..], &["-v"], &["--json"]] {
            let ended = sandbox.seal(words).args(more).run();
            assert_tame(&ended, &format!("{words:?} {more:?}"));
            assert!(code.is_none_or(|code| code == ended.code), "{words:?}: {} {}", ended.code, ended.stderr);
            if more == ["--json"] {
                let _: serde_json::Value =
                    serde_json::from_str(ended.text().lines().next().unwrap()).unwrap();
            }
        }
    };
    let key = sandbox.identity();
    let key = key.to_str().unwrap();

    // In an archive: its file's name, the cluster, a tag, a note; all of it shown by each command.
    let from = ["save", named, "-r", &recipient, "--from", "../snapshot.db", "--force"];
    let described = ["--cluster-name", TRICKS, "--tag", TRICKS, "--note", TRICKS];
    told_by(&[&from[..], &described].concat(), Some(0));
    told_by(&[&from[..], &described, &["-n"]].concat(), Some(0));
    for words in [
        &["info", named][..],
        &["info", named, "-i", key],
        &["verify", named],
        &["verify", named, "-i", key],
        &["restore", named, "-i", key, "-o", named, "--force", "-n"],
    ] {
        told_by(words, Some(0));
    }
    let shown = sandbox.seal(["info", named, "-i", key]).succeed();
    for what in ["cluster name", "tag", "note"] {
        let line = shown.text().lines().find(|line| line.trim_start().starts_with(what)).unwrap();
        assert!(line.ends_with("\\nFORGED\\u{200b}"), "{line}");
    }
    let restored = format!("{named}.db");
    told_by(&["restore", named, "-i", key, "-o", &restored, "--force"], Some(0));
    // An automatic name is made of the cluster's.
    told_by(&[&["save", ".", "-r", &recipient, "--from", "../snapshot.db"], &described[..]].concat(), None);

    // Damaged, missing, misused: in the messages of all that can go wrong.
    fs::write(named, "no archive").unwrap();
    let missing = format!("{named}/missing");
    for words in [
        &["info", named][..],
        &["verify", named, &missing],
        &["verify", named, "-i", named],
        &["verify", named, "-i", &missing],
        &["restore", named, "-i", key, "-o", named],
        &["restore", named, "-i", key, "-o", &missing],
        &["save", named, "-r", &recipient, "--from", "../snapshot.db"],
        &["save", &missing, "-r", &recipient],
        &["save", TRICKS, "-r", &recipient],
        &["save", ".", "-r", TRICKS],
        &["save", ".", "-R", named],
        &["save", ".", "-R", &missing],
        &["save", ".", "-r", &recipient, "--from", &missing],
        &["save", ".", "-r", &recipient, "--endpoints", TRICKS],
        &["save", ".", "-r", &recipient, "--cacert", &missing],
        &["save", ".", "-r", &recipient, "--level", TRICKS],
        &["save", ".", "-r", &recipient, TRICKS, TRICKS],
        &["keygen", "-o", &missing],
        &["generate", TRICKS],
        &[TRICKS],
    ] {
        told_by(words, None);
    }
    for (variable, value) in [
        ("ETCD_SEAL_RECIPIENTS", TRICKS),
        ("ETCD_SEAL_PASSPHRASE_FILE", &missing),
        ("ETCD_SEAL_STALL_TIMEOUT", TRICKS),
        ("ETCDCTL_DIAL_TIMEOUT", TRICKS),
        ("ETCDCTL_ENDPOINTS", TRICKS),
        ("ETCD_SEAL_DESTINATION", TRICKS),
    ] {
        let passphrase = variable.contains("PASSPHRASE").then_some("-p");
        let ended = sandbox.seal(["save", "-v"]).env(variable, value).args(passphrase).run();
        assert_tame(&ended, variable);
    }
}

/// What a member says of itself, and of its failures.
#[test]
fn text_from_a_member_is_tame() {
    let sandbox = Sandbox::furnished();
    let mut script = Script::of(&[Step::Fail(tonic::Code::Internal, TRICKS)]);
    script.status.version = format!("3.5.0{TRICKS}");
    script.status.errors = vec![TRICKS.to_owned()];
    script.status.storage_version = TRICKS.to_owned();
    let bytes = snapshot(3);
    let mut whole = Script::sending(&bytes, bytes.len(), &[]);
    whole.status = script.status.clone();
    for (script, code) in [(script, 14), (whole, 0)] {
        let member = Fake::start(script);
        for more in ["-v", "--json"] {
            let save = sandbox.save().args(["--endpoints", &member.address.to_string(), more]);
            let ended = save.arg(sandbox.backups()).run().ends_with(code);
            assert_tame(&ended, more);
            for name in sandbox.published() {
                assert!(!name.contains(|character: char| character.is_control()), "{name:?}");
                let path = sandbox.backups().join(name);
                if code == 0 && path.extension().is_some_and(|extension| extension == "age") {
                    assert_tame(&sandbox.open("info").arg(&path).succeed(), "info");
                }
                fs::remove_file(path).unwrap();
            }
        }
    }
}

/// A link planted where something is to be published leads nowhere: it is refused, or replaced, and never followed.
#[test]
fn planted_links_are_not_followed() {
    let trial = Trial::new(PAGES);
    let backups = trial.sandbox.backups();
    let victim = trial.sandbox.path("victim");
    for dangling in [true, false] {
        for publishing in BOTH {
            let place = |name: &str| {
                if !dangling {
                    fs::write(&victim, "precious").unwrap();
                }
                symlink(&victim, backups.join(name)).unwrap();
            };
            let assert_untouched = || {
                let content = fs::read(&victim).ok();
                assert_eq!(content.as_deref(), (!dangling).then_some(&b"precious"[..]), "{publishing:?}");
            };
            // At the final name.
            place(publishing.name());
            trial.command(publishing).fails_with(2, "exists already");
            assert_untouched();
            assert_eq!(fs::read_link(backups.join(publishing.name())).unwrap(), victim);
            assert_eq!(trial.sandbox.published(), [publishing.name()]);
            trial.command(publishing).arg("--force").succeed();
            assert_untouched();
            assert!(fs::symlink_metadata(backups.join(publishing.name())).unwrap().is_file());
            trial.assert_whole(publishing, &backups);
            trial.clear();

            // At that of the sidecar, which no other process may have: it is made anew.
            if publishing == Publishing::Save {
                place("x.age.sha256");
                trial.command(publishing).succeed();
                assert_untouched();
                assert!(fs::symlink_metadata(backups.join("x.age.sha256")).unwrap().is_file());
                trial.assert_whole(publishing, &backups);
                trial.clear();
            }
        }
        // A key is never written through one, nor in its place.
        symlink(&victim, backups.join("key.txt")).unwrap();
        trial.sandbox.seal(["keygen"]).arg("-o").arg(backups.join("key.txt")).run().ends_with(2);
        assert_eq!(victim.exists(), !dangling);
        trial.clear();
    }
    // One that looks like something stale is neither followed nor removed: it is no run's temporary.
    let planted = ".etcd-seal-0123456789abcdef.tmp";
    symlink(&victim, backups.join(planted)).unwrap();
    trial.command(Publishing::Restore).succeed();
    assert_eq!(trial.sandbox.published(), [planted, "x.db"]);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

/// Every file is created under a name that was free, as a file and not through a link, with its final permissions; nothing
/// widens them afterwards, not even for a moment.
#[test]
fn files_are_private_from_their_first_moment() {
    needs!(skip::can_trace());
    let trial = Trial::new(PAGES);
    let sandbox = &trial.sandbox;
    let keygen = sandbox.seal(["keygen", "-o"]).arg(sandbox.backups().join("key.txt"));
    let cases = [(trial.command(Publishing::Save), 2), (trial.command(Publishing::Restore), 1), (keygen, 1)];
    for (command, files) in cases {
        let (ended, calls) = traced(command.behind(["sh", "-c", "umask 0; exec \"$0\" \"$@\""]));
        ended.ends_with(0);
        let created: Vec<&Call> = calls.iter().filter(|call| call.text.contains("O_CREAT")).collect();
        assert_eq!(created.len(), files, "{created:?}");
        for call in created {
            let name = call.path(0);
            assert!(is_temporary(name.file_name().unwrap().to_str().unwrap()), "{call:?}");
            for word in ["O_EXCL", "O_NOFOLLOW", "O_CLOEXEC", ", 0600)"] {
                assert!(call.text.contains(word), "{word}: {call:?}");
            }
        }
        let widening = calls.iter().find(|call| call.name.contains("chmod") || call.name.contains("chown"));
        assert_eq!(widening.map(|call| &call.text), None);
        trial.clear();
    }
}

/// The passphrase and the password, wherever they come from and whatever goes wrong, are not said at any verbosity.
#[test]
fn no_way_of_failing_says_a_secret() {
    let trial = Trial::new(PAGES);
    let sandbox = &trial.sandbox;
    let file = sandbox.path("passphrase");
    fs::write(&file, format!("{PASSPHRASE}\n{PASSPHRASE}\n")).unwrap();
    let archive = trial.input(Publishing::Restore).to_str().unwrap().to_owned();
    let planted = file.to_str().unwrap();
    let dead = harness::dead_address();
    let (user, userinfo) = (format!("root:{PASSWORD}"), format!("http://root:{PASSWORD}@{dead}"));
    let member = Fake::start(Script::of(&[Step::Fail(tonic::Code::Unauthenticated, "invalid auth token")]));
    let address = member.address.to_string();
    let recipient = sandbox.recipient.clone();
    let cases: &[&[&str]] = &[
        // A secret file in every other file's place.
        &["save", ".", "-R", planted],
        &["save", ".", "-r", &recipient, "--from", planted],
        &["save", ".", "-r", &recipient, "--cacert", planted, "--endpoints", &dead],
        &["save", ".", "-r", &recipient, "--cert", planted, "--key", planted],
        &["verify", &archive, "-i", planted],
        &["verify", planted],
        &["info", planted],
        // A passphrase that does not fit.
        &["verify", &archive, "-p"],
        // A password that no member takes.
        &["save", ".", "-r", &recipient, "--endpoints", &dead],
        &["save", ".", "-r", &recipient, "--endpoints", &address],
        &["save", ".", "-r", &recipient, "--endpoints", &format!("https://{address}")],
        // A password in every place it may stand in.
        &["save", ".", "-r", &recipient, "--endpoints", &dead, "--user", &user],
        &["save", ".", "-r", &recipient, "--endpoints", &dead, "--user", "root", "--password", PASSWORD],
        &["save", ".", "-r", &recipient, "--endpoints", &userinfo],
        &["save", ".", "-r", &recipient, "--user", "root", "--password", PASSWORD, "--password", PASSWORD],
        &["save", ".", "-r", &recipient, "--user", &user, "--pasword", PASSWORD],
        &["save", ".", "-r", &recipient, "--password", PASSWORD, "--endpoints", &dead],
    ];
    let key_file = sandbox.identity();
    let identity = fs::read_to_string(&key_file).unwrap();
    let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    let key_file = key_file.to_str().unwrap();
    let works: &[&[&str]] = &[
        &["save", ".", "-n", "-r", &recipient, "--endpoints", &dead, "--user", &user],
        &["verify", &archive, "-i", key_file],
        &["info", &archive, "-i", key_file],
        &["restore", &archive, "-i", key_file, "-o", "restored.db", "--force"],
    ];
    let judge = |words: &[&str], codes: Range<i32>, variable: (&str, &str)| {
        for more in [&[][..], &["-v"], &["--json"], &["-v", "--json"], &["-q"]] {
            let command = sandbox.seal(words).args(more).env("RUST_LOG", "trace");
            let command = command.env("ETCD_SEAL_PASSPHRASE_FILE", &file).env("ETCDCTL_USER", "root");
            let ended = command.env("ETCDCTL_PASSWORD", PASSWORD).env(variable.0, variable.1).run();
            assert!(codes.contains(&ended.code), "{words:?}: {} {}", ended.code, ended.stderr);
            for secret in [PASSWORD, PASSPHRASE, identity] {
                assert!(!ended.said().contains(secret), "{words:?} {more:?}: {}", ended.stderr);
            }
        }
    };
    for (words, codes) in
        cases.iter().map(|words| (words, 1..100)).chain(works.iter().map(|words| (words, 0..1)))
    {
        judge(words, codes, ("LANG", "C"));
    }
    let to_nowhere = ["save", ".", "-r", &recipient, "--endpoints", &dead];
    for (words, variable) in [
        (&to_nowhere[..], ("ETCDCTL_USER", &user[..])),
        (&to_nowhere[..4], ("ETCDCTL_ENDPOINTS", &userinfo)),
        (&to_nowhere[..2], ("ETCD_SEAL_RECIPIENTS_FILE", key_file)),
    ] {
        judge(words, 1..100, variable);
    }
}
