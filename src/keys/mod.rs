//! Recipients and identities: who can open an archive, and how to open it.

pub mod identities;
pub mod recipients;

use crate::error::Result;
use secrecy::SecretString;
use std::sync::Arc;
use zeroize::Zeroizing;

pub use identities::{Identities, generate_identity};
pub use recipients::Recipients;

/// How to ask a person. Implemented by the program (on /dev/tty); the library never prompts by itself.
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
