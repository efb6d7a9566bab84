//! Connects the age crate's callbacks to our [`Prompt`](super::Prompt).
use super::SharedPrompt;
use super::text::plain;
use crate::error::{Error, Kind};
use secrecy::SecretString;
use std::sync::{Arc, Mutex, PoisonError};

/// Passes on a plugin's questions, and remembers why a question could not be asked: age's callbacks can only return
/// `None`, and "no terminal" must not turn into "no identity matched".
#[derive(Clone)]
pub(super) struct Callbacks {
    prompt: SharedPrompt,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Callbacks {
    pub(super) fn new(prompt: &SharedPrompt) -> Self {
        Self { prompt: Arc::clone(prompt), failure: Arc::default() }
    }

    /// Takes the first remembered failure since the last call.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn remember(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn no_terminal(&self, question: &str) {
        self.remember(Error::new(
            Kind::NoTerminal,
            format!("an age plugin asks \"{question}\" and there is no terminal to answer on"),
        ));
    }
}

impl age::Callbacks for Callbacks {
    fn display_message(&self, message: &str) {
        self.prompt.message(&plain(message));
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let message = plain(message);
        let answer = self.prompt.confirm(&message, &plain(yes), no.map(plain).as_deref());
        if answer.is_none() {
            self.no_terminal(&message);
        }
        answer
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        let description = plain(description);
        let answer = self.prompt.public(&description);
        if answer.is_none() {
            self.no_terminal(&description);
        }
        answer
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.prompt.plugin_secret(&plain(description)).map_err(|error| self.remember(error)).ok()
    }
}
