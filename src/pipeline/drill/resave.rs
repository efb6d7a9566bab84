//! Saves and opens the drilled member with this program: the restored data can be backed up again.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use secrecy::ExposeSecret;

use crate::database::bolt::Database;
use crate::database::contents::DatabaseContents;
use crate::error::{Error, Result};
use crate::etcd::Connection;
use crate::keys::{Identities, Recipients, generate_identity};
use crate::pipeline::private_etcd::cluster::Site;
use crate::pipeline::seal::{Input, Seal};
use crate::pipeline::unseal::Unseal;
use crate::watch::Watch;

/// Saves the member at `connection` into the scratch directory for a throwaway key, opens that archive, and checks every
/// page of the database in it.
pub(super) fn save_and_open(
    connection: &Connection,
    site: &Site<'_>,
    jobs: usize,
    now: SystemTime,
) -> Result<DatabaseContents> {
    let Site { scratch, runtime, .. } = *site;
    let (identity, recipient) = generate_identity("for one drill");
    let recipients = Recipients::of([recipient])?;
    let identities = Identities::of(identity.expose_secret())?;

    let mut archive = scratch.create_file(Path::new("again.age"))?;
    let watch = Watch::silent(site.interrupt());
    let seal = Seal::new(&recipients, now).jobs(jobs).watch(watch.clone());
    seal.to_writer(Input::etcd_on(connection, runtime), &mut archive)?;

    let mut archive = read_again(archive.finish().map_err(cannot_read)?)?;
    let mut database = scratch.create_file(Path::new("again.db"))?;
    let unseal = Unseal::new(&identities).jobs(jobs).watch(watch);
    unseal.to_writer(&mut archive, &mut database)?;
    let database = database.finish().map_err(cannot_read)?;
    DatabaseContents::read(&Database::open(&database)?, site.interrupt())
}

fn read_again(mut file: File) -> Result<File> {
    file.seek(SeekFrom::Start(0)).map_err(cannot_read)?;
    Ok(file)
}

fn cannot_read(error: std::io::Error) -> Error {
    Error::io("write and read", "the scratch directory", error)
}
