//! `generate`: writes manual pages and completions from the one definition of the command line.

use super::args::{self, Generate};
use super::exit::Exit;
use super::man;
use super::report::put_on_stdout;
use crate::error::{Error, Kind, Result};
use std::path::Path;

pub(super) fn run(what: &Generate) -> Result<Exit> {
    match what {
        Generate::Man { directory } => write_pages(directory)?,
        Generate::Completions { shell } => put_on_stdout(&completions(*shell)?)?,
    }
    Ok(Exit::Done)
}

fn write_pages(directory: &Path) -> Result<()> {
    for (name, page) in man::pages() {
        let path = directory.join(name);
        std::fs::write(&path, page).map_err(|error| Error::io("write", path.display(), error))?;
    }
    Ok(())
}

fn completions(shell: clap_complete::Shell) -> Result<String> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "etcd-seal", &mut bytes);
    String::from_utf8(bytes)
        .map_err(|error| Error::new(Kind::Io, "the completions are not UTF-8").with_source(error))
}
