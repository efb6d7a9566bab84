//! Why a string is no recipient.

/// Why a string cannot be used as a recipient.
pub(super) struct Refusal {
    /// Completes "… is" or "line 3 is"; never a part of the string.
    pub(super) reason: String,
    /// Where the default hint is not good enough.
    pub(super) hint: Option<&'static str>,
    /// It may be a private key and must not be repeated.
    pub(super) private: bool,
}

impl Refusal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None, private: false }
    }

    pub(super) fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}
