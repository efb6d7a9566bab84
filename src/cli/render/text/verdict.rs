//! Why a result is less than everything.

use crate::cli::render::verdict::Verdict;

impl Verdict {
    /// `; ` and the reason why it is less, or an empty text. A failure after the commit has lines of its own.
    pub(crate) fn text(&self) -> String {
        self.proved.shortfall().map(|shortfall| format!("; {}", shortfall.error)).unwrap_or_default()
    }
}
