//! Secrets and those who would like them: what a plugin gets to see, what is said, where a planted link leads, and what text
//! from elsewhere does to a terminal.

use crate::harness::fake::{Fake, Script, Step};
use crate::harness::sandbox::{Ended, Sandbox, finish, finish_with, snapshot};
use crate::harness::skip;
use crate::harness::trace::{Call, traced};
use crate::harness::trial::{BOTH, Publishing, Trial, is_temporary};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

const PASSWORD: &str = "hunter2-password-91ab";
const PASSPHRASE: &str = "hunter2-passphrase-7c5d";

/// A recipient and an identity of a plugin that is not installed anywhere, with valid checksums.
const RECIPIENT: &str = "age1asking18hqs4j";
const IDENTITY: &str = "AGE-PLUGIN-ASKING-1R23CLXD5MZFSH79VN6PG0KAYTJEQ8W4QLP89XU";

/// Pages of the snapshot.
const PAGES: usize = 100;

/// Installs a plugin that notes all that it is told and all that it can see, and then fails.
fn install_plugin(sandbox: &Sandbox) -> String {
    let plugins = sandbox.path("plugins");
    fs::create_dir(&plugins).unwrap();
    let plugin = plugins.join("age-plugin-asking");
    // Its standard output stays open, so that it is waited for.
    let noting = "#!/bin/sh\n\
        exec 3>&1 >>SEEN 2>&1\n\
        echo \"words: $0 $*\"; env; ls -l /proc/$$/fd\n\
        tr '\\0' '\\n' </proc/$PPID/cmdline; tr '\\0' '\\n' </proc/$PPID/environ\n\
        while read -r line; do echo \"$line\"; [ \"$line\" = '-> done' ] && break; done\n\
        exit 1\n";
    let noting = noting.replace("SEEN", sandbox.path("seen").to_str().unwrap());
    fs::write(&plugin, noting).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o700)).unwrap();
    format!("{}:{}", plugins.display(), std::env::var("PATH").unwrap())
}

/// What a plugin that was run by `command` saw, and how the command ended.
fn seen_by_plugin(sandbox: &Sandbox, path: &str, command: &mut Command) -> (String, Ended) {
    command
        .env("PATH", path)
        .env("ETCDCTL_PASSWORD", PASSWORD)
        .env("ETCDCTL_USER", format!("root:{PASSWORD}"))
        .env("ETCDCTL_ENDPOINTS", "127.0.0.1:1")
        .env("AGEDEBUG", "plugin");
    let ended = finish_with(command, &snapshot(3));
    let seen = fs::read_to_string(sandbox.path("seen")).unwrap();
    fs::remove_file(sandbox.path("seen")).unwrap();
    (seen, ended)
}

/// A plugin is another program: it learns on its standard input what it needs, and nothing else, neither of its own command
/// line and environment nor of ours.
#[test]
fn a_plugin_sees_no_password() {
    let sandbox = Sandbox::new();
    let path = install_plugin(&sandbox);
    let archive = sandbox.path("x.age");
    let _ = finish_with(sandbox.save().args(["--from", "-"]).arg(&archive), &snapshot(3)).with(0);
    let identity = sandbox.path("plugin.txt");
    fs::write(&identity, format!("{IDENTITY}\n")).unwrap();

    let mut save = sandbox.program();
    save.args(["save", "-r", RECIPIENT, "--from", "-", "-v"]).arg(sandbox.backups());
    let mut verify = sandbox.program();
    verify.args(["verify", "-v", "-i"]).arg(&identity).arg(&archive);
    for (command, state_machine) in [(&mut save, "recipient-v1"), (&mut verify, "identity-v1")] {
        let (seen, ended) = seen_by_plugin(&sandbox, &path, command);
        assert_ne!(ended.code, 0);
        let words = format!(
            "words: {}/age-plugin-asking --age-plugin={state_machine}\n",
            sandbox.path("plugins").display()
        );
        assert!(seen.starts_with(&words), "{seen}");
        assert!(seen.contains("ETCDCTL_ENDPOINTS=") && seen.contains("PATH="), "{seen}");
        assert!(!seen.contains(PASSWORD) && !seen.contains("AGEDEBUG"), "{seen}");
        assert!(!ended.out().contains(PASSWORD) && !ended.err().contains(PASSWORD), "{}", ended.err());
        // What it is told on its standard input, its own identity and the file key, is told to no other process.
        let told = seen.lines().skip_while(|line| !line.starts_with("-> ")).filter(|line| line.len() > 20);
        let secrets: Vec<&str> = told.collect();
        assert!(!secrets.is_empty(), "{seen}");
        for secret in secrets {
            let secret = secret.rsplit(' ').next().unwrap();
            assert!(!ended.err().contains(secret), "{secret} in {}", ended.err());
        }
    }
    assert!(sandbox.names().is_empty());
}

/// Where the program may not execute itself again, it says that the password stays visible and does its work.
#[test]
fn a_password_that_cannot_be_taken_away_is_warned_of() {
    let sandbox = Sandbox::new();
    // More than a pipe holds.
    let long = "x".repeat(100_000);
    let mut save = sandbox.save();
    save.env("ETCDCTL_PASSWORD", &long).args(["--from", "-"]).arg(sandbox.backups());
    let ended = finish_with(&mut save, &snapshot(3)).with(0);
    assert!(ended.err().contains("warning: age plugins can read"), "{}", ended.err());
    let refused = finish_with(save.env("AGEDEBUG", "plugin"), &snapshot(3)).with(2);
    assert!(refused.err().contains("hint: unset AGEDEBUG"), "{}", refused.err());
    let _ = sandbox.archive();
}

/// What the program is told through the environment arrives, though the environment no longer has it: etcdctl's rules for
/// what belongs together are the best witness.
#[test]
fn a_password_that_was_taken_away_is_used() {
    let sandbox = Sandbox::new();
    let dead = crate::harness::dead_address();
    let mut save = sandbox.save();
    save.args(["--endpoints", &dead, "-n"]).arg(sandbox.backups()).env("ETCDCTL_PASSWORD", PASSWORD);
    let ended = finish(&mut save).with(0);
    assert!(ended.err().contains("a password without a user is ignored"), "{}", ended.err());
    let user = OsStr::from_bytes(b"root:\xff");
    let ended = finish(save.env("ETCDCTL_USER", user)).with(2);
    assert!(ended.err().contains("ETCDCTL_USER is not UTF-8"), "{}", ended.err());
    // Another process's secrets are not taken for one's own.
    let mut save = sandbox.save();
    save.args(["--endpoints", &dead, "-n"]).arg(sandbox.backups()).env("ETCD_SEAL_HANDED_OVER", "1:0");
    assert!(!finish(&mut save).with(0).err().contains("password"));
}

/// Private keys of every kind in the place of anything else: whatever is said of them does not repeat them.
#[test]
fn private_keys_in_the_wrong_place_are_not_repeated() {
    let sandbox = Sandbox::new();
    let post_quantum = format!("AGE-SECRET-KEY-PQ-1{}", "QPZRY9X8".repeat(12));
    let archive = sandbox.path("x.age");
    let _ = finish_with(sandbox.save().args(["--from", "-"]).arg(&archive), &snapshot(3)).with(0);
    let archive = archive.to_str().unwrap();
    for key in [post_quantum.as_str(), IDENTITY] {
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
                &["save", key, "-r", recipient],
                &["save", ".", "-r", recipient, "--from", key],
                &["save", ".", "-r", recipient, "--cacert", key],
                &["save", ".", "-r", recipient, "--endpoints", key],
                &["verify", key],
                &["verify", archive, "-i", key],
                &["verify", archive, "-i", file],
                &["info", key, "-i", key],
                &["restore", key, "-i", file, "-o", "x"],
                &["restore", archive, "-i", file, "-o", key, "--frobnicate", key],
                &["keygen", key],
                &[key],
            ];
            for words in cases {
                for more in [&["-v"][..], &["--json"], &[]] {
                    let mut command = sandbox.program();
                    command.args(*words).args(more).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
                    let ended = finish(&mut command);
                    assert!((1..100).contains(&ended.code), "{words:?}: {}", ended.code);
                    let told = (ended.out() + &ended.err()).to_uppercase();
                    assert!(!told.contains(secret), "{words:?} {more:?}: {told}");
                }
            }
        }
    }
}

/// What it takes to colour, move, ring, reorder and forge.
const TRICKS: &str = "\u{1b}[31mA\u{9b}2JB\u{202e}C\u{2066}D\u{7}E\rF\nFORGED\u{200b}";

/// Nothing but what may be shown, and no line that another program began.
fn assert_tame(ended: &Ended, what: &str) {
    let told = ended.out() + &ended.err();
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
    let sandbox = Sandbox::new();
    let (work, recipient) = (sandbox.path("work"), sandbox.recipient.clone());
    fs::write(sandbox.path("snapshot.db"), snapshot(3)).unwrap();
    let named = work.join(format!("{TRICKS}.age"));
    let named = named.to_str().unwrap();
    let told_by = |words: &[&str], code: Option<i32>| {
        for more in [&[][..], &["-v"], &["--json"]] {
            let ended = finish(sandbox.program().args(words).args(more));
            assert_tame(&ended, &format!("{words:?} {more:?}"));
            assert!(code.is_none_or(|code| code == ended.code), "{words:?}: {} {}", ended.code, ended.err());
            if more == ["--json"] {
                let _: serde_json::Value = serde_json::from_str(ended.out().lines().next().unwrap()).unwrap();
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
    let shown = finish(sandbox.program().args(["info", named, "-i", key])).with(0).out();
    for what in ["cluster name", "tag", "note"] {
        let line = shown.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
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
        let ended = finish(sandbox.program().env(variable, value).arg("save").args(passphrase).arg("-v"));
        assert_tame(&ended, variable);
    }
}

/// What a member says of itself, and of its failures.
#[test]
fn text_from_a_member_is_tame() {
    let sandbox = Sandbox::new();
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
            let mut save = sandbox.save();
            save.args(["--endpoints", &member.address.to_string(), more]).arg(sandbox.backups());
            let ended = finish(&mut save).with(code);
            assert_tame(&ended, more);
            for name in sandbox.names() {
                assert!(!name.contains(|character: char| character.is_control()), "{name:?}");
                let path = sandbox.backups().join(name);
                if code == 0 && path.extension().is_some_and(|extension| extension == "age") {
                    assert_tame(&finish(sandbox.open("info").arg(&path)).with(0), "info");
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
            let refused = finish(&mut trial.command(publishing)).with(2);
            assert!(refused.err().contains("exists already"), "{}", refused.err());
            assert_untouched();
            assert_eq!(fs::read_link(backups.join(publishing.name())).unwrap(), victim);
            assert_eq!(trial.sandbox.names(), [publishing.name()]);
            let _ = finish(trial.command(publishing).arg("--force")).with(0);
            assert_untouched();
            assert!(fs::symlink_metadata(backups.join(publishing.name())).unwrap().is_file());
            trial.assert_whole(publishing, &backups);
            trial.clear();

            // At that of the sidecar, which no other process may have: it is made anew.
            if publishing == Publishing::Save {
                place("x.age.sha256");
                let _ = finish(&mut trial.command(publishing)).with(0);
                assert_untouched();
                assert!(fs::symlink_metadata(backups.join("x.age.sha256")).unwrap().is_file());
                trial.assert_whole(publishing, &backups);
                trial.clear();
            }
        }
        // A key is never written through one, nor in its place.
        symlink(&victim, backups.join("key.txt")).unwrap();
        let _ = finish(trial.sandbox.program().arg("keygen").arg("-o").arg(backups.join("key.txt"))).with(2);
        assert_eq!(victim.exists(), !dangling);
        trial.clear();
    }
    // One that looks like something stale is neither followed nor removed: it is no run's temporary.
    let planted = ".etcd-seal-0123456789abcdef.tmp";
    symlink(&victim, backups.join(planted)).unwrap();
    let _ = finish(&mut trial.command(Publishing::Restore)).with(0);
    assert_eq!(trial.sandbox.names(), [planted, "x.db"]);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

/// Every file is created under a name that was free, as a file and not through a link, with its final permissions; nothing
/// widens them afterwards, not even for a moment.
#[test]
fn files_are_private_from_their_first_moment() {
    if !skip::can_trace() {
        return;
    }
    let trial = Trial::new(PAGES);
    let sandbox = &trial.sandbox;
    let mut keygen = sandbox.program();
    keygen.arg("keygen").arg("-o").arg(sandbox.backups().join("key.txt"));
    let cases = [(trial.command(Publishing::Save), 2), (trial.command(Publishing::Restore), 1), (keygen, 1)];
    for (command, files) in cases {
        let unmasked = trial.behind(&["sh", "-c", "umask 0; exec \"$0\" \"$@\""], &command);
        let (ended, calls) = traced(&unmasked);
        let _ = ended.with(0);
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
    let dead = crate::harness::dead_address();
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
    ];
    for words in cases {
        for more in [&[][..], &["-v"], &["--json"], &["-v", "--json"], &["-q"]] {
            let mut command = sandbox.program();
            command
                .args(*words)
                .args(more)
                .env("RUST_LOG", "trace")
                .env("ETCD_SEAL_PASSPHRASE_FILE", &file)
                .env("ETCDCTL_USER", "root")
                .env("ETCDCTL_PASSWORD", PASSWORD);
            let ended = finish(&mut command);
            assert!((1..100).contains(&ended.code), "{words:?}: {} {}", ended.code, ended.err());
            for secret in [PASSWORD, PASSPHRASE] {
                let said = ended.out().contains(secret) || ended.err().contains(secret);
                assert!(!said, "{words:?} {more:?}: {}", ended.err());
            }
        }
    }
}
