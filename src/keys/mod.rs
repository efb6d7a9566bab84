//! Recipients and identities: who can open an archive, and how to open it.
//!
//! Everything here is age's own, read from text that the caller provides. Nothing in this room opens a file, prompts or
//! prints: questions go through [`Prompt`], and no error text or `Debug` output contains key material.

mod attempt;
mod callbacks;
mod encrypted_file;
mod generate;
pub mod identities;
mod identity;
mod identity_lines;
mod plugin;
mod recipient;
pub mod recipients;
mod refusal;
mod ssh;
mod text;
mod work_factor;

use crate::error::Result;
use secrecy::SecretString;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

pub use generate::generate_identity;
pub use identities::Identities;
pub use recipients::Recipients;
pub use text::is_private_key;
pub(crate) use text::{AGE_BEGIN, ARMOR_BEGIN};
pub use work_factor::{DEFAULT_MAX_WORK_FACTOR, HIGHEST_WORK_FACTOR, WORK_FACTOR};

/// Bytes that a recipient or identity file may have: age's own limit, 16 MiB. The caller holds to it while reading.
pub const KEY_FILE_SIZE_LIMIT: u64 = 1 << 24;

/// How to ask a person. Implemented by the program (on /dev/tty); the library never prompts by itself.
///
/// Texts are one line without a final colon. Those that come from a plugin have been stripped of control characters.
pub trait Prompt: Send + Sync {
    /// Shows a message, such as "touch your key".
    fn message(&self, text: &str);
    /// Asks yes or no; `None` when nobody can be asked.
    fn confirm(&self, text: &str, yes: &str, no: Option<&str>) -> Option<bool>;
    /// Asks for something that is no secret; `None` when nobody can be asked.
    fn public(&self, text: &str) -> Option<String>;
    /// Asks for a secret without echo.
    ///
    /// # Errors
    /// [`Kind::NoTerminal`](crate::error::Kind::NoTerminal) when nobody can be asked.
    fn secret(&self, text: &str) -> Result<SecretString>;
    /// The same for a plugin, which may ask for the PIN of a token that locks itself after a few wrong ones: a
    /// passphrase prepared for something else is no answer.
    ///
    /// # Errors
    /// Those of [`Self::secret`].
    fn plugin_secret(&self, text: &str) -> Result<SecretString> {
        self.secret(text)
    }
}

/// A [`Prompt`] that can be handed around.
pub type SharedPrompt = Arc<dyn Prompt>;

/// The text of a key file and what to call it in messages.
pub struct KeyFile {
    /// The path as given, or "standard input".
    pub name: String,
    /// The whole content.
    pub text: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyFile").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
