use super::super::{DEFAULT_MAX_WORK_FACTOR, Identities, generate_identity};
use super::{Answering, assert_silent_about, file, file_key, prompt};
use crate::error::{Error, Kind};
use age::Recipient as _;
use age::armor::{ArmoredWriter, Format};
use age_core::format::{FileKey, Stanza};
use secrecy::{ExposeSecret, SecretString};
use std::io::Write;
use std::sync::Arc;

const PASSPHRASE: &str = "correct horse battery staple";

fn new_key() -> (String, age::x25519::Recipient) {
    let (text, recipient) = generate_identity("2026-11-03T04:05:06Z");
    (text.expose_secret().to_owned(), recipient.parse().unwrap())
}

fn x25519(recipient: &age::x25519::Recipient) -> Vec<Stanza> {
    recipient.wrap_file_key(&file_key()).unwrap().0
}

fn scrypt(passphrase: &str, work_factor: u8) -> age::scrypt::Recipient {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase));
    recipient.set_work_factor(work_factor);
    recipient
}

fn encrypted(text: &str, format: Format, recipient: &dyn age::Recipient) -> Vec<u8> {
    let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient)).unwrap();
    let armor = ArmoredWriter::wrap_output(Vec::new(), format).unwrap();
    let mut writer = encryptor.wrap_output(armor).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap().finish().unwrap()
}

fn parse(texts: &[&[u8]], answering: &Arc<Answering>) -> Result<Identities, Error> {
    let files = texts.iter().enumerate().map(|(index, text)| file(&format!("key{index}"), text)).collect();
    Identities::parse(files, &prompt(answering), DEFAULT_MAX_WORK_FACTOR)
}

fn refused(text: &[u8]) -> Error {
    let error = parse(&[text], &Answering::nothing()).unwrap_err();
    assert_eq!(error.kind(), Kind::Identity, "{error}");
    assert!(error.to_string().contains("key0"), "{error}");
    error
}

fn is_ours(found: Option<FileKey>) -> bool {
    found.is_some_and(|key| key.expose_secret() == file_key().expose_secret())
}

#[test]
fn any_of_several_identities_opens() {
    let (first, _) = new_key();
    let (second, recipient) = new_key();
    let both =
        format!("# two\r\n{}\r\n\r\n{}", first.lines().last().unwrap(), second.lines().last().unwrap());
    let marked = format!("\u{feff}{both}");
    for texts in [&[first.as_bytes(), second.as_bytes()][..], &[both.as_bytes()], &[marked.as_bytes()]] {
        let identities = parse(texts, &Answering::nothing()).unwrap();
        assert!(is_ours(identities.unwrap(&x25519(&recipient)).unwrap()));
    }
    let identities = parse(&[first.as_bytes()], &Answering::nothing()).unwrap();
    assert!(identities.unwrap(&x25519(&recipient)).unwrap().is_none());
    assert!(!identities.is_empty());
    assert!(Identities::default().is_empty());
    assert!(Identities::default().unwrap(&x25519(&recipient)).unwrap().is_none());
}

#[test]
fn what_is_no_identity_is_refused_by_line_and_not_shown() {
    assert_eq!(refused(b" \n").to_string(), "identity file key0 is empty");
    assert!(refused(b"# public key: age1\n").to_string().contains("no identity"));
    let (text, recipient) = new_key();
    let secret = text.lines().last().unwrap();
    let error = refused(format!("# x\n{}\n", &secret[..60]).as_bytes());
    assert!(error.to_string().contains("line 2 is a damaged identity"), "{error}");
    assert_silent_about(&error, &secret[20..30]);
    let error = refused(format!("{text}\nhunter2 \u{2068}\n").as_bytes());
    assert!(error.to_string().contains("line 5 is not an identity"), "{error}");
    assert_silent_about(&error, "hunter2");
    refused(b"\xff\xfe\x00");
    assert!(refused(recipient.to_string().as_bytes()).to_string().contains("is a recipient"));
    assert!(refused(b"ssh-ed25519 AAAA me").to_string().contains("is a recipient"));
    assert!(refused(b"AGE-SECRET-KEY-PQ-1QQQ").hint().contains("age-plugin-pq -identity"));
    assert!(refused(b"-----BEGIN EC PRIVATE KEY-----\nx\n").hint().contains("ssh-keygen -p"));
    refused(b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n");
    refused(b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n");
}

#[test]
fn an_encrypted_identity_file_asks_once_and_only_when_needed() {
    let (text, recipient) = new_key();
    let (other, other_recipient) = new_key();
    for format in [Format::AsciiArmor, Format::Binary] {
        let answering = Answering::with(PASSPHRASE);
        let locked = encrypted(&text, format, &scrypt(PASSPHRASE, 4));
        let identities = parse(&[&locked, other.as_bytes()], &answering).unwrap();
        assert!(is_ours(identities.unwrap(&x25519(&other_recipient)).unwrap()));
        let scrypt_stanza = scrypt("something else", 4).wrap_file_key(&file_key()).unwrap().0;
        assert!(identities.unwrap(&scrypt_stanza).unwrap().is_none());
        assert!(identities.unwrap(&[]).unwrap().is_none());
        assert_eq!(answering.count(), 0);
        for _ in 0..2 {
            assert!(is_ours(identities.unwrap(&x25519(&recipient)).unwrap()));
        }
        assert_eq!(answering.count(), 1);
    }
}

#[test]
fn a_wrong_passphrase_of_an_identity_file_is_told_and_not_asked_again() {
    let (text, recipient) = new_key();
    let answering = Answering::with("wrong");
    let locked = encrypted(&text, Format::AsciiArmor, &scrypt(PASSPHRASE, 4));
    let identities = parse(&[&locked], &answering).unwrap();
    for _ in 0..2 {
        let error = identities.unwrap(&x25519(&recipient)).err().unwrap();
        assert_eq!(error.kind(), Kind::NoMatchingIdentity);
        assert_eq!(error.to_string(), "wrong passphrase for identity file key0");
        assert!(error.hint().contains("passphrase of that file"));
    }
    assert_eq!(answering.count(), 1);
}

#[test]
fn an_unanswered_question_is_not_no_match() {
    let (text, recipient) = new_key();
    let locked = encrypted(&text, Format::AsciiArmor, &scrypt(PASSPHRASE, 4));
    let identities = parse(&[&locked], &Answering::nothing()).unwrap();
    let error = identities.unwrap(&x25519(&recipient)).err().unwrap();
    assert_eq!(error.kind(), Kind::NoTerminal);
}

#[test]
fn age_files_that_are_no_identity_files_are_refused() {
    let (text, recipient) = new_key();
    let error = refused(&encrypted("snapshot", Format::Binary, &recipient));
    assert!(error.hint().contains("age -d"), "{}", error.hint());
    let locked = encrypted(&text, Format::Binary, &scrypt(PASSPHRASE, 4));
    assert!(refused(&locked[..60]).to_string().contains("damaged"));
    assert!(refused(b"age-encryption.org/v9\n-> something new\n\n---\n").to_string().contains("newer"));
    refused(b"-----BEGIN AGE ENCRYPTED FILE-----\n!!\n-----END AGE ENCRYPTED FILE-----\n");
    // Damage after the header, and content that holds no identity, show only once the file is open.
    let no_identity = encrypted("hunter2", Format::Binary, &scrypt(PASSPHRASE, 4));
    for (bytes, expected) in
        [(&locked[..locked.len() - 1], "damaged"), (&no_identity, "line 1 is not an identity")]
    {
        let identities = parse(&[bytes], &Answering::with(PASSPHRASE)).unwrap();
        let error = identities.unwrap(&x25519(&recipient)).err().unwrap();
        assert_eq!(error.kind(), Kind::Identity);
        assert!(error.to_string().contains(expected), "{error}");
        assert_silent_about(&error, "hunter2");
    }
}

#[test]
fn a_passphrase_opens_its_stanza_up_to_the_work_factor_allowed() {
    let stanzas = scrypt(PASSPHRASE, 5).wrap_file_key(&file_key()).unwrap().0;
    let unwrap =
        |passphrase: &str, max| Identities::passphrase(SecretString::from(passphrase), max).unwrap(&stanzas);
    assert!(is_ours(unwrap(PASSPHRASE, 5).unwrap()));
    assert!(unwrap("wrong", 5).unwrap().is_none());
    let error = unwrap(PASSPHRASE, 4).err().unwrap();
    assert_eq!(error.kind(), Kind::NoMatchingIdentity);
    assert!(error.hint().contains("`max_work_factor` 5"), "{}", error.hint());
    let (_, recipient) = new_key();
    let identities = Identities::passphrase(SecretString::from(PASSPHRASE), 5);
    assert!(identities.unwrap(&x25519(&recipient)).unwrap().is_none());
}

#[test]
fn an_identity_file_of_excessive_work_is_told() {
    let (text, recipient) = new_key();
    let locked = encrypted(&text, Format::Binary, &scrypt(PASSPHRASE, 5));
    let files = vec![file("key0", &locked)];
    let identities = Identities::parse(files, &prompt(&Answering::with(PASSPHRASE)), 4).unwrap();
    let error = identities.unwrap(&x25519(&recipient)).err().unwrap();
    assert_eq!(error.kind(), Kind::NoMatchingIdentity);
    assert!(error.to_string().contains("identity file key0"), "{error}");
    assert!(error.hint().contains("`max_work_factor` 5"), "{}", error.hint());
}

#[test]
fn a_forged_work_factor_costs_nothing() {
    for work_factor in ["31", "63", "64", "255", "256", "0", "x", "007"] {
        let stanza = Stanza {
            tag: "scrypt".to_owned(),
            args: vec!["AAAAAAAAAAAAAAAAAAAAAA".to_owned(), work_factor.to_owned()],
            body: vec![0; 32],
        };
        let identities = Identities::passphrase(SecretString::from(PASSPHRASE), u8::MAX);
        let error = identities.unwrap(&[stanza]).err().unwrap();
        assert!(
            matches!(error.kind(), Kind::NoMatchingIdentity | Kind::HeaderDamaged),
            "{work_factor} {error}"
        );
        assert!(!error.hint().contains("`max_work_factor`"), "{work_factor} {}", error.hint());
    }
}

#[test]
fn one_failing_identity_does_not_hide_another() {
    let (text, recipient) = new_key();
    let (locked_text, _) = new_key();
    let locked = encrypted(&locked_text, Format::Binary, &scrypt(PASSPHRASE, 4));
    let absent_plugin: &[u8] = b"AGE-PLUGIN-NOTINSTALLED-1XXXXXX";
    let (ours, theirs) = (new_key(), x25519(&recipient));
    let absent = plugin_identity("AGE-PLUGIN-NOTINSTALLED-");
    assert!(parse(&[absent_plugin], &Answering::nothing()).is_err(), "a wrong checksum");
    let texts: [&[u8]; 3] = [&locked, absent.as_bytes(), text.as_bytes()];
    assert!(is_ours(parse(&texts, &Answering::with("wrong")).unwrap().unwrap(&theirs).unwrap()));
    let error =
        parse(&[absent.as_bytes(), ours.0.as_bytes()], &Answering::nothing()).unwrap().unwrap(&theirs);
    let error = error.err().unwrap();
    assert_eq!(error.kind(), Kind::Plugin);
    assert!(error.to_string().contains("age-plugin-notinstalled"), "{error}");
    assert!(error.to_string().contains("key0"), "{error}");
}

fn plugin_identity(prefix: &str) -> String {
    let name = prefix.trim_start_matches("AGE-PLUGIN-").trim_end_matches('-').to_lowercase();
    age::plugin::Identity::default_for_plugin(&name).unwrap().to_string()
}

#[test]
fn a_malformed_stanza_is_damage() {
    let (text, recipient) = new_key();
    let identities = parse(&[text.as_bytes()], &Answering::nothing()).unwrap();
    let mut stanzas = x25519(&recipient);
    stanzas[0].args.push("extra".to_owned());
    assert_eq!(identities.unwrap(&stanzas).err().unwrap().kind(), Kind::HeaderDamaged);
}

#[test]
fn nothing_secret_is_in_debug_output() {
    let (text, _) = new_key();
    let secret = text.lines().last().unwrap().to_owned();
    let identities = parse(&[text.as_bytes()], &Answering::nothing()).unwrap();
    for shown in [format!("{identities:?}"), format!("{:?}", file("key0", &text))] {
        assert!(!shown.contains(&secret), "{shown}");
    }
}
