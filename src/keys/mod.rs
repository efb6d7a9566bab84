//! Recipients and identities: the keys that archives are encrypted to, and the keys that open them.
//!
//! All key types are age's own, read from text that the caller provides. This module opens no file, prompts for nothing and
//! prints nothing: questions go through [`Prompt`], and no error text or `Debug` output contains key material.

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

use crate::error::{Error, Kind, Result};
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

/// Most bytes of a recipient or identity file: age's own limit, 16 MiB. The caller enforces it while reading.
pub const KEY_FILE_SIZE_LIMIT: u64 = 1 << 24;

/// Questions to the user. The program implements it on /dev/tty; the library never prompts by itself.
///
/// Each text is one line without a final colon. Control characters have been removed from texts of a plugin.
pub trait Prompt: Send + Sync {
    /// Shows a message, such as "touch your key".
    fn message(&self, text: &str);
    /// Asks yes or no; `None` when there is no terminal.
    fn confirm(&self, text: &str, yes: &str, no: Option<&str>) -> Option<bool>;
    /// Asks for something that is not secret; `None` when there is no terminal.
    fn public(&self, text: &str) -> Option<String>;
    /// Asks for a secret without echo.
    ///
    /// # Errors
    /// [`Kind::NoTerminal`](crate::error::Kind::NoTerminal) when there is no terminal.
    fn secret(&self, text: &str) -> Result<SecretString>;
    /// Asks for a plugin's secret without echo. It may be the PIN of a token that locks itself after a few wrong ones, so a
    /// prepared passphrase must not answer.
    ///
    /// # Errors
    /// The errors of [`Self::secret`].
    fn plugin_secret(&self, text: &str) -> Result<SecretString> {
        self.secret(text)
    }
}

/// A shared [`Prompt`].
pub type SharedPrompt = Arc<dyn Prompt>;

/// Answers no question: for keys that ask none, and for callers that cannot ask a user.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn message(&self, _text: &str) {}

    fn confirm(&self, _text: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    fn public(&self, _text: &str) -> Option<String> {
        None
    }

    fn secret(&self, _text: &str) -> Result<SecretString> {
        Err(Error::new(Kind::NoTerminal, "no user can be asked"))
    }
}

/// The text of a key file and its name for messages.
pub struct KeyFile {
    /// The path as given, or "standard input".
    pub name: String,
    /// The whole content.
    pub text: Zeroizing<Vec<u8>>,
}

/// The byte order mark that editors of Windows put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl KeyFile {
    /// The content without a byte order mark.
    fn content(&self) -> &[u8] {
        self.text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.text)
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyFile").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
