//! Whom an archive is encrypted to.
use super::{KeyFile, SharedPrompt};
use crate::error::Result;
use secrecy::SecretString;

/// A non-empty set of recipients, or one passphrase.
pub struct Recipients {
    _private: (),
}

impl Recipients {
    /// Parses `-r` strings and `-R` files. Duplicates are dropped.
    pub fn parse(_strings: &[String], _files: &[KeyFile], _prompt: &SharedPrompt) -> Result<Self> {
        todo!()
    }
    /// A passphrase alone, work factor 18.
    #[must_use]
    pub fn passphrase(_passphrase: SecretString) -> Self {
        todo!()
    }
    /// The public strings, as the manifest records them (`age1…`, `ssh-ed25519 SHA256:…`, plugin recipient, `passphrase`).
    #[must_use]
    pub fn names(&self) -> &[String] {
        todo!()
    }
    /// Whether it is a passphrase: then the archive can carry no public stanza.
    #[must_use]
    pub fn is_passphrase(&self) -> bool {
        todo!()
    }
    /// The age recipients, in order.
    pub fn iter(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        std::iter::empty()
    }
}
