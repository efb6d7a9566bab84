//! ssh keys: public keys as recipients, private keys as identities.
use super::refusal::Refusal;
use super::{KeyFile, SharedPrompt};
use crate::error::{Error, Kind, Result};
use age::ssh::{EncryptedKey, ParseRecipientKeyError, UnsupportedKey};
use age::{DecryptError, Identity as _};
use age_core::format::{FileKey, Stanza};
use ssh_key::{Algorithm, HashAlg, PublicKey};
use std::sync::{Arc, OnceLock};

/// Most stanzas naming one key that are tried. A key's name has only 32 bits, so two keys may share a name by chance, but
/// hardly more; each attempt with an ssh-rsa key costs an RSA decryption, and a header has room for 256.
const ATTEMPTS_MAX: usize = 4;

/// The first lines of the two private key formats that OpenSSH has written.
const OPENSSH_BEGIN: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";
const PEM_RSA_BEGIN: &[u8] = b"-----BEGIN RSA PRIVATE KEY-----";

const USABLE_KINDS: &str = "only ssh-ed25519 and ssh-rsa keys can be encrypted to; remove this one, \
                            or make a key with `etcd-seal keygen`";

/// Parses a public key line (`ssh-ed25519 AAAA… comment`) into a recipient and its name, `ssh-ed25519 SHA256:…`.
/// `None` if it is no such line.
pub(super) fn parse_recipient(text: &str) -> Option<Result<(age::ssh::Recipient, String), Refusal>> {
    let mut fields = text.split_ascii_whitespace();
    let kind = fields.next()?;
    if !["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| kind.starts_with(prefix)) {
        return None;
    }
    if !matches!(kind, "ssh-ed25519" | "ssh-rsa") {
        return Some(Err(refuse_kind(kind)));
    }
    let line = format!("{kind} {}", fields.next().unwrap_or_default());
    Some(parse_public_key(&line))
}

/// Refuses a key type that cannot be encrypted to. Skipping it would lock its owner out of the archive.
fn refuse_kind(kind: &str) -> Refusal {
    let reason = match kind.parse() {
        Ok(Algorithm::Other(_)) | Err(_) => "an ssh key of a type that cannot be encrypted to".to_owned(),
        Ok(known) => format!("an {known} key, which cannot be encrypted to"),
    };
    Refusal::new(reason).with_hint(USABLE_KINDS)
}

/// The age crate ignores what follows the numbers of a key, but hashes it into the key's name in the archive, which then no
/// identity matches. `ssh_key` accepts only the exact form, so it parses the line first.
fn parse_public_key(line: &str) -> Result<(age::ssh::Recipient, String), Refusal> {
    let Ok(public) = PublicKey::from_openssh(line) else {
        return Err(Refusal::new("not a valid ssh public key").with_hint(USABLE_KINDS));
    };
    let recipient: age::ssh::Recipient = line.parse().map_err(|error| match error {
        ParseRecipientKeyError::RsaModulusTooSmall => {
            Refusal::new("an ssh-rsa key of less than 2048 bits, which is too weak").with_hint(USABLE_KINDS)
        }
        ParseRecipientKeyError::RsaModulusTooLarge => {
            Refusal::new("an ssh-rsa key of more than 4096 bits, which age does not support")
                .with_hint(USABLE_KINDS)
        }
        _ => Refusal::new("not a valid ssh public key").with_hint(USABLE_KINDS),
    })?;
    let name = format!("{} {}", public.algorithm(), public.fingerprint(HashAlg::Sha256));
    Ok((recipient, name))
}

/// An ssh private key, with or without a passphrase.
pub(super) struct SshIdentity {
    file: String,
    /// `ssh-ed25519` or `ssh-rsa`, the type of stanza that it may open.
    stanza_type: String,
    /// The first argument of such a stanza.
    stanza_tag: String,
    key: SshKey,
}

enum SshKey {
    Open(age::ssh::Identity),
    Locked { key: EncryptedKey, unlocked: OnceLock<Result<age::ssh::Identity>>, prompt: SharedPrompt },
}

impl SshIdentity {
    /// Reads a private key; `None` if the file has no format that OpenSSH writes.
    pub(super) fn parse(file: &KeyFile, prompt: &SharedPrompt) -> Option<Result<Self>> {
        let text = file.content().trim_ascii();
        (text.starts_with(OPENSSH_BEGIN) || text.starts_with(PEM_RSA_BEGIN))
            .then(|| Self::parse_private_key(&file.name, text, prompt))
    }

    fn parse_private_key(file: &str, text: &[u8], prompt: &SharedPrompt) -> Result<Self> {
        let damaged =
            || Error::new(Kind::Identity, format!("identity file {file} is a damaged ssh private key"));
        let identity = age::ssh::Identity::from_buffer(text, None).map_err(|_| damaged())?;
        if let age::ssh::Identity::Unsupported(reason) = &identity {
            return Err(unsupported(file, reason));
        }
        // The public key is readable even when the private key is locked.
        let recipient = age::ssh::Recipient::try_from(identity.clone()).map_err(|error| match error {
            ParseRecipientKeyError::Unsupported(kind) => unsupported(file, &UnsupportedKey::Type(kind)),
            ParseRecipientKeyError::RsaModulusTooLarge => Error::new(
                Kind::Identity,
                format!("identity file {file} is an ssh-rsa key of more than 4096 bits"),
            )
            .with_hint("age supports ssh-rsa keys of 2048 to 4096 bits; use another identity"),
            _ => damaged(),
        })?;
        let public = PublicKey::from_openssh(&recipient.to_string()).map_err(|_| damaged())?;
        let key = match identity {
            age::ssh::Identity::Encrypted(key) => {
                SshKey::Locked { key, unlocked: OnceLock::new(), prompt: Arc::clone(prompt) }
            }
            open => SshKey::Open(open),
        };
        Ok(Self {
            file: file.to_owned(),
            stanza_type: public.algorithm().as_str().to_owned(),
            stanza_tag: stanza_tag(public.fingerprint(HashAlg::Sha256).as_bytes()),
            key,
        })
    }

    /// Whether an attempt may ask for the passphrase.
    pub(super) fn may_ask(&self) -> bool {
        matches!(&self.key, SshKey::Locked { unlocked, .. } if unlocked.get().is_none())
    }

    /// Tries the stanzas that name this key. Asks for the passphrase at most once, and only if a stanza names the key.
    pub(super) fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, UnwrapError> {
        let mut mine = stanzas.iter().filter(|stanza| self.is_named_by(stanza)).peekable();
        if mine.peek().is_none() {
            return Ok(None);
        }
        let identity = self.unlock().map_err(|error| UnwrapError::Told(error.repeat()))?;
        let mut failure = None;
        for (attempts, stanza) in mine.enumerate() {
            if attempts == ATTEMPTS_MAX {
                return Err(UnwrapError::Told(self.named_too_often()));
            }
            match identity.unwrap_stanza(stanza) {
                Some(Ok(file_key)) => return Ok(Some(file_key)),
                Some(Err(error)) => failure = Some(error),
                None => {}
            }
        }
        failure.map_or(Ok(None), |error| Err(UnwrapError::Age(error)))
    }

    fn named_too_often(&self) -> Error {
        let (kind, file) = (&self.stanza_type, &self.file);
        Error::new(
            Kind::HeaderDamaged,
            format!(
                "more than {ATTEMPTS_MAX} stanzas of the header name the {kind} key {file}, and it opens none of them"
            ),
        )
    }

    fn is_named_by(&self, stanza: &Stanza) -> bool {
        stanza.tag == self.stanza_type && stanza.args.first() == Some(&self.stanza_tag)
    }

    fn unlock(&self) -> Result<&age::ssh::Identity, &Error> {
        match &self.key {
            SshKey::Open(identity) => Ok(identity),
            SshKey::Locked { key, unlocked, prompt } => {
                unlocked.get_or_init(|| ask_and_decrypt(&self.file, key, prompt)).as_ref()
            }
        }
    }
}

/// The reason why a matching identity gave no file key.
pub(super) enum UnwrapError {
    /// An error of this crate.
    Told(Error),
    /// An error of the age crate.
    Age(DecryptError),
}

fn ask_and_decrypt(file: &str, key: &EncryptedKey, prompt: &SharedPrompt) -> Result<age::ssh::Identity> {
    let passphrase = prompt.secret(&format!("passphrase for ssh key {file}"))?;
    key.decrypt(passphrase).map(age::ssh::Identity::from).map_err(|_| {
        Error::new(Kind::NoMatchingIdentity, format!("wrong passphrase for ssh key {file}"))
            .with_hint("run it again with the passphrase of that key, or with another identity")
    })
}

/// The name of an ssh key in a stanza: the first 4 bytes of the SHA-256 of the public key in ssh's wire format, in base64
/// without padding (<https://c2sp.org/age>, the ssh recipient types).
fn stanza_tag(public_key_sha256: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = public_key_sha256.iter().take(4).fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
    // 32 bits and 4 bits of padding make 6 digits.
    (0..6).rev().map(|digit| char::from(ALPHABET[(bits << 4) >> (6 * digit) & 63])).collect()
}

fn unsupported(file: &str, reason: &UnsupportedKey) -> Error {
    let (what, hint) = match reason {
        UnsupportedKey::EncryptedPem => (
            "is an ssh key in the old encrypted PEM format".to_owned(),
            format!("convert a copy of it to the OpenSSH format: ssh-keygen -p -f {file}"),
        ),
        UnsupportedKey::EncryptedSsh(cipher) => (
            format!("is an ssh key encrypted with {}", super::text::plain(cipher)),
            format!("encrypt a copy of it with the default cipher: ssh-keygen -p -Z aes256-ctr -f {file}"),
        ),
        UnsupportedKey::Hardware(kind) | UnsupportedKey::Type(kind) => (
            format!("is an ssh key of type {}", super::text::plain(kind)),
            "only ssh-ed25519 and ssh-rsa keys open archives; use another identity".to_owned(),
        ),
    };
    Error::new(Kind::Identity, format!("identity file {file} {what}, which age does not support"))
        .with_hint(hint)
}
