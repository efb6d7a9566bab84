//! Saves and opens the drilled member with this program: the restored data can be backed up again.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::database::bolt::Database;
use crate::database::contents::DatabaseContents;
use crate::error::{Error, Kind, Result};
use crate::etcd::Connection;
use crate::interrupt::Interrupt;
use crate::keys::{
    DEFAULT_MAX_WORK_FACTOR, Identities, KeyFile, Prompt, Recipients, SharedPrompt, generate_identity,
};
use crate::pipeline::open::{self, open};
use crate::pipeline::seal::{Input, Seal};
use crate::store::scratch::Scratch;
use crate::watch::Watch;

/// Saves the member at `connection` into the scratch directory for a throwaway key, opens that archive, and checks every
/// page of the database in it.
pub(super) fn save_and_open(
    connection: &Connection,
    scratch: &Scratch,
    runtime: &Handle,
    options: &open::Options,
    now: Timestamp,
    interrupt: &Interrupt,
) -> Result<DatabaseContents> {
    let prompt: SharedPrompt = Arc::new(Nobody);
    let (identity, recipient) = generate_identity(&now.to_string());
    let recipients = Recipients::parse(&[recipient], &[], &prompt)?;
    let text = Zeroizing::new(identity.expose_secret().as_bytes().to_vec());
    let file = KeyFile { name: "the key of the drill".to_owned(), text };
    let identities = Identities::parse(vec![file], &prompt, DEFAULT_MAX_WORK_FACTOR)?;

    let mut archive = scratch.create_file(Path::new("again.age"))?;
    let watch = Watch::silent(interrupt);
    let seal = Seal::new(&recipients, now.into()).jobs(options.jobs).watch(watch.clone());
    seal.to_writer(Input::etcd_on(connection, runtime), &mut archive)?;

    let mut archive = read_again(archive.finish().map_err(cannot_read)?)?;
    let mut database = scratch.create_file(Path::new("again.db"))?;
    let options = open::Options { allow_missing_digest: false, file_digest: false, ..options.clone() };
    open(&mut archive, &identities, &options, &mut database, &watch)?;
    let database = database.finish().map_err(cannot_read)?;
    DatabaseContents::read(&Database::open(&database)?, interrupt)
}

fn read_again(mut file: File) -> Result<File> {
    file.seek(SeekFrom::Start(0)).map_err(cannot_read)?;
    Ok(file)
}

fn cannot_read(error: std::io::Error) -> Error {
    Error::io("write and read", "the scratch directory", error)
}

/// A prompt for a fresh key, which needs no answers.
struct Nobody;

impl Prompt for Nobody {
    fn message(&self, _text: &str) {}

    fn confirm(&self, _text: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    fn public(&self, _text: &str) -> Option<String> {
        None
    }

    fn secret(&self, _text: &str) -> Result<SecretString> {
        Err(Error::new(Kind::NoTerminal, "there is nobody to ask"))
    }
}
