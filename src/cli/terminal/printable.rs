//! Makes text safe for a terminal, and removes private keys from it.

use std::borrow::Cow;
use zeroize::Zeroizing;

/// Escapes everything in `text` that could move the cursor, colour, ring, reorder or hide: control characters,
/// bidirectional controls and invisible ones. For text from archives, servers, plugins and file names.
#[must_use]
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.contains(is_tricky) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_tricky(character) {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    Cow::Owned(clean)
}

/// `text` in double quotes and [sanitized](sanitize), so that it cannot be taken for anything but a name.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", sanitize(&escaped))
}

/// Whether a character is a control character (C0, DEL, C1), or a Unicode one that reorders, breaks lines or is invisible.
pub(crate) fn is_tricky(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The upper-case prefixes of age's private keys, and the least number of characters after the `-1` at the end of the first
/// part that distinguishes a key from the name of a program, such as age-plugin-1password.
const PRIVATE_KEYS: [(&str, usize); 2] = [("AGE-SECRET-KEY-", 1), ("AGE-PLUGIN-", 16)];

/// `text` without the secret part of every private key of age or of a plugin. Users pass the key itself in place of its
/// file, and a message that names the "file" would write the key into a log.
#[must_use]
pub(crate) fn without_private_keys(text: &str) -> Cow<'_, str> {
    // Only ASCII letters change case, so every position stays the same.
    let upper = Zeroizing::new(text.to_ascii_uppercase());
    let mut clean = String::new();
    let mut at = 0;
    while let Some(found) = upper[at..].find("AGE-") {
        let begin = at + found;
        let rest = &upper[begin..];
        let end = rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '-');
        let word = &rest[..end.unwrap_or(rest.len())];
        let end = begin + word.len();
        if let Some(shown) = shown_of_private_key(word) {
            clean.push_str(&text[at..begin + shown]);
            clean.push('…');
        } else {
            clean.push_str(&text[at..end]);
        }
        at = end;
    }
    if clean.is_empty() {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[at..]);
    Cow::Owned(clean)
}

/// How much of `word` may be shown if it is a private key.
fn shown_of_private_key(word: &str) -> Option<usize> {
    let (begin, least) = PRIVATE_KEYS.iter().find(|(begin, _)| word.starts_with(begin))?;
    // The dash may be the last character of the prefix.
    let shown = begin.len() - 1 + word[begin.len() - 1..].find("-1")? + "-1".len();
    (word.len() - shown >= *least).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_name_ends_where_its_quotes_do() {
        assert_eq!(quoted("prod"), "\"prod\"");
        assert_eq!(quoted("a\", b\\\u{1b}"), r#""a\", b\\\u{1b}""#);
    }

    #[test]
    fn ordinary_text_stays() {
        for text in ["prod", "größe, 集群", "a b-c_d", "🦭"] {
            assert!(matches!(sanitize(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn tricks_are_escaped() {
        assert_eq!(sanitize("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(sanitize("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(sanitize("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(sanitize("\u{2066}x\u{2069}\u{9b}31m\u{7f}"), "\\u{2066}x\\u{2069}\\u{9b}31m\\u{7f}");
    }

    #[test]
    fn private_keys_are_cut_out_of_whatever_is_said() {
        assert_eq!(without_private_keys("no key: é"), "no key: é");
        assert_eq!(
            without_private_keys(
                "é 'age-secret-key-1QQ9' AGE-SECRET-KEY-1ABC: no such file, AGE-SECRET-KEY-1… lines"
            ),
            "é 'age-secret-key-1…' AGE-SECRET-KEY-1…: no such file, AGE-SECRET-KEY-1… lines"
        );
        assert_eq!(
            without_private_keys(
                "AGE-SECRET-KEY-PQ-1QQ9;xAGE-PLUGIN-YUBIKEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE/key"
            ),
            "AGE-SECRET-KEY-PQ-1…;xAGE-PLUGIN-YUBIKEY-1…/key"
        );
        for no_key in
            ["install age-plugin-1password", "age-keygen", "AGE-SECRET-KEY-1", "AGE-", "age-plugin-pq"]
        {
            assert_eq!(without_private_keys(no_key), no_key);
        }
    }
}
