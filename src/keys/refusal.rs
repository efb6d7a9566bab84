//! The reason why a string is no recipient.

/// The reason why a string cannot be used as a recipient.
pub(super) struct Refusal {
    /// Completes "… is" or "line 3 is"; never contains a part of the string.
    pub(super) reason: String,
    /// Replaces the default hint.
    pub(super) hint: Option<&'static str>,
    /// Whether the string may be a private key, which must not be repeated.
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
