//! The identities that open an archive.
use super::attempt::{Attempt, first_success};
use super::identity::Identity;
use super::work_factor::{DEFAULT_MAX_WORK_FACTOR, scrypt_identity};
use super::{KeyFile, NoPrompt, SharedPrompt};
use crate::error::Result;
use age_core::format::{FileKey, Stanza};
use secrecy::SecretString;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Any number of identities. Identities that need no answer are tried first, each group in the order given.
#[derive(Default)]
pub struct Identities {
    identities: Vec<Named>,
}

/// An identity and where it comes from, which the log tells once it opens an archive.
struct Named {
    origin: String,
    identity: Identity,
}

impl Attempt for Named {
    fn may_ask(&self) -> bool {
        self.identity.may_ask()
    }

    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>> {
        let unwrapped = self.identity.unwrap(stanzas)?;
        let outcome = if unwrapped.is_some() { "opens the archive" } else { "is for none of its recipients" };
        tracing::debug!("{} {outcome}", self.origin);
        Ok(unwrapped)
    }
}

impl Identities {
    /// Parses identity files: age identities, passphrase-encrypted age identity files, ssh private keys, plugins.
    /// It asks for no passphrase yet.
    ///
    /// # Errors
    /// [`Kind::Identity`](crate::Kind::Identity) for a file that is none of these, naming the file and line, never the content.
    pub fn parse(files: Vec<KeyFile>, prompt: &SharedPrompt, max_work_factor: u8) -> Result<Self> {
        let mut identities = Vec::new();
        for file in files {
            let origin = format!("the identity in {}", file.name);
            let parsed = Identity::parse(file, prompt, max_work_factor)?;
            identities.extend(parsed.into_iter().map(|identity| Named { origin: origin.clone(), identity }));
        }
        Ok(Self { identities })
    }

    /// The identities in the text of an identity file. One that needs a passphrase or the answer of a user opens nothing.
    ///
    /// # Errors
    /// The errors of [`Self::parse`].
    pub fn of(text: &str) -> Result<Self> {
        let text = Zeroizing::new(text.as_bytes().to_vec());
        let file = KeyFile { name: "the identity".to_owned(), text };
        Self::parse(vec![file], &(Arc::new(NoPrompt) as SharedPrompt), DEFAULT_MAX_WORK_FACTOR)
    }

    /// A passphrase for a scrypt stanza.
    #[must_use]
    pub fn passphrase(passphrase: SecretString, max_work_factor: u8) -> Self {
        let identity = Identity::Passphrase(scrypt_identity(passphrase, max_work_factor));
        Self { identities: vec![Named { origin: "the passphrase".to_owned(), identity }] }
    }

    /// Whether there is no identity.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Whether a passphrase is among them; only a passphrase opens a scrypt stanza.
    #[must_use]
    pub fn has_passphrase(&self) -> bool {
        self.identities.iter().any(|identity| matches!(identity.identity, Identity::Passphrase(_)))
    }

    /// Tries every identity on the recipient stanzas of one header. `Ok(None)`: none of them matches, which includes a wrong
    /// passphrase for a scrypt stanza. The caller has removed stanzas that are no recipients; the header MAC is not yet
    /// checked.
    ///
    /// # Errors
    /// If no identity succeeds, the first failure that tells more than "no match":
    /// [`Kind::NoMatchingIdentity`](crate::Kind::NoMatchingIdentity) for a wrong passphrase of an identity or too high a
    /// work factor, [`Kind::NoTerminal`](crate::Kind::NoTerminal) for a passphrase without a terminal to ask on,
    /// [`Kind::Plugin`](crate::Kind::Plugin), or [`Kind::HeaderDamaged`](crate::Kind::HeaderDamaged) for a malformed stanza.
    pub fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>> {
        first_success(&self.identities, stanzas)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identities").field("count", &self.identities.len()).finish_non_exhaustive()
    }
}
