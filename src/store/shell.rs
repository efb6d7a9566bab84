//! Words of commands that are printed for an operator to copy.

use std::ffi::OsStr;

/// The hint where `text` begins with a tilde: a shell would have replaced it.
#[must_use]
pub fn left_by_the_shell(text: &OsStr) -> Option<String> {
    let rest = text.to_str()?.strip_prefix("~/")?;
    let word = shell_word(rest);
    let word = if rest.is_empty() { "" } else { &word };
    Some(format!(
        "a shell replaces ~ only at the beginning of a word and without quotes: write \"$HOME\"/{word}, or the whole path"
    ))
}

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
