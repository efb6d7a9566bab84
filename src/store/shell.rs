//! Words of commands that are printed for an operator to copy.

use std::ffi::OsStr;

/// Quotes `text` so that a POSIX shell takes it as one word, whatever it contains. Text that is not UTF-8 can be shown, but
/// not copied.
#[must_use]
pub fn shell_word(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref().to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
