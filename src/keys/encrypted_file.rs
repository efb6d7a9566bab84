//! Identity files encrypted with a passphrase, as `age-keygen | age -p` makes them.
use super::attempt::{Attempt, first_success};
use super::identity_lines::{LineIdentity, parse_lines};
use super::work_factor::{excessive_work, scrypt_identity};
use super::{AGE_BEGIN, ARMOR_BEGIN, KeyFile, SharedPrompt};
use crate::error::{Error, Kind, Result};
use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor};
use age_core::format::{FileKey, Stanza};
use std::io::{BufReader, Read};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

type Ciphertext<'a> = Decryptor<ArmoredReader<BufReader<&'a [u8]>>>;

/// An encrypted identity file. It asks for its passphrase at most once, when it is first needed.
pub(super) struct EncryptedFile {
    file: KeyFile,
    prompt: SharedPrompt,
    max_work_factor: u8,
    opened: OnceLock<Result<Vec<LineIdentity>>>,
}

impl EncryptedFile {
    /// Whether the file is an age file at all.
    pub(super) fn is_one(file: &KeyFile) -> bool {
        let text = file.content().trim_ascii_start();
        [AGE_BEGIN, ARMOR_BEGIN].iter().any(|begin| text.starts_with(begin.as_bytes()))
    }

    /// Checks everything that does not need the passphrase.
    pub(super) fn parse(file: KeyFile, prompt: &SharedPrompt, max_work_factor: u8) -> Result<Self> {
        if !ciphertext(&file)?.is_scrypt() {
            return Err(Error::new(
                Kind::Identity,
                format!("identity file {} is an age file that is not encrypted with a passphrase", file.name),
            )
            .with_hint("decrypt it first with `age -d`, or name the identity file instead of an archive"));
        }
        Ok(Self { file, prompt: Arc::clone(prompt), max_work_factor, opened: OnceLock::new() })
    }

    fn open(&self) -> Result<Vec<LineIdentity>> {
        let name = &self.file.name;
        let passphrase = self.prompt.secret(&format!("passphrase for identity file {name}"))?;
        let passphrase = scrypt_identity(passphrase, self.max_work_factor);
        let mut plaintext = ciphertext(&self.file)?
            .decrypt(std::iter::once(&passphrase as _))
            .map_err(|error| cannot_open(name, &error))?;
        // The plaintext is shorter than the ciphertext, so the buffer never grows, which would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(self.file.content().len()));
        plaintext.read_to_end(&mut text).map_err(|_| damaged(name))?;
        parse_lines(&KeyFile { name: name.clone(), text }, &self.prompt)
    }
}

impl Attempt for EncryptedFile {
    /// Whether the passphrase is still to be asked for.
    fn may_ask(&self) -> bool {
        self.opened.get().is_none()
    }

    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>> {
        let opened = self.opened.get_or_init(|| self.open()).as_ref();
        first_success(opened.map_err(Error::repeat)?, stanzas)
    }
}

fn ciphertext(file: &KeyFile) -> Result<Ciphertext<'_>> {
    Decryptor::new_buffered(ArmoredReader::new(file.content().trim_ascii_start())).map_err(
        |error| match error {
            DecryptError::UnknownFormat => Error::new(
                Kind::Identity,
                format!("identity file {} is of a newer version of age's format", file.name),
            )
            .with_hint("decrypt it with the age that made it"),
            _ => damaged(&file.name),
        },
    )
}

fn damaged(name: &str) -> Error {
    Error::new(Kind::Identity, format!("encrypted identity file {name} is damaged"))
        .with_hint("fetch another copy of that file, or use another identity")
}

fn cannot_open(name: &str, error: &DecryptError) -> Error {
    match error {
        DecryptError::ExcessiveWork { required, .. } => {
            excessive_work(&format!("identity file {name}"), *required)
        }
        DecryptError::DecryptionFailed | DecryptError::NoMatchingKeys => {
            Error::new(Kind::NoMatchingIdentity, format!("wrong passphrase for identity file {name}"))
                .with_hint("run it again with the passphrase of that file, or with another identity")
        }
        _ => damaged(name),
    }
}
