//! Plugins: real ones where they are installed, and small scripts that misbehave in ways real ones cannot be made to.
//!
//! The age crate finds plugins on PATH, which a test cannot change for itself: each test runs itself again with its own.

use super::keys::{Answering, PLAINTEXT, identities, open, seal, shared};
use etcd_seal::low_level::error::{Error, Kind};
use etcd_seal::low_level::keys::Recipients;
use harness::again;
use harness::program::tools;
use harness::sandbox::Sandbox;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Set in the second run of a test: the directory that is on PATH.
const PLUGINS: &str = "ETCD_SEAL_TEST_PLUGINS";

/// Recipients and identities of scripts, with a valid checksum and no data.
const ASKING_RECIPIENT: &str = "age1asking18hqs4j";
const FAILING_RECIPIENT: &str = "age1failing12tv98a";

/// `None` in the first run, which has then made the second one with `plugins` on PATH and seen it succeed.
fn within<T: Fn()>(test: T, plugins: &Path) -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os(PLUGINS) {
        return Some(directory.into());
    }
    let again = again::program(test).find_first_in([plugins]).env(PLUGINS, plugins).succeed();
    assert!(again.text().contains("1 passed"), "{}", again.text());
    None
}

fn to(strings: &[&str], answering: &std::sync::Arc<Answering>) -> Result<Recipients, Error> {
    let strings: Vec<_> = strings.iter().map(|&string| string.to_owned()).collect();
    Recipients::parse(&strings, &[], &shared(answering))
}

/// A native identity of age 1.3, the same for its plugin, and their recipient.
fn post_quantum_key(sandbox: &Sandbox, plugins: &Path, name: &str) -> (PathBuf, PathBuf, String) {
    let native = sandbox.path(name);
    let tool = |name: &str| sandbox.program(plugins.join(name));
    tool("age-keygen").args(["-pq", "-o"]).arg(&native).succeed();
    let recipient = tool("age-keygen").arg("-y").arg(&native).succeed();
    let identity = tool("age-plugin-pq").arg("-identity").arg(&native).succeed();
    let converted = sandbox.write(format!("{name}.plugin"), identity.stdout);
    (native, converted, recipient.text().trim_end().to_owned())
}

#[test]
fn post_quantum_recipients_of_a_plugin() {
    let Some(plugin) = tools("age-plugin-pq").into_iter().next() else { return };
    let Some(plugins) = within(post_quantum_recipients_of_a_plugin, plugin.parent().unwrap()) else {
        return;
    };
    let sandbox = Sandbox::new();
    let unattended = Answering::unattended();
    let (native, converted, first) = post_quantum_key(&sandbox, &plugins, "first");
    let (_, other, second) = post_quantum_key(&sandbox, &plugins, "second");
    let both = to(&[&first, &second, &first], &unattended).unwrap();
    assert_eq!(both.names(), [first.clone(), second]);
    assert_eq!(both.iter().count(), 1, "one run of the plugin for both");
    let sealed = seal(&both).unwrap();
    for key in [&converted, &other] {
        let opened = open(&sealed, &identities(&[key], &unattended).unwrap()).unwrap();
        assert_eq!(opened.as_deref(), Some(PLAINTEXT));
    }
    let stock = sandbox.program(plugins.join("age")).args(["-d", "-i"]).arg(&native).input(&sealed).run();
    assert_eq!(stock.stdout, PLAINTEXT, "{}", stock.stderr);

    let (_, stranger, _) = post_quantum_key(&sandbox, &plugins, "stranger");
    assert_eq!(open(&sealed, &identities(&[&stranger], &unattended).unwrap()).unwrap(), None);
    let error = identities(&[&native], &unattended).unwrap_err();
    assert!(error.hint().contains("age-plugin-pq -identity"), "{}", error.hint());

    // Only the plugin knows that its recipients may not be mixed, and it is not run before it is needed.
    let x25519 = age::x25519::Identity::generate().to_public().to_string();
    let error = seal(&to(&[&first, &x25519], &unattended).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::Recipient);
    assert!(error.hint().contains("post-quantum"), "{}", error.hint());
}

/// A plugin that reads what age sends first, then speaks `lines` and reads an answer after each.
fn script(directory: &Path, name: &str, requests: &[&str]) {
    let mut text =
        "#!/bin/sh\nwhile read -r line && [ \"$line\" != '-> done' ]; do :; done\nread -r line\n".to_owned();
    for request in requests {
        writeln!(text, "printf '%s\\n' {request}\nread -r tag; read -r body").unwrap();
    }
    text.push_str("printf '%s\\n' '-> done' ''\n");
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// "PIN, please" with an escape sequence, and "out of order", in base64 as stanza bodies are.
const REQUEST_SECRET: &str = "'-> request-secret' 'G1szMW1QSU4sIHBsZWFzZQ'";
const CONFIRM: &str = "'-> confirm eWVz' 'UElOLCBwbGVhc2U'";
const INTERNAL_ERROR: &str = "'-> error internal' 'b3V0IG9mIG9yZGVy'";

fn identity_file(directory: &Path, plugin: &str) -> PathBuf {
    let path = directory.join(format!("{plugin}.txt"));
    fs::write(&path, age::plugin::Identity::default_for_plugin(plugin).unwrap().to_string()).unwrap();
    path
}

#[test]
fn a_plugin_s_question_without_a_terminal_is_no_terminal() {
    let scripts = tempfile::tempdir().unwrap();
    let Some(plugins) = within(a_plugin_s_question_without_a_terminal_is_no_terminal, scripts.path()) else {
        return;
    };
    for request in [REQUEST_SECRET, CONFIRM] {
        for after in [&[][..], &[INTERNAL_ERROR]] {
            script(&plugins, "age-plugin-asking", &[&[request], after].concat());
            let unattended = Answering::unattended();
            let error = seal(&to(&[ASKING_RECIPIENT], &unattended).unwrap()).unwrap_err();
            assert_eq!(error.kind(), Kind::NoTerminal, "{error}");
            assert!(error.to_string().contains("PIN, please"), "{error}");
            assert!(!error.to_string().contains('\u{1b}'), "{error}");

            let sealed = sealed_to_a_stranger();
            let key = identity_file(&plugins, "asking");
            let error = open(&sealed, &identities(&[&key], &unattended).unwrap()).unwrap_err();
            assert_eq!(error.kind(), Kind::NoTerminal, "{error}");
        }
    }
    script(&plugins, "age-plugin-asking", &[REQUEST_SECRET]);
    let answering = Answering::with("1234");
    let key = identity_file(&plugins, "asking");
    assert_eq!(open(&sealed_to_a_stranger(), &identities(&[&key], &answering).unwrap()).unwrap(), None);
    assert_eq!(answering.count(), 1);
    // Two identities in one file are one run of the plugin, and one question.
    let identity = fs::read_to_string(&key).unwrap();
    fs::write(&key, format!("{identity}\n{identity}\n")).unwrap();
    assert_eq!(open(&sealed_to_a_stranger(), &identities(&[&key], &answering).unwrap()).unwrap(), None);
    assert_eq!(answering.count(), 2);
}

#[test]
fn a_plugin_that_fails_is_a_plugin_error_unless_another_identity_opens() {
    let scripts = tempfile::tempdir().unwrap();
    let test = a_plugin_that_fails_is_a_plugin_error_unless_another_identity_opens;
    let Some(plugins) = within(test, scripts.path()) else { return };
    let unattended = Answering::unattended();
    let key = identity_file(&plugins, "failing");
    script(&plugins, "age-plugin-failing", &[INTERNAL_ERROR]);
    let error = seal(&to(&[FAILING_RECIPIENT], &unattended).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::Plugin);
    assert!(error.to_string().contains("out of order"), "{error}");
    let error = open(&sealed_to_a_stranger(), &identities(&[&key], &unattended).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::Plugin);
    assert!(error.to_string().contains("out of order"), "{error}");

    fs::write(plugins.join("age-plugin-failing"), "#!/bin/sh\nexit 1\n").unwrap();
    let error = open(&sealed_to_a_stranger(), &identities(&[&key], &unattended).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::Plugin, "{error}");
    assert!(!error.to_string().contains(['\n', '\u{2068}', '\u{2069}']), "{error}");

    let own = age::x25519::Identity::generate();
    let own_file = plugins.join("own.txt");
    fs::write(&own_file, secrecy::ExposeSecret::expose_secret(&own.to_string())).unwrap();
    let sealed = seal(&to(&[&own.to_public().to_string()], &unattended).unwrap()).unwrap();
    let opened = open(&sealed, &identities(&[&key, &own_file], &unattended).unwrap()).unwrap();
    assert_eq!(opened.as_deref(), Some(PLAINTEXT));
}

fn sealed_to_a_stranger() -> Vec<u8> {
    let stranger = age::x25519::Identity::generate().to_public().to_string();
    seal(&to(&[&stranger], &Answering::unattended()).unwrap()).unwrap()
}
