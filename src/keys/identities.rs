//! Who opens an archive.
use super::{KeyFile, SharedPrompt};
use crate::error::Result;
use age_core::format::{FileKey, Stanza};
use secrecy::SecretString;

/// Any number of identities, tried in order.
#[derive(Default)]
pub struct Identities {
    _private: (),
}

impl Identities {
    /// Parses identity files: age identities, passphrase-encrypted age identity files, ssh private keys, plugins.
    pub fn parse(_files: Vec<KeyFile>, _prompt: &SharedPrompt, _max_work_factor: u8) -> Result<Self> {
        todo!()
    }
    /// A passphrase for a scrypt stanza.
    #[must_use]
    pub fn passphrase(_passphrase: SecretString, _max_work_factor: u8) -> Self {
        todo!()
    }
    /// No identity at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Tries every identity on the recipient stanzas of one header. `Ok(None)`: none of them matches.
    /// The caller has removed stanzas that are no recipients; the header MAC is not yet checked.
    pub fn unwrap(&self, _stanzas: &[Stanza]) -> Result<Option<FileKey>> {
        todo!()
    }
}

/// A new X25519 identity: the text of an identity file as `age-keygen` writes it, and its recipient.
/// `created` is the RFC 3339 time for the comment.
#[must_use]
pub fn generate_identity(_created: &str) -> (SecretString, String) {
    todo!()
}
