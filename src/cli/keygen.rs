//! `keygen`: makes an age identity.

use super::args::KeygenArguments;
use super::exit::Exit;
use super::output::Place;
use super::report::KeygenReport;
use super::{Context, now};
use crate::error::{Error, Kind, Result};
use crate::keys::generate_identity;
use secrecy::ExposeSecret;
use std::io::Write;

/// The hint for an existing file: to replace a key is to lose every archive made for it.
const NEVER_REPLACED: &str = "name another file: an identity is never replaced, archives may depend on it";

pub(super) fn run(words: &KeygenArguments, context: &Context) -> Result<Exit> {
    let place = Place::for_key(&words.output).map_err(never_replaced)?;
    let (identity, recipient) = generate_identity(&now()?.to_string());
    let mut output = place.begin()?;
    let written = output.write_all(identity.expose_secret().as_bytes());
    written.map_err(|error| Error::io("write", words.output.display(), error))?;
    let published = output.publish(None, &context.interrupt).map_err(never_replaced)?;
    context.reporter.result(&KeygenReport::new(recipient, published))
}

/// Replaces the usual hint, which names `--force`; that flag does not exist for keys.
fn never_replaced(error: Error) -> Error {
    if error.kind() == Kind::DestinationExists { error.with_hint(NEVER_REPLACED) } else { error }
}
