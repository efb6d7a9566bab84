//! The data directory of a dead member as the source of `save` and `restore`.

use super::tether;
use crate::cli::context::Context;
use crate::cli::settings::data_directory::DataDirectorySettings;
use crate::error::Result;
use crate::pipeline::private_etcd::Program;
use crate::pipeline::salvage::{Salvage, Salvaged};
use crate::store::data_dir::DataDirectory;

/// Makes a snapshot of the data directory.
pub(super) fn salvage(settings: &DataDirectorySettings, context: &Context) -> Result<Salvaged> {
    let source = DataDirectory::open(&settings.path, settings.wal_dir.as_deref())?;
    described(settings, context).run(source)
}

/// Checks what can be checked without a copy.
pub(super) fn check(settings: &DataDirectorySettings, context: &Context) -> Result<DataDirectory> {
    let source = DataDirectory::open(&settings.path, settings.wal_dir.as_deref())?;
    described(settings, context).check(&source)?;
    Ok(source)
}

fn described<'a>(settings: &'a DataDirectorySettings, context: &'a Context) -> Salvage<'a> {
    let etcd = &settings.etcd;
    let (search_path, launcher) = (etcd.search_path.clone(), tether::launcher());
    Salvage {
        program: Program { etcd: etcd.etcd.clone(), launcher, search_path },
        timeout: settings.timeout,
        scratch: &etcd.scratch,
        runtime: &context.runtime,
        watch: context.watch("copying"),
    }
}
