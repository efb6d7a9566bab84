//! What is wrong with headers, and files that have none.

use std::collections::HashSet;

use age::secrecy::SecretString;
use age::{EncryptError, Recipient};
use age_core::format::{FileKey, Stanza};
use serde_json::json;

use super::seal::{
    SEALED_CHUNK_SIZE, armor, body_lines, description_stanza, mac_at, nonce_at, payload_at, seal, stanza,
};
use super::{Maker, PASSPHRASE, SECOND_KEY, Vector, snapshot};

impl Maker {
    pub(super) fn headers(&self) -> Vec<Vector> {
        let mut vectors = self.no_archives();
        vectors.extend(self.changed_headers());
        vectors.extend(self.description_stanzas());
        vectors.extend(self.descriptions());
        vectors.extend(self.passphrases());
        vectors.extend(self.armored());
        vectors.extend(self.malformed_recipients());
        vectors
    }

    fn no_archives(&self) -> Vec<Vector> {
        let archive = self.archive(&self.small());
        let later = [b"age-encryption.org/v2", &archive[21..]].concat();
        let plain = snapshot::zeros(3);
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        let no = |title, bytes: &[u8]| Vector::failure_for_all(title, "not_an_archive", bytes.to_vec());
        vec![
            no("not-age: some text", b"hello, world\n"),
            no("empty: an empty file", b""),
            no("plain-snapshot: a snapshot that was never encrypted", &plain),
            no("plain-zstd: a snapshot that was compressed but never encrypted", &zstd),
            no("first-line-cut: cut inside the first line", &archive[..10]),
            no("age-version-2: an age file of a later version of age", &later),
        ]
    }

    fn changed_headers(&self) -> Vec<Vector> {
        let layers = self.small();
        let archive = self.archive(&layers);
        let (mac, nonce) = (mac_at(&archive), nonce_at(&archive));
        let key = archive.windows(10).position(|window| window == b"-> X25519 ").unwrap();
        let body = key + archive[key..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let added = [&archive[..mac], b"-> x-grease\n\n", &archive[mac..]].concat();
        let mut renamed = layers.clone();
        renamed.description["cluster_name"] = json!("victors");
        let changed = replaced(
            &archive,
            &body_lines(layers.description.to_string().as_bytes()),
            &body_lines(renamed.description.to_string().as_bytes()),
        );
        let damaged = "header_damaged";
        vec![
            Vector::failure_for_all("header-cut: cut before the MAC", damaged, archive[..mac].to_vec()),
            Vector::failure_for_all("nonce-cut: cut in the nonce", damaged, archive[..nonce + 15].to_vec()),
            Vector::failure_at_the_ends(
                "mac-changed: the MAC is wrong",
                damaged,
                other_letter(&archive, mac + 4),
            ),
            Vector::failure_at_the_ends("stanza-added: a stanza was added", damaged, added),
            Vector::failure_at_the_ends(
                "description-changed: the description was changed: seen without a key, but not authentic",
                damaged,
                changed,
            )
            .cluster_name(Some("victors")),
            Vector::failure_at_the_ends(
                "recipient-body-changed: the wrapped file key was changed, which cannot be told from a wrong key",
                "no_matching_identity",
                other_letter(&archive, body),
            ),
            Vector::failure_at_the_ends(
                "wrong-identity: opened with an identity it was not made for",
                "no_matching_identity",
                archive.clone(),
            )
            .with_key(SECOND_KEY),
            Self::changed_nonce(&archive),
        ]
    }

    fn changed_nonce(archive: &[u8]) -> Vector {
        let mut bytes = archive.to_vec();
        bytes[nonce_at(archive)] ^= 1;
        let payload = payload_at(archive);
        assert!(bytes.len() < payload + SEALED_CHUNK_SIZE);
        Vector::failure_at_the_ends("nonce-changed: the nonce is wrong", "payload_damaged", bytes)
            .damaged(payload, archive.len())
    }

    fn description_stanzas(&self) -> Vec<Vector> {
        let layers = self.small();
        let plaintext = layers.plaintext();
        let one = layers.description.to_string();
        let mut later = layers.clone();
        later.set("format_version", &json!(2));
        let two = later.description.to_string();
        let made = |title, kind, stanzas| {
            Vector::failure_for_all(title, kind, self.seal_with(vec![], stanzas, &plaintext))
        };
        let damaged = |title, args: &[&str], body: &str| {
            made(title, "header_damaged", vec![stanza("etcd-snapshot", args, body.as_bytes())])
        };
        let twice = vec![description_stanza(one.as_bytes()), description_stanza(one.as_bytes())];
        vec![
            made("description-twice: two description stanzas", "header_damaged", twice),
            damaged("stanza-without-version: the stanza has no argument", &[], &one),
            damaged("stanza-more-arguments: the stanza has two arguments", &["v1", "x"], &one),
            damaged("stanza-version-no-number: the argument is no version", &["v1x"], &one),
            damaged("stanza-version-signed: the version has a sign", &["v+1"], &one),
            damaged("stanza-version-zeros: the version has a leading zero", &["v01"], &one),
            damaged("stanza-v1-document-2: stanza and document disagree on the version", &["v1"], &two),
            damaged("stanza-version-0: a version before the first", &["v0"], &one),
            damaged("stanza-version-too-large: a version of 2^64", &["v18446744073709551616"], &one),
            Vector::failure_at_the_ends(
                "version-2-no-description: a later version that only the manifest tells",
                "format_newer",
                self.seal_with(vec![], vec![], &later.plaintext()),
            )
            .not_described(),
            Vector::failure_for_all(
                "stanzas-257: more stanzas than there may be, grease included",
                "header_damaged",
                self.seal_with(
                    (0..254).map(|_| stanza("a", &[], &[])).collect(),
                    vec![description_stanza(one.as_bytes())],
                    &plaintext,
                ),
            ),
        ]
    }

    /// Later versions, which the first line of a stanza alone tells, whatever else is wrong by the rules of version 1.
    pub(super) fn later_versions(&self) -> Vec<Vector> {
        let layers = self.small();
        let mut later = layers.clone();
        later.set("format_version", &json!(2));
        let (plaintext, two) = (layers.plaintext(), later.description.to_string());
        let deep = format!(r#"{{"later":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        let ours = |args: &[&str], body: &str| stanza("etcd-snapshot", args, body.as_bytes());
        let newer = |title, bytes| Vector::failure_for_all(title, "format_newer", bytes);
        let sealed = |title, stanzas| newer(title, self.seal_with(vec![], stanzas, &plaintext));
        let version_2 = self.seal_with(vec![], vec![ours(&["v2"], &two)], &later.plaintext());
        let changed_mac = other_letter(&version_2, mac_at(&version_2) + 4);
        let line = version_2.windows(20).position(|window| window == b"-> etcd-snapshot v2\n").unwrap();
        let crowd = std::iter::repeat_with(|| stanza("a", &[], &[])).take(300);
        let first = description_stanza(layers.description.to_string().as_bytes());
        let mut scrypt = age::scrypt::Recipient::new(SecretString::from(PASSPHRASE));
        scrypt.set_work_factor(10);
        let with_passphrase = seal(&[&scrypt as &dyn Recipient], &plaintext);
        let mac = mac_at(&with_passphrase);
        let beside = [&with_passphrase[..mac], b"-> etcd-snapshot v3\n\n", &with_passphrase[mac..]].concat();
        vec![
            newer(
                "version-2-wrong-identity: a later version, opened with an identity it was not made for",
                version_2.clone(),
            )
            .with_key(SECOND_KEY),
            newer("version-2-mac-changed: a later version, and the MAC is wrong", changed_mac),
            newer("version-2-armored: a later version in armour", armor(&version_2)),
            newer(
                "version-2-cut: a later version, cut behind the line that tells it",
                version_2[..line + 20].to_vec(),
            ),
            newer("version-2-passphrase: a later version beside a passphrase", beside)
                .with_passphrase(PASSPHRASE)
                .look_fails("format_newer"),
            newer("version-2: a later version, which is no damage", version_2),
            sealed(
                "stanza-v2-document-1: a later version that the document does not repeat",
                vec![ours(&["v2"], &layers.description.to_string())],
            ),
            sealed("version-2-no-json: a later version without JSON", vec![ours(&["v2"], "two")]),
            sealed("version-2-depth: a later version, 101 levels deep", vec![ours(&["v2"], &deep)]),
            sealed(
                "version-2-number: a later version with a number beyond floating-point numbers",
                vec![ours(&["v2"], r#"{"format":"etcd-seal","format_version":2,"x":1e400}"#)],
            ),
            sealed(
                "version-2-more-arguments: a later version with a further argument",
                vec![ours(&["v2", "x"], &two)],
            ),
            sealed("version-2-twice: descriptions of two versions", vec![first, ours(&["v2"], &two)]),
            sealed(
                "version-2-302-stanzas: a later version with more stanzas than version 1 may have",
                crowd.chain([ours(&["v2"], &two)]).collect(),
            ),
            sealed("version-largest: the largest version", vec![ours(&["v18446744073709551615"], &two)]),
        ]
    }

    /// Recipients' stanzas of a type that is known, but of another form.
    fn malformed_recipients(&self) -> Vec<Vector> {
        let layers = self.small();
        let plaintext = layers.plaintext();
        let short = || stanza("X25519", &["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"], &[0; 32]);
        let ours = || description_stanza(layers.description.to_string().as_bytes());
        let nobody = seal(&[&NoStanza(ours) as &dyn Recipient], &plaintext);
        vec![
            Vector::success(
                "recipient-malformed-after: a malformed stanza behind the one that opens, which is not looked at",
                &layers,
                self.seal_with(vec![], vec![short(), ours()], &plaintext),
            )
            .stanzas(&["X25519", "X25519"]),
            Vector::failure_at_the_ends(
                "recipient-malformed-before: a malformed stanza before the one that opens",
                "header_damaged",
                self.seal_with(vec![short()], vec![ours()], &plaintext),
            )
            .stanzas(&["X25519", "X25519"]),
            Vector::failure_at_the_ends(
                "recipient-none: a description and no recipient",
                "no_matching_identity",
                nobody,
            )
            .stanzas(&[]),
        ]
    }

    fn descriptions(&self) -> Vec<Vector> {
        let long = self.with_description_of(2049);
        let layers = self.small();
        let text = layers.description.to_string();
        let damaged = |title, description: &[u8]| {
            let bytes = self.seal_described(description, &layers.plaintext());
            Vector::failure_for_all(title, "header_damaged", bytes)
        };
        let twice = text.replacen('{', r#"{"cluster_name":"vectors","#, 1);
        let frame_size = text.replace(r#""frame_size":65536"#, r#""frame_size":65537"#);
        let no_source = text.replace(r#""source":"etcd","#, "");
        vec![
            Vector::failure_for_all(
                "description-2049-bytes: a larger description than there may be",
                "header_damaged",
                self.archive(&long),
            ),
            damaged("description-no-json: a description that is no JSON", b"prod"),
            damaged("description-empty: an empty description", b""),
            damaged("description-duplicate-key: a key twice in the description", twice.as_bytes()),
            damaged("description-frame-size: an impossible frame_size", frame_size.as_bytes()),
            damaged("description-field-missing: a field of the description is missing", no_source.as_bytes()),
        ]
    }

    fn passphrases(&self) -> Vec<Vector> {
        let layers = self.small();
        let mut recipient = age::scrypt::Recipient::new(SecretString::from(PASSPHRASE));
        recipient.set_work_factor(10);
        let archive = seal(&[&recipient as &dyn Recipient], &layers.plaintext());
        let mac = mac_at(&archive);
        let description = body_lines(layers.description.to_string().as_bytes());
        let stanza = format!("-> etcd-snapshot v1\n{description}\n");
        let described = [&archive[..mac], stanza.as_bytes(), &archive[mac..]].concat();
        let no_match = "no_matching_identity";
        vec![
            Vector::failure_at_the_ends("passphrase-wrong: another passphrase", no_match, archive.clone())
                .with_passphrase("correct horse battery stapler"),
            Vector::failure_at_the_ends(
                "passphrase-work-factor: a work factor beyond what is tried: refused before any work",
                no_match,
                replaced(&archive, " 10\n", " 31\n"),
            )
            .with_passphrase(PASSPHRASE),
            Vector::failure_for_all(
                "passphrase-described: a description beside a scrypt stanza, which must be alone",
                "header_damaged",
                described,
            )
            .with_passphrase(PASSPHRASE),
        ]
    }

    fn armored(&self) -> Vec<Vector> {
        let layers = self.small();
        let archive = self.archive(&layers);
        let bare = self.seal_with(vec![], vec![], &layers.plaintext());
        vec![
            Vector::failure_for_all(
                "armored: one of ours in armour, which it must not be",
                "not_an_archive",
                armor(&archive),
            ),
            Vector::failure(
                "armored-no-description: one of ours in armour; without a description only the manifest gives it away",
                "structure_damaged",
                armor(&bare),
            )
            .inspect_fails("structure_damaged")
            .not_described(),
        ]
    }

    pub(super) fn large_headers(&self) -> Vec<Vector> {
        let layers = self.small();
        let filler = |size| vec![stanza("a", &[], &vec![0; size])];
        let ours = || vec![description_stanza(layers.description.to_string().as_bytes())];
        // 48 bytes become a line of 65.
        let large = self.seal_with(filler(190_000), ours(), &layers.plaintext());
        let too_large = self.seal_with(filler(194_000), ours(), &layers.plaintext());
        assert!(nonce_at(&large) <= 256 * 1024 && nonce_at(&too_large) > 256 * 1024);
        vec![
            Vector::success("header-large: nearly the largest header", &layers, large)
                .stanzas(&["a", "X25519"]),
            Vector::failure_for_all("header-too-large: too large a header", "header_damaged", too_large),
        ]
    }
}

/// A recipient without a stanza of its own.
struct NoStanza<F>(F);

impl<F: Fn() -> Stanza> Recipient for NoStanza<F> {
    fn wrap_file_key(&self, _: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        Ok((vec![self.0()], HashSet::new()))
    }
}

/// Another letter of Base64 at a place that has one.
fn other_letter(file: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = file.to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    bytes
}

fn replaced(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = file.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    let mut bytes = file.to_vec();
    bytes.splice(at..at + from.len(), to.bytes());
    bytes
}
