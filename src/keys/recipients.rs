//! The recipients that an archive is encrypted to.
use super::callbacks::Callbacks;
use super::plugin::missing;
use super::recipient::{self, BoxedRecipient, Recipient};
use super::refusal::Refusal;
use super::text::{plain, shortened};
use super::work_factor::WORK_FACTOR;
use super::{KeyFile, NoPrompt, SharedPrompt};
use crate::error::{Error, Kind, Result};
use age::EncryptError;
use age::plugin::RecipientPluginV1;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;

/// A non-empty set of recipients, or one passphrase.
pub struct Recipients {
    names: Vec<String>,
    /// Each entry wraps the file key for one recipient, or for all recipients of one plugin.
    wrapping: Vec<BoxedRecipient>,
    /// The callbacks of the plugins; `None` for a passphrase.
    callbacks: Option<Callbacks>,
}

impl Recipients {
    /// Parses `-r` strings and `-R` files. Drops duplicates.
    ///
    /// Files have one recipient per line; empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`Kind::Recipient`] for the first unusable recipient, naming the string or the file and line, but never anything
    /// that may be a private key; or for recipients that cannot be combined. [`Kind::NoRecipient`] without any.
    pub fn parse(strings: &[String], files: &[KeyFile], prompt: &SharedPrompt) -> Result<Self> {
        let mut collected = Collected::default();
        for string in strings {
            let string = string.trim_ascii();
            let parsed = recipient::parse(string).map_err(|refusal| refuse_string(string, &refusal))?;
            collected.add(parsed);
        }
        for file in files {
            collected.add_file(file)?;
        }
        if collected.names.is_empty() {
            return Err(Error::new(Kind::NoRecipient, "no recipient was given"));
        }
        check_combination(&collected.native)?;
        collected.with_plugins(Callbacks::new(prompt))
    }

    /// The recipients in `strings`: age1… strings or ssh public keys. An age plugin among them gets no answer.
    ///
    /// # Errors
    /// The errors of [`Self::parse`].
    pub fn of<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Result<Self> {
        let strings: Vec<String> = strings.into_iter().map(Into::into).collect();
        Self::parse(&strings, &[], &(Arc::new(NoPrompt) as SharedPrompt))
    }

    /// A passphrase as the only recipient, with work factor [`WORK_FACTOR`].
    ///
    /// # Errors
    /// [`Kind::Recipient`] for an empty passphrase.
    pub fn passphrase(passphrase: SecretString) -> Result<Self> {
        if passphrase.expose_secret().is_empty() {
            return Err(Error::new(Kind::Recipient, "the passphrase is empty").with_hint(
                "use several random words; is the file named by ETCD_SEAL_PASSPHRASE_FILE empty?",
            ));
        }
        let mut recipient = age::scrypt::Recipient::new(passphrase);
        recipient.set_work_factor(WORK_FACTOR);
        Ok(Self {
            names: vec!["passphrase".to_owned()],
            wrapping: vec![Box::new(recipient)],
            callbacks: None,
        })
    }

    /// The public strings as recorded in the manifest (`age1…`, `ssh-ed25519 SHA256:…`, plugin recipient, `passphrase`).
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is a passphrase, which allows no public stanza in the archive.
    #[must_use]
    pub fn is_passphrase(&self) -> bool {
        self.callbacks.is_none()
    }

    /// The age recipients in order, plugins last. All recipients of one plugin are one entry.
    pub fn iter(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.wrapping.iter().map(|recipient| recipient.as_ref() as &dyn age::Recipient)
    }

    /// Explains an error of `age::Encryptor::with_recipients` on these recipients.
    #[must_use]
    pub fn explain(&self, error: &EncryptError) -> Error {
        // An unanswered question explains more than the plugin's own error.
        self.callbacks.as_ref().and_then(Callbacks::take_failure).unwrap_or_else(|| explain(error))
    }
}

/// Recipients collected so far.
#[derive(Default)]
struct Collected {
    names: Vec<String>,
    native: Vec<BoxedRecipient>,
    of_plugins: Vec<age::plugin::Recipient>,
}

impl Collected {
    fn add(&mut self, recipient: Recipient) {
        let name = match &recipient {
            Recipient::Native { name, .. } => name.clone(),
            Recipient::Plugin(recipient) => recipient.to_string(),
        };
        // A name is canonical: it is the encoded key, or for ssh its type and a digest of it.
        if self.names.contains(&name) {
            return;
        }
        self.names.push(name);
        match recipient {
            Recipient::Native { recipient, .. } => self.native.push(recipient),
            Recipient::Plugin(recipient) => self.of_plugins.push(recipient),
        }
    }

    fn add_file(&mut self, file: &KeyFile) -> Result<()> {
        let mut found = false;
        for (index, line) in file.content().split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let parsed = std::str::from_utf8(line)
                .map_err(|_| Refusal::new("not text"))
                .and_then(recipient::parse)
                .map_err(|refusal| refuse_line(&file.name, index + 1, &refusal))?;
            self.add(parsed);
            found = true;
        }
        if found {
            return Ok(());
        }
        // An empty file is an error, as the user expects its recipients to open the archive.
        Err(Error::new(Kind::Recipient, format!("no recipients in {}", file.name)))
    }

    fn with_plugins(mut self, callbacks: Callbacks) -> Result<Recipients> {
        let mut plugins: Vec<&str> = Vec::new();
        for recipient in &self.of_plugins {
            let name = recipient.plugin();
            if plugins.contains(&name) {
                continue;
            }
            plugins.push(name);
            let plugin =
                RecipientPluginV1::new(name, &self.of_plugins, &[], callbacks.clone()).map_err(|error| {
                    missing(
                        &error,
                        Kind::Recipient,
                        &format!("recipient {}", shortened(&recipient.to_string())),
                    )
                })?;
            self.native.push(Box::new(plugin));
        }
        Ok(Recipients { names: self.names, wrapping: self.native, callbacks: Some(callbacks) })
    }
}

/// Checks whether recipients may be mixed, as age lets them forbid it. Plugins are left out: they may ask for a touch.
fn check_combination(native: &[BoxedRecipient]) -> Result<()> {
    if native.is_empty() {
        return Ok(());
    }
    let native = native.iter().map(|recipient| recipient.as_ref() as &dyn age::Recipient);
    age::Encryptor::with_recipients(native).map(drop).map_err(|error| explain(&error))
}

fn explain(error: &EncryptError) -> Error {
    match error {
        EncryptError::IncompatibleRecipients { .. } => {
            Error::new(Kind::Recipient, "some of the recipients cannot be used together").with_hint(
                "post-quantum recipients (age1tagpq…, age1pq…) cannot be mixed with others, which would undo \
                 their protection: use only such recipients, or none",
            )
        }
        EncryptError::PluginResolve(error) => missing(error, Kind::Recipient, "a recipient"),
        EncryptError::Plugin(_) | EncryptError::Io(_) => {
            Error::new(Kind::Plugin, format!("age plugin failed: {}", plain(&error.to_string())))
        }
        _ => Error::new(Kind::Recipient, plain(&error.to_string())),
    }
}

fn refuse_string(string: &str, refusal: &Refusal) -> Error {
    let message = if refusal.private || string.is_empty() {
        format!("a recipient given with -r is {}", if string.is_empty() { "empty" } else { &refusal.reason })
    } else {
        format!("recipient {} is {}", shortened(string), refusal.reason)
    };
    refused(message, refusal.hint)
}

fn refuse_line(file: &str, number: usize, refusal: &Refusal) -> Error {
    refused(format!("recipients file {file}: line {number} is {}", refusal.reason), refusal.hint)
}

fn refused(message: String, hint: Option<&str>) -> Error {
    let error = Error::new(Kind::Recipient, message);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recipients").field("names", &self.names).finish_non_exhaustive()
    }
}
