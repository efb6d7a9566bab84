//! Decides what may be shown of a text from a key file, a flag, a plugin or the age crate.

/// Characters of an unusable `-r` string that a message shows.
const SHOWN_CHARACTERS: usize = 20;

/// The first bytes of every age file.
pub(crate) const AGE_BEGIN: &str = "age-encryption.org/";
/// The first bytes of an ASCII-armoured age file, after optional white space.
pub(crate) const ARMOR_BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

/// Text, in upper case, that occurs only in private keys: age identities, plugin identities, PEM.
const PRIVATE_MARKERS: [&str; 3] = ["SECRET-KEY", "AGE-PLUGIN-", "PRIVATE KEY"];

/// Makes one line that is safe on a terminal: line breaks become spaces; other control characters, and those that change the
/// direction of writing (the age crate wraps its arguments in U+2068 and U+2069), are dropped.
pub(super) fn plain(text: &str) -> String {
    let kept = |character: &char| {
        !character.is_control() && !matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let spaced = text.trim().replace(['\n', '\t'], " ");
    spaced.chars().filter(kept).collect()
}

/// Whether a text that is no recipient may be a private key, which must not be repeated.
pub(super) fn looks_private(text: &str) -> bool {
    let upper = zeroize::Zeroizing::new(text.to_ascii_uppercase());
    PRIVATE_MARKERS.iter().any(|marker| upper.contains(marker))
}

/// Whether the whole of `text` is a private key, and not a file name that contains such words.
#[must_use]
pub fn is_private_key(text: &str) -> bool {
    let upper = zeroize::Zeroizing::new(text.trim().to_ascii_uppercase());
    let of_age = upper.starts_with("AGE-SECRET-KEY-") || upper.starts_with("AGE-PLUGIN-");
    (of_age && !upper.contains(['.', '/'])) || (upper.starts_with("-----BEGIN ") && looks_private(&upper))
}

/// Shortens a public string so that the user still recognises it.
pub(super) fn shortened(text: &str) -> String {
    let text = plain(text);
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_drops_what_could_mislead_a_terminal() {
        assert_eq!(plain("a \u{2068}b\u{2069}\nc\u{1b}[2J\u{202e}d\r\n"), "a b c[2Jd");
    }

    #[test]
    fn private_keys_are_known_in_any_case_and_place() {
        for text in ["age-secret-key-1abc", " AGE-PLUGIN-YUBIKEY-1X", "-----BEGIN RSA Private Key-----"] {
            assert!(looks_private(text), "{text}");
        }
        assert!(!looks_private("age1qqqq"));
    }

    #[test]
    fn names_of_key_files_are_no_keys() {
        for text in
            ["AGE-SECRET-KEY-1ABC", "age-plugin-yubikey-1x\n", "-----BEGIN OPENSSH PRIVATE KEY-----\nx"]
        {
            assert!(is_private_key(text), "{text}");
        }
        for text in ["my-secret-key.txt", "/etc/AGE-SECRET-KEY-1", "age-plugin-yubikey.txt", "key"] {
            assert!(!is_private_key(text), "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(30)), format!("{}…", "é".repeat(20)));
    }
}
