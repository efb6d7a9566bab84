//! Identities of age plugins.
use super::SharedPrompt;
use super::callbacks::Callbacks;
use super::text::plain;
use crate::error::{Error, Kind};
use age::plugin::{IdentityPluginV1, ResolveError};
use age::{DecryptError, Identity as _};
use age_core::format::{FileKey, Stanza};

/// All identities of one plugin in one file. The plugin decides which stanzas they open.
pub(super) struct PluginIdentities {
    callbacks: Callbacks,
    /// A missing plugin is an error only when it is needed: another identity may open the archive.
    plugin: Result<IdentityPluginV1<Callbacks>, ResolveError>,
    file: String,
}

impl PluginIdentities {
    /// The identities of the plugin called `name` among `identities`, which were read from `file`.
    pub(super) fn new(
        name: &str,
        identities: &[age::plugin::Identity],
        file: &str,
        prompt: &SharedPrompt,
    ) -> Self {
        let callbacks = Callbacks::new(prompt);
        let plugin = IdentityPluginV1::new(name, identities, callbacks.clone());
        Self { callbacks, plugin, file: file.to_owned() }
    }

    /// Runs the plugin.
    pub(super) fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, Error> {
        let plugin = self
            .plugin
            .as_ref()
            .map_err(|error| missing(error, Kind::Plugin, &format!("identity file {}", self.file)))?;
        self.callbacks.take_failure();
        let error = match plugin.unwrap_stanzas(stanzas) {
            Some(Ok(file_key)) => return Ok(Some(file_key)),
            Some(Err(error)) => Some(failed(&error)),
            None => None,
        };
        // An unanswered question explains more than the plugin's own error.
        self.callbacks.take_failure().or(error).map_or(Ok(None), Err)
    }
}

/// The error where `what` needs a plugin that is missing.
pub(super) fn missing(error: &ResolveError, kind: Kind, what: &str) -> Error {
    let ResolveError::MissingPlugin { binary_name } = error else {
        return Error::new(kind, format!("{what} names an age plugin that cannot exist"));
    };
    let hint = match binary_name.as_str() {
        "age-plugin-pq" => "install age-plugin-pq, which comes with age 1.3, and put it on PATH".to_owned(),
        _ => format!("install {binary_name} and put it on PATH"),
    };
    Error::new(kind, format!("{what} needs the program {binary_name}, which is not on PATH")).with_hint(hint)
}

fn failed(error: &DecryptError) -> Error {
    Error::new(Kind::Plugin, format!("age plugin failed: {}", plain(&error.to_string())))
}
