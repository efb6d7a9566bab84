//! What the tests of keys with real tools share.

use age_core::format::{FileKey, Stanza};
use etcd_seal::low_level::error::{Error, Kind, Result};
use etcd_seal::low_level::keys::{
    DEFAULT_MAX_WORK_FACTOR, Identities, KeyFile, Prompt, Recipients, SharedPrompt,
};
use harness::sandbox::Sandbox;
use secrecy::SecretString;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// What is sealed.
pub(crate) const PLAINTEXT: &[u8] = b"the keys of the kingdom";

/// A new ssh key pair; returns the path of the private half.
pub(crate) fn ssh_key(sandbox: &Sandbox, name: &str, arguments: &[&str]) -> PathBuf {
    let keygen = sandbox.program("ssh-keygen").args(["-q", "-C", "a comment", "-f", name]);
    keygen.args(arguments).succeed();
    sandbox.path(name)
}

/// Answers every question for a secret with the same passphrase, and counts.
pub(crate) struct Answering {
    passphrase: Option<&'static str>,
    asked: AtomicUsize,
}

impl Answering {
    pub(crate) fn with(passphrase: &'static str) -> Arc<Self> {
        Arc::new(Self { passphrase: Some(passphrase), asked: AtomicUsize::new(0) })
    }

    /// No user is there to answer.
    pub(crate) fn unattended() -> Arc<Self> {
        Arc::new(Self { passphrase: None, asked: AtomicUsize::new(0) })
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Prompt for Answering {
    fn message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        self.passphrase.map(|_| true)
    }

    fn public(&self, _: &str) -> Option<String> {
        self.passphrase.map(str::to_owned)
    }

    fn secret(&self, text: &str) -> Result<SecretString> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.passphrase
            .map(SecretString::from)
            .ok_or_else(|| Error::new(Kind::NoTerminal, format!("no user to ask: {text}")))
    }
}

pub(crate) fn shared(answering: &Arc<Answering>) -> SharedPrompt {
    Arc::<Answering>::clone(answering)
}

/// Reads a file as the program does.
pub(crate) fn key_file(path: &Path) -> KeyFile {
    let name = path.file_name().expect("name").to_string_lossy().into_owned();
    KeyFile { name, text: Zeroizing::new(std::fs::read(path).expect("key file")) }
}

pub(crate) fn recipients(paths: &[&Path]) -> Result<Recipients> {
    let files: Vec<_> = paths.iter().map(|path| key_file(path)).collect();
    Recipients::parse(&[], &files, &shared(&Answering::unattended()))
}

pub(crate) fn identities(paths: &[&Path], answering: &Arc<Answering>) -> Result<Identities> {
    let files = paths.iter().map(|path| key_file(path)).collect();
    Identities::parse(files, &shared(answering), DEFAULT_MAX_WORK_FACTOR)
}

/// Seals [`PLAINTEXT`].
pub(crate) fn seal(recipients: &Recipients) -> Result<Vec<u8>> {
    let encryptor =
        age::Encryptor::with_recipients(recipients.iter()).map_err(|error| recipients.explain(&error))?;
    let mut writer = encryptor.wrap_output(Vec::new()).expect("a buffer takes all");
    writer.write_all(PLAINTEXT).expect("a buffer takes all");
    Ok(writer.finish().expect("a buffer takes all"))
}

/// Opens a file as the program does: the stanzas go to [`Identities::unwrap`], all else is the age crate's.
pub(crate) fn open(sealed: &[u8], identities: &Identities) -> Result<Option<Vec<u8>>> {
    let tap = Tap { identities, failure: RefCell::new(None) };
    let decrypted =
        age::Decryptor::new_buffered(sealed).expect("an age file").decrypt(std::iter::once(&tap as _));
    if let Some(error) = tap.failure.into_inner() {
        return Err(error);
    }
    Ok(decrypted.ok().map(|mut reader| {
        let mut plaintext = Vec::new();
        reader.read_to_end(&mut plaintext).expect("sound payload");
        plaintext
    }))
}

struct Tap<'a> {
    identities: &'a Identities,
    failure: RefCell<Option<Error>>,
}

impl age::Identity for Tap<'_> {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        match self.identities.unwrap(stanzas) {
            Ok(file_key) => file_key.map(Ok),
            Err(error) => {
                self.failure.replace(Some(error));
                None
            }
        }
    }
}
