//! Tries identities on the stanzas of a header, one after the other.

use super::work_factor::excessive_work;
use crate::error::{Error, Kind, Result};
use age::DecryptError;
use age_core::format::{FileKey, Stanza};

/// An identity that may open an archive.
pub(super) trait Attempt {
    /// Whether an attempt may ask the user for something.
    fn may_ask(&self) -> bool;

    /// Tries the identity on the recipient stanzas of one header; `None` where none of them matches.
    ///
    /// # Errors
    /// The errors of [`Identities::unwrap`](super::Identities::unwrap).
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>>;
}

/// Tries identities that need no answer first, so that the user is asked only when it is necessary.
///
/// # Errors
/// The first failure, if none succeeds.
pub(super) fn first_success(identities: &[impl Attempt], stanzas: &[Stanza]) -> Result<Option<FileKey>> {
    let (asking, silent): (Vec<_>, Vec<_>) = identities.iter().partition(|identity| identity.may_ask());
    let mut failure = None;
    for identity in silent.into_iter().chain(asking) {
        match identity.unwrap(stanzas) {
            Ok(None) => {}
            Err(error) if error.kind() != Kind::Interrupted => {
                failure.get_or_insert(error);
            }
            decided => return decided,
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Translates the answer of an identity without plugin into this crate's errors.
pub(super) fn settle(answer: Option<Result<FileKey, DecryptError>>) -> Result<Option<FileKey>> {
    match answer {
        Some(Ok(file_key)) => Ok(Some(file_key)),
        Some(Err(DecryptError::ExcessiveWork { required, .. })) => {
            Err(excessive_work("the archive", required))
        }
        Some(Err(DecryptError::InvalidHeader)) => {
            Err(Error::new(Kind::HeaderDamaged, "a recipient stanza in the age header is malformed"))
        }
        // A wrong passphrase and damage cannot be told apart.
        Some(Err(_)) | None => Ok(None),
    }
}
