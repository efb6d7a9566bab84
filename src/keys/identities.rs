//! Who opens an archive.
use super::encrypted_file::EncryptedFile;
use super::plugin::PluginIdentities;
use super::ssh::{SshIdentity, UnwrapError};
use super::work_factor::{excessive_work, scrypt_identity};
use super::{KeyFile, SharedPrompt, identity_file};
use crate::error::{Error, Kind, Result};
use age::{DecryptError, Identity as _};
use age_core::format::{FileKey, Stanza};
use secrecy::SecretString;
use std::fmt;

/// Type of the stanza that a passphrase opens. It is alone in its header.
const SCRYPT: &str = "scrypt";

/// Any number of identities. Those that ask nobody are tried first, each group in the order given.
#[derive(Default)]
pub struct Identities {
    identities: Vec<Identity>,
}

/// One of them.
pub(super) enum Identity {
    X25519(age::x25519::Identity),
    Passphrase(age::scrypt::Identity),
    Ssh(SshIdentity),
    EncryptedFile(Box<EncryptedFile>),
    Plugin(PluginIdentities),
}

impl Identities {
    /// Parses identity files: age identities, passphrase-encrypted age identity files, ssh private keys, plugins.
    /// Asks for nothing yet.
    ///
    /// # Errors
    /// [`Kind::Identity`] for a file that is none of these, naming the file and line, never the content.
    pub fn parse(files: Vec<KeyFile>, prompt: &SharedPrompt, max_work_factor: u8) -> Result<Self> {
        let mut identities = Vec::new();
        for file in files {
            identities.extend(identity_file::parse(file, prompt, max_work_factor)?);
        }
        Ok(Self { identities })
    }

    /// A passphrase for a scrypt stanza.
    #[must_use]
    pub fn passphrase(passphrase: SecretString, max_work_factor: u8) -> Self {
        Self { identities: vec![Identity::Passphrase(scrypt_identity(passphrase, max_work_factor))] }
    }

    /// No identity at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Whether a passphrase is among them: only that opens a scrypt stanza.
    #[must_use]
    pub fn has_passphrase(&self) -> bool {
        self.identities.iter().any(|identity| matches!(identity, Identity::Passphrase(_)))
    }

    /// Tries every identity on the recipient stanzas of one header. `Ok(None)`: none of them matches, a wrong passphrase
    /// for a scrypt stanza included. The caller has removed stanzas that are no recipients; the header MAC is not yet
    /// checked.
    ///
    /// # Errors
    /// The first failure that tells more than "no match", if no identity succeeds:
    /// [`Kind::NoMatchingIdentity`] for a wrong passphrase of an identity or too high a work factor,
    /// [`Kind::NoTerminal`] for a passphrase that nobody could be asked for, [`Kind::Plugin`], or
    /// [`Kind::HeaderDamaged`] for a stanza that is malformed.
    pub fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>> {
        first_success(&self.identities, stanzas)
    }
}

/// Tries those that ask nobody first: no person is asked for what is not needed.
pub(super) fn first_success(identities: &[Identity], stanzas: &[Stanza]) -> Result<Option<FileKey>> {
    let (asking, silent): (Vec<_>, Vec<_>) = identities.iter().partition(|identity| identity.may_ask());
    let mut failure = None;
    for identity in silent.into_iter().chain(asking) {
        match identity.unwrap(stanzas) {
            Ok(None) => {}
            Err(error) if error.kind() != Kind::Interrupted => {
                failure.get_or_insert(error);
            }
            decided => return decided,
        }
    }
    failure.map_or(Ok(None), Err)
}

impl Identity {
    fn may_ask(&self) -> bool {
        match self {
            Self::X25519(_) | Self::Passphrase(_) => false,
            Self::Ssh(identity) => identity.may_ask(),
            Self::EncryptedFile(file) => file.may_ask(),
            Self::Plugin(_) => true,
        }
    }

    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>> {
        // A header with a scrypt stanza can be opened by its passphrase alone: ask for no other.
        let for_passphrase = stanzas.iter().any(|stanza| stanza.tag == SCRYPT);
        if stanzas.is_empty() || for_passphrase != matches!(self, Self::Passphrase(_)) {
            return Ok(None);
        }
        match self {
            Self::X25519(identity) => settle(identity.unwrap_stanzas(stanzas)),
            Self::Passphrase(identity) => settle(identity.unwrap_stanzas(stanzas)),
            Self::Ssh(identity) => match identity.unwrap(stanzas) {
                Ok(file_key) => Ok(file_key),
                Err(UnwrapError::Told(error)) => Err(error),
                Err(UnwrapError::Age(error)) => settle(Some(Err(error))),
            },
            Self::EncryptedFile(file) => file.unwrap(stanzas),
            Self::Plugin(identities) => identities.unwrap(stanzas),
        }
    }
}

/// The answer of an identity without plugin, in our words.
fn settle(answer: Option<Result<FileKey, DecryptError>>) -> Result<Option<FileKey>> {
    match answer {
        Some(Ok(file_key)) => Ok(Some(file_key)),
        Some(Err(DecryptError::ExcessiveWork { required, .. })) => {
            Err(excessive_work("the archive", required))
        }
        Some(Err(DecryptError::InvalidHeader)) => {
            Err(Error::new(Kind::HeaderDamaged, "a recipient stanza in the age header is malformed"))
        }
        // The wrong passphrase, or damage: nobody can tell which.
        Some(Err(_)) | None => Ok(None),
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identities").field("count", &self.identities.len()).finish_non_exhaustive()
    }
}
