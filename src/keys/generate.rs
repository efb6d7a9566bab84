//! Makes a new key.
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// A new X25519 identity: the text of an identity file as `age-keygen` writes it, and its recipient.
/// `created` is the RFC 3339 time for the comment.
#[must_use]
pub fn generate_identity(created: &str) -> (SecretString, String) {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let secret = identity.to_string();
    let parts = ["# created: ", created, "\n# public key: ", &recipient, "\n", secret.expose_secret(), "\n"];
    // Reserve the size first: a string that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        text.push_str(part);
    }
    (SecretString::from(text.as_str()), recipient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_age_keygens() {
        let (file, recipient) = generate_identity("2026-11-03T04:05:06Z");
        let text = file.expose_secret();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "# created: 2026-11-03T04:05:06Z");
        assert_eq!(lines[1], format!("# public key: {recipient}"));
        let identity: age::x25519::Identity = lines[2].parse().expect("an identity");
        assert_eq!(identity.to_public().to_string(), recipient);
        assert_eq!(lines.len(), 3);
        assert!(text.ends_with('\n'));
        assert!(!format!("{file:?}").contains("AGE-SECRET-KEY-1"));
    }
}
