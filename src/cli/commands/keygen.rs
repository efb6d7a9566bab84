//! `keygen`: makes an age identity.

use crate::cli::clock::now;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::Place;
use crate::cli::render::KeygenReport;
use crate::error::{Error, Kind, Result};
use crate::keys::generate_identity;
use clap::Args;
use secrecy::ExposeSecret;
use std::ffi::OsString;
use std::io::Write;

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArguments {
    /// Where to write the identity, for you alone to read (mode 0600); never replaced; - for standard output
    #[arg(short = 'o', long = "output", value_name = "FILE", required = true)]
    pub(crate) output: OsString,
}

/// The hint for an existing file: to replace a key is to lose every archive made for it.
const NEVER_REPLACED: &str = "name another file: an identity is never replaced, archives may depend on it";

pub(crate) fn run(arguments: &KeygenArguments, context: &Context) -> Result<Exit> {
    let place = Place::for_key(&arguments.output).map_err(never_replaced)?;
    let (identity, recipient) = generate_identity(&now()?.to_string());
    let mut output = place.begin().map_err(never_replaced)?;
    let written = output.write_all(identity.expose_secret().as_bytes());
    written.map_err(|error| Error::io("write", arguments.output.display(), error))?;
    let published = output.publish(None, &context.interrupt).map_err(never_replaced)?;
    context.reporter.result(&KeygenReport::new(recipient, published))
}

/// Replaces the usual hint, which names `--force`; that flag does not exist for keys.
fn never_replaced(error: Error) -> Error {
    if error.kind() == Kind::DestinationExists { error.with_hint(NEVER_REPLACED) } else { error }
}
