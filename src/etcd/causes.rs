//! The chain of causes of an error of the layers below.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;

/// The error at the bottom of the chain, which is the most specific one.
pub(super) fn innermost<'error>(error: &'error (dyn StdError + 'static)) -> &'error (dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
}

/// The chain of causes, including the errors wrapped in I/O errors.
pub(super) fn causes<'error>(
    error: &'error (dyn StdError + 'static),
) -> impl Iterator<Item = &'error (dyn StdError + 'static)> {
    successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}
