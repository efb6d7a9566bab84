//! Tests that need no other program; tests with real tools are in `tests/keys_*.rs`.

mod identities;
mod recipients;

use super::{KeyFile, Prompt, SharedPrompt};
use crate::error::{Error, Kind, Result};
use age_core::format::FileKey;
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// Answers every question for a secret with the same passphrase, and counts the questions.
pub(super) struct Answering {
    passphrase: Option<&'static str>,
    pub(super) asked: AtomicUsize,
}

impl Answering {
    pub(super) fn with(passphrase: &'static str) -> Arc<Self> {
        Arc::new(Self { passphrase: Some(passphrase), asked: AtomicUsize::new(0) })
    }

    /// A prompt without a terminal.
    pub(super) fn nothing() -> Arc<Self> {
        Arc::new(Self { passphrase: None, asked: AtomicUsize::new(0) })
    }

    pub(super) fn count(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Prompt for Answering {
    fn message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn public(&self, _: &str) -> Option<String> {
        None
    }

    fn secret(&self, text: &str) -> Result<SecretString> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.passphrase
            .map(SecretString::from)
            .ok_or_else(|| Error::new(Kind::NoTerminal, format!("no answer to: {text}")))
    }
}

pub(super) fn prompt(answering: &Arc<Answering>) -> SharedPrompt {
    Arc::<Answering>::clone(answering)
}

pub(super) fn file(name: &str, text: impl AsRef<[u8]>) -> KeyFile {
    KeyFile { name: name.to_owned(), text: Zeroizing::new(text.as_ref().to_vec()) }
}

pub(super) fn file_key() -> FileKey {
    FileKey::new(Box::new(*b"sixteen byte key"))
}

/// Fails if a message contains as much of a secret as it would show of a public string.
pub(super) fn assert_silent_about(error: &Error, secret: &str) {
    let said = format!("{error} {} {error:?}", error.hint()).to_lowercase();
    let beginning: String = secret.to_lowercase().chars().take(18).collect();
    assert!(!said.contains(&beginning), "{said}");
    assert!(!said.contains(['\u{2068}', '\u{2069}']), "{said}");
}

#[test]
fn both_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<super::Recipients>();
    shared::<super::Identities>();
}
