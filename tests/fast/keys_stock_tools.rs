//! Recipients and identities, judged by the tools whose formats they are: age, age-keygen, ssh-keygen.

use super::keys::{Answering, PLAINTEXT, identities, open, recipients, seal, shared, ssh_key};
use age::Recipient as _;
use age_core::format::{FileKey, Stanza};
use etcd_seal::low_level::error::Kind;
use etcd_seal::low_level::keys::{
    DEFAULT_MAX_WORK_FACTOR, Identities, KeyFile, Recipients, generate_identity,
};
use harness::needs;
use harness::program::{Outcome, tools};
use harness::sandbox::Sandbox;
use secrecy::{ExposeSecret, SecretString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const PASSPHRASE: &str = "correct horse battery staple";

fn public(private: &Path) -> PathBuf {
    private.with_extension("pub")
}

/// An age identity made by age-keygen, its recipient in a file beside it.
fn age_key(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path(name);
    sandbox.program("age-keygen").arg("-o").arg(&path).succeed();
    fs::write(public(&path), sandbox.program("age-keygen").arg("-y").arg(&path).succeed().stdout).unwrap();
    path
}

fn age_opens(sealed: &[u8], identity: &Path) -> bool {
    let sandbox = Sandbox::new();
    let output = sandbox.program("age").args(["-d", "-i"]).arg(identity).input(sealed).run();
    output.code == 0 && output.stdout == PLAINTEXT
}

fn have(names: &[&str]) -> bool {
    names.iter().all(|name| !tools(name).is_empty())
}

/// The kinds of key that need no passphrase.
fn open_keys(sandbox: &Sandbox) -> Vec<PathBuf> {
    vec![
        age_key(sandbox, "age.txt"),
        ssh_key(sandbox, "ed25519", &["-t", "ed25519", "-N", ""]),
        ssh_key(sandbox, "rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
        ssh_key(sandbox, "pem", &["-t", "rsa", "-b", "3072", "-m", "PEM", "-N", ""]),
    ]
}

#[test]
fn each_key_alone_opens_what_is_sealed_to_all() {
    needs!(have(&["age", "age-keygen", "ssh-keygen"]));
    let sandbox = Sandbox::new();
    let keys = open_keys(&sandbox);
    let publics: Vec<_> = keys.iter().map(|key| public(key)).collect();
    let all = recipients(&publics.iter().map(PathBuf::as_path).collect::<Vec<_>>()).unwrap();
    assert_eq!(all.names().len(), keys.len());
    let ours = seal(&all).unwrap();
    let age = publics.iter().fold(sandbox.program("age"), |age, path| age.arg("-R").arg(path));
    let theirs = age.input(PLAINTEXT).succeed().stdout;
    for key in &keys {
        assert!(age_opens(&ours, key), "{key:?}");
        for sealed in [&ours, &theirs] {
            let opened = open(sealed, &identities(&[key], &Answering::unattended()).unwrap()).unwrap();
            assert_eq!(opened.as_deref(), Some(PLAINTEXT), "{key:?}");
        }
    }
    let stranger = age_key(&sandbox, "stranger.txt");
    assert_eq!(open(&ours, &identities(&[&stranger], &Answering::unattended()).unwrap()).unwrap(), None);
}

#[test]
fn ssh_recipients_are_named_as_ssh_keygen_names_them() {
    needs!(have(&["ssh-keygen"]));
    let sandbox = Sandbox::new();
    for kind in ["ed25519", "rsa"] {
        let key = ssh_key(&sandbox, kind, &["-t", kind, "-N", ""]);
        let listed = sandbox.program("ssh-keygen").arg("-lf").arg(public(&key)).succeed();
        let fingerprint = listed.text().split(' ').nth(1).unwrap();
        assert_eq!(recipients(&[&public(&key)]).unwrap().names(), [format!("ssh-{kind} {fingerprint}")]);
    }
}

#[test]
fn a_locked_ssh_key_asks_once_and_only_for_its_own_stanza() {
    needs!(have(&["age-keygen", "ssh-keygen"]));
    let sandbox = Sandbox::new();
    let age = age_key(&sandbox, "age.txt");
    let other = ssh_key(&sandbox, "other", &["-t", "ed25519", "-N", ""]);
    for kind in ["ed25519", "rsa"] {
        let key = ssh_key(&sandbox, kind, &["-t", kind, "-N", PASSPHRASE]);
        let (age, other, key) = (public(&age), public(&other), key);
        let own = public(&key);
        for order in [[&own, &age, &other], [&age, &own, &other], [&other, &age, &own]] {
            let sealed = seal(&recipients(&order.map(PathBuf::as_path)).unwrap()).unwrap();
            let answering = Answering::with(PASSPHRASE);
            let identities = identities(&[&key], &answering).unwrap();
            for _ in 0..2 {
                assert_eq!(open(&sealed, &identities).unwrap().as_deref(), Some(PLAINTEXT));
            }
            assert_eq!(answering.count(), 1, "{order:?}");
        }
        let answering = Answering::with(PASSPHRASE);
        let for_others = seal(&recipients(&[&age, &other]).unwrap()).unwrap();
        assert_eq!(open(&for_others, &identities(&[&key], &answering).unwrap()).unwrap(), None);
        assert_eq!(answering.count(), 0);
    }
}

#[test]
fn a_locked_ssh_key_is_not_asked_for_when_another_key_opens() {
    needs!(have(&["age-keygen", "ssh-keygen"]));
    let sandbox = Sandbox::new();
    let age = age_key(&sandbox, "age.txt");
    let key = ssh_key(&sandbox, "ssh", &["-t", "ed25519", "-N", PASSPHRASE]);
    let sealed = seal(&recipients(&[&public(&age), &public(&key)]).unwrap()).unwrap();
    let answering = Answering::unattended();
    let both = identities(&[&key, &age], &answering).unwrap();
    assert_eq!(open(&sealed, &both).unwrap().as_deref(), Some(PLAINTEXT));
    assert_eq!(answering.count(), 0);
}

#[test]
fn a_locked_ssh_key_tells_why_it_did_not_open() {
    needs!(have(&["ssh-keygen"]));
    let sandbox = Sandbox::new();
    let key = ssh_key(&sandbox, "key", &["-t", "ed25519", "-N", PASSPHRASE]);
    let sealed = seal(&recipients(&[&public(&key)]).unwrap()).unwrap();
    let wrong = Answering::with("wrong passphrase");
    let with_wrong = identities(&[&key], &wrong).unwrap();
    for _ in 0..2 {
        let error = open(&sealed, &with_wrong).unwrap_err();
        assert_eq!(error.kind(), Kind::NoMatchingIdentity);
        assert_eq!(error.to_string(), "wrong passphrase for ssh key key");
    }
    assert_eq!(wrong.count(), 1);
    let error = open(&sealed, &identities(&[&key], &Answering::unattended()).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::NoTerminal);
}

#[test]
fn ssh_keys_that_age_does_not_read_are_refused_with_the_way_out() {
    needs!(have(&["ssh-keygen"]));
    let sandbox = Sandbox::new();
    let private = [
        ("locked_pem", &["-t", "rsa", "-m", "PEM", "-N", PASSPHRASE][..], "ssh-keygen -p"),
        ("pkcs8", &["-t", "rsa", "-m", "PKCS8", "-N", ""], "ssh-keygen -p"),
        ("ecdsa", &["-t", "ecdsa", "-N", ""], "ssh-ed25519"),
        ("locked_ecdsa", &["-t", "ecdsa", "-N", PASSPHRASE], "ssh-ed25519"),
        ("chacha", &["-t", "ed25519", "-Z", "chacha20-poly1305@openssh.com", "-N", PASSPHRASE], "aes256-ctr"),
    ];
    for (name, arguments, way_out) in private {
        let key = ssh_key(&sandbox, name, arguments);
        let error = identities(&[&key], &Answering::with(PASSPHRASE)).unwrap_err();
        assert_eq!(error.kind(), Kind::Identity, "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.hint().contains(way_out), "{name}: {}", error.hint());
    }
    for (name, arguments) in [("small", ["-t", "rsa", "-b", "1024"]), ("p384", ["-t", "ecdsa", "-b", "384"])]
    {
        let key = ssh_key(&sandbox, name, &[&arguments[..], &["-N", ""]].concat());
        let error = recipients(&[&public(&key)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Recipient, "{error}");
        assert!(error.to_string().contains("line 1"), "{error}");
    }
    // The way out works.
    let key = sandbox.path("locked_pem");
    let convert = ["-p", "-P", PASSPHRASE, "-N", PASSPHRASE, "-f"];
    sandbox.program("ssh-keygen").args(convert).arg(&key).succeed();
    let sealed = seal(&recipients(&[&public(&key)]).unwrap()).unwrap();
    let opened = open(&sealed, &identities(&[&key], &Answering::with(PASSPHRASE)).unwrap()).unwrap();
    assert_eq!(opened.as_deref(), Some(PLAINTEXT));
}

#[test]
fn private_and_public_halves_are_told_apart() {
    needs!(have(&["age-keygen", "ssh-keygen"]));
    let sandbox = Sandbox::new();
    for key in open_keys(&sandbox) {
        let error = recipients(&[&key]).unwrap_err();
        assert!(error.to_string().contains("a private key"), "{error}");
        let error = identities(&[&public(&key)], &Answering::unattended()).unwrap_err();
        assert!(error.to_string().contains("line 1 is a recipient"), "{error}");
    }
}

#[test]
fn a_generated_identity_is_one_of_ages() {
    needs!(have(&["age", "age-keygen"]));
    let sandbox = Sandbox::new();
    let (text, recipient) = generate_identity("2026-11-03T04:05:06Z");
    let path = sandbox.path("key.txt");
    fs::write(&path, text.expose_secret()).unwrap();
    let stock = sandbox.program("age-keygen").arg("-y").arg(&path).succeed();
    assert_eq!(stock.text().trim_end(), recipient);
    let to_it = Recipients::parse(&[recipient], &[], &shared(&Answering::unattended())).unwrap();
    assert!(age_opens(&seal(&to_it).unwrap(), &path));
}

/// age 1.3 with its plugin that takes a passphrase from the environment.
fn batchpass(passphrase: &str, arguments: &[&str], input: &[u8]) -> Option<Outcome> {
    let plugin = tools("age-plugin-batchpass").into_iter().next()?;
    let (sandbox, directory) = (Sandbox::new(), plugin.parent().unwrap());
    let age = sandbox.program(directory.join("age")).args(arguments).args(["-j", "batchpass"]);
    let age = age.env("PATH", directory).env("AGE_PASSPHRASE", passphrase);
    Some(age.env("AGE_PASSPHRASE_WORK_FACTOR", "12").input(input).run())
}

#[test]
fn passphrases_are_ages() {
    let Some(theirs) = batchpass(PASSPHRASE, &["-e"], PLAINTEXT) else { return };
    let opening = |passphrase: &str| Identities::passphrase(SecretString::from(passphrase), 12);
    assert_eq!(open(&theirs.stdout, &opening(PASSPHRASE)).unwrap().as_deref(), Some(PLAINTEXT));
    assert_eq!(open(&theirs.stdout, &opening("wrong")).unwrap(), None);
    let ours = seal(&Recipients::passphrase(SecretString::from(PASSPHRASE)).unwrap()).unwrap();
    let opened = batchpass(PASSPHRASE, &["-d"], &ours).unwrap();
    assert_eq!(opened.stdout, PLAINTEXT, "{}", opened.stderr);
}

#[test]
fn identity_files_encrypted_by_age_open() {
    let sandbox = Sandbox::new();
    needs!(have(&["age-keygen"]));
    let key = age_key(&sandbox, "key.txt");
    let sealed = seal(&recipients(&[&public(&key)]).unwrap()).unwrap();
    for arguments in [&["-e"][..], &["-e", "-a"]] {
        let Some(locked) = batchpass(PASSPHRASE, arguments, &fs::read(&key).unwrap()) else { return };
        let path = sandbox.path("key.age");
        fs::write(&path, locked.stdout).unwrap();
        let answering = Answering::with(PASSPHRASE);
        let opened = open(&sealed, &identities(&[&path], &answering).unwrap()).unwrap();
        assert_eq!(opened.as_deref(), Some(PLAINTEXT));
        assert_eq!(answering.count(), 1);
    }
}

/// Any writer who knows a public key can name it 256 times in a header. What that costs the owner is bounded.
#[test]
fn a_header_full_of_stanzas_that_name_a_key_is_refused_soon() {
    needs!(have(&["ssh-keygen"]));
    let sandbox = Sandbox::new();
    let locked = ["-t", "ed25519", "-a", "100", "-N", PASSPHRASE];
    for (name, arguments) in [
        ("ed25519", &["-t", "ed25519", "-N", ""][..]),
        ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
        ("locked", &locked),
    ] {
        let key = ssh_key(&sandbox, name, arguments);
        let recipient: age::ssh::Recipient = fs::read_to_string(public(&key)).unwrap().parse().unwrap();
        let stanzas = |count: usize, bad: bool| -> Vec<Stanza> {
            let file_key = || FileKey::new(Box::new([7; 16]));
            let mut stanzas: Vec<_> =
                (0..count).flat_map(|_| recipient.wrap_file_key(&file_key()).unwrap().0).collect();
            for stanza in stanzas.iter_mut().filter(|_| bad) {
                stanza.body[0] ^= 1;
            }
            stanzas
        };
        let answering = Answering::with(PASSPHRASE);
        let identities = identities(&[&key], &answering).unwrap();
        let error = identities.unwrap(&stanzas(256, true)).err().unwrap();
        assert_eq!(error.kind(), Kind::HeaderDamaged, "{name}: {error}");
        assert!(error.to_string().starts_with("more than 4 stanzas of the header name the ssh-"), "{error}");
        assert!(answering.count() <= 1, "{name}");
        // A recipient given twice is no such thing: the first stanza opens.
        assert!(identities.unwrap(&stanzas(8, false)).unwrap().is_some(), "{name}");
        // Nor are stanzas that fail and are few.
        let few: Vec<Stanza> = stanzas(3, true).into_iter().chain(stanzas(1, false)).collect();
        assert!(identities.unwrap(&few).unwrap().is_some(), "{name}");
    }
}

/// The cheap kind is tried as often as there are stanzas, with every identity.
#[test]
fn a_header_full_of_x25519_stanzas_is_tried_by_many_identities_in_time() {
    let keys: Vec<_> = (0..8).map(|_| generate_identity("2026-11-03T04:05:06Z")).collect();
    let foreign = age::x25519::Identity::generate().to_public();
    let stanzas: Vec<Stanza> =
        (0..256).flat_map(|_| foreign.wrap_file_key(&FileKey::new(Box::new([7; 16]))).unwrap().0).collect();
    let files = keys.iter().enumerate().map(|(number, (text, _))| KeyFile {
        name: number.to_string(),
        text: Zeroizing::new(text.expose_secret().as_bytes().to_vec()),
    });
    let prompt = shared(&Answering::unattended());
    let identities = Identities::parse(files.collect(), &prompt, DEFAULT_MAX_WORK_FACTOR).unwrap();
    let began = Instant::now();
    assert!(identities.unwrap(&stanzas).unwrap().is_none());
    // Unoptimized and on a busy machine; optimized it is a tenth of a second.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
