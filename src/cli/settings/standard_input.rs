//! Ensures that standard input is read only once.

use crate::error::{Error, Kind, Result};
use std::path::PathBuf;

/// The reader of standard input.
#[derive(Debug, Default)]
pub(crate) struct StandardInput {
    reader: Option<String>,
}

impl StandardInput {
    /// Claims standard input for `reader`, a flag with its value.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it is already claimed.
    pub(crate) fn claim(&mut self, reader: &str) -> Result<()> {
        if let Some(first) = &self.reader {
            return Err(Error::new(
                Kind::Usage,
                format!("standard input can be read once: {first} and {reader}"),
            )
            .with_hint("put one of them in a file"));
        }
        self.reader = Some(reader.to_owned());
        Ok(())
    }

    /// Claims standard input for every `-` among `paths`.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a second claim.
    pub(crate) fn claim_paths(&mut self, reader: &str, paths: &[PathBuf]) -> Result<()> {
        paths.iter().filter(|path| path.as_os_str() == "-").try_for_each(|_| self.claim(reader))
    }
}
