//! One identity of any kind, and the parser of identity files.

use super::attempt::{Attempt, settle};
use super::encrypted_file::EncryptedFile;
use super::identity_lines::{LineIdentity, parse_lines};
use super::ssh::{SshIdentity, UnwrapError};
use super::{KeyFile, SharedPrompt};
use crate::error::{Error, Kind, Result};
use age::Identity as _;
use age_core::format::{FileKey, Stanza};

/// The type of the stanza that a passphrase opens. It stands alone in its header.
const SCRYPT: &str = "scrypt";

/// An identity that may open an archive.
pub(super) enum Identity {
    /// A line of an identity file.
    Line(LineIdentity),
    /// The passphrase of an archive.
    Passphrase(age::scrypt::Identity),
    /// An ssh private key.
    Ssh(SshIdentity),
    /// An identity file that is encrypted with a passphrase.
    EncryptedFile(Box<EncryptedFile>),
}

impl Identity {
    /// Reads a file of any kind: an encrypted identity file, an ssh private key, or age identities line by line.
    ///
    /// # Errors
    /// [`Kind::Identity`] for a file that is none of these.
    pub(super) fn parse(file: KeyFile, prompt: &SharedPrompt, max_work_factor: u8) -> Result<Vec<Self>> {
        if file.content().trim_ascii().is_empty() {
            return Err(Error::new(Kind::Identity, format!("identity file {} is empty", file.name)));
        }
        if EncryptedFile::is_one(&file) {
            let encrypted = EncryptedFile::parse(file, prompt, max_work_factor)?;
            return Ok(vec![Self::EncryptedFile(Box::new(encrypted))]);
        }
        if let Some(identity) = SshIdentity::parse(&file, prompt) {
            return Ok(vec![Self::Ssh(identity?)]);
        }
        Ok(parse_lines(&file, prompt)?.into_iter().map(Self::Line).collect())
    }
}

impl Attempt for Identity {
    fn may_ask(&self) -> bool {
        match self {
            Self::Line(identity) => identity.may_ask(),
            Self::Passphrase(_) => false,
            Self::Ssh(identity) => identity.may_ask(),
            Self::EncryptedFile(file) => file.may_ask(),
        }
    }

    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>> {
        // Only a passphrase opens a header with a scrypt stanza, so no other identity may ask for anything.
        let for_passphrase = stanzas.iter().any(|stanza| stanza.tag == SCRYPT);
        if stanzas.is_empty() || for_passphrase != matches!(self, Self::Passphrase(_)) {
            return Ok(None);
        }
        match self {
            Self::Line(identity) => identity.unwrap(stanzas),
            Self::Passphrase(identity) => settle(identity.unwrap_stanzas(stanzas)),
            Self::Ssh(identity) => match identity.unwrap(stanzas) {
                Ok(file_key) => Ok(file_key),
                Err(UnwrapError::Told(error)) => Err(error),
                Err(UnwrapError::Age(error)) => settle(Some(Err(error))),
            },
            Self::EncryptedFile(file) => file.unwrap(stanzas),
        }
    }
}
