//! Encryption by the age crate alone. The description goes in as a stanza of a recipient, as any age library allows.

use std::collections::HashSet;
use std::io::Write as _;

use age::armor::{ArmoredWriter, Format};
use age::{EncryptError, Encryptor, Recipient};
use age_core::format::{FileKey, Stanza};

/// Bytes of the nonce between header and payload.
pub(crate) const NONCE_SIZE: usize = 16;
/// A whole chunk and its tag.
pub(crate) const SEALED_CHUNK_SIZE: usize = 65_536 + 16;

/// A recipient with more stanzas around its own.
pub(crate) struct With<'a> {
    pub before: Vec<Stanza>,
    pub recipient: &'a dyn Recipient,
    pub after: Vec<Stanza>,
}

impl Recipient for With<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let (own, labels) = self.recipient.wrap_file_key(file_key)?;
        let mut stanzas: Vec<Stanza> = self.before.iter().map(copied).collect();
        stanzas.extend(own);
        stanzas.extend(self.after.iter().map(copied));
        Ok((stanzas, labels))
    }
}

/// The age crate's stanzas cannot be cloned.
fn copied(stanza: &Stanza) -> Stanza {
    Stanza { tag: stanza.tag.clone(), args: stanza.args.clone(), body: stanza.body.clone() }
}

pub(crate) fn stanza(tag: &str, args: &[&str], body: &[u8]) -> Stanza {
    Stanza {
        tag: tag.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        body: body.to_vec(),
    }
}

/// The description stanza as it should be.
pub(crate) fn description_stanza(description: &[u8]) -> Stanza {
    stanza("etcd-snapshot", &["v1"], description)
}

/// An age file. The crate adds one grease stanza at the end unless the recipient is a passphrase.
pub(crate) fn seal(recipients: &[&dyn Recipient], plaintext: &[u8]) -> Vec<u8> {
    seal_as(recipients, plaintext, Format::Binary)
}

pub(crate) fn seal_as(recipients: &[&dyn Recipient], plaintext: &[u8], format: Format) -> Vec<u8> {
    let encryptor = Encryptor::with_recipients(recipients.iter().copied()).unwrap();
    let output = ArmoredWriter::wrap_output(Vec::new(), format).unwrap();
    let mut writer = encryptor.wrap_output(output).unwrap();
    writer.write_all(plaintext).unwrap();
    writer.finish().unwrap().finish().unwrap()
}

/// The same file with ASCII armour around it.
pub(crate) fn armor(file: &[u8]) -> Vec<u8> {
    let mut writer = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap();
    writer.write_all(file).unwrap();
    writer.finish().unwrap()
}

/// Where the MAC line begins.
pub(crate) fn mac_at(file: &[u8]) -> usize {
    file.windows(5).position(|window| window == b"\n--- ").unwrap() + 1
}

/// Where the nonce begins: behind `--- `, 43 characters and the end of the line.
pub(crate) fn nonce_at(file: &[u8]) -> usize {
    mac_at(file) + 4 + 43 + 1
}

/// Where the payload begins.
pub(crate) fn payload_at(file: &[u8]) -> usize {
    nonce_at(file) + NONCE_SIZE
}

/// The body of a stanza as it stands in a header.
pub(crate) fn body_lines(body: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in body.chunks(3) {
        let mut bytes = [0; 4];
        bytes[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bytes);
        for digit in 0..=group.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    let mut lines = String::new();
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines
}
