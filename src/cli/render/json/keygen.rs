//! The fields of the result of `keygen`.

use super::Report;
use crate::cli::render::verdict::{Proved, Verdict};
use crate::store::Published;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct KeygenReport {
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    pub(crate) path: String,
    pub(crate) recipient: String,
}

impl KeygenReport {
    /// The report on a new identity and its recipient; `None` is standard output.
    #[must_use]
    pub(crate) fn new(recipient: String, published: Option<Published>) -> Self {
        let (verdict, path) = Verdict::of_published("keygen", Proved::AsAsked, published);
        Self { verdict, path, recipient }
    }
}

impl Report for KeygenReport {
    fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn verdict_mut(&mut self) -> &mut Verdict {
        &mut self.verdict
    }

    fn is_the_answer(&self) -> bool {
        true
    }
}
