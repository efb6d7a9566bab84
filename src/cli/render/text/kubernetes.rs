//! What a database holds of Kubernetes, on one line: how many Secrets, and the keys that a restored cluster needs.

use super::units::count;
use crate::archive::contents::{Encryption, Kubernetes};
use crate::cli::terminal::printable::{quoted, sanitize};
use std::fmt::Write as _;

/// The most resources that are listed.
const RESOURCES_SHOWN: usize = 4;

impl Kubernetes {
    /// `Kubernetes: 128 Secrets, all encrypted; needs aescbc key "key1"`.
    pub(crate) fn text(&self) -> String {
        let (Some(secrets), Some(plain)) = (self.secrets, self.plain_secrets) else {
            return "Kubernetes: more objects, or more keys of encryption, than are counted".to_owned();
        };
        let mut text = match (secrets, plain) {
            (0, _) => "Kubernetes: no Secrets".to_owned(),
            (_, 0) => format!("Kubernetes: {}, all encrypted", count(secrets, "Secret")),
            _ if plain == secrets => format!("Kubernetes: {}, all stored in plain", count(secrets, "Secret")),
            _ => format!("Kubernetes: {plain} of {} stored in plain", count(secrets, "Secret")),
        };
        if !self.encryption.is_empty() {
            let _ = write!(text, "; needs {}", keys(&self.encryption));
        }
        if !self.older_encryption.is_empty() {
            let _ = write!(text, "; older revisions also need {}", keys(&self.older_encryption));
        }
        text
    }
}

/// `aescbc key "key1" (secrets), kms v2 "vault" (configmaps)`; a single key for Secrets alone goes without saying so.
pub(crate) fn keys(encryption: &[Encryption]) -> String {
    let name = |one: &Encryption| match &one.version {
        Some(version) => format!("{} {} {}", sanitize(&one.provider), sanitize(version), quoted(&one.name)),
        None => format!("{} key {}", sanitize(&one.provider), quoted(&one.name)),
    };
    match encryption {
        [one] if one.resources == ["secrets"] => name(one),
        several => {
            let named = several.iter().map(|one| format!("{} ({})", name(one), resources(&one.resources)));
            named.collect::<Vec<_>>().join(", ")
        }
    }
}

fn resources(all: &[String]) -> String {
    let shown: Vec<_> = all.iter().take(RESOURCES_SHOWN).map(|resource| sanitize(resource)).collect();
    match all.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encryption(provider: &str, version: Option<&str>, name: &str, resources: &[&str]) -> Encryption {
        let resources = resources.iter().map(|&resource| resource.to_owned()).collect();
        Encryption::new(provider.to_owned(), version.map(str::to_owned), name.to_owned(), resources)
    }

    fn text(secrets: u64, plain: u64, encryption: Vec<Encryption>, older: Vec<Encryption>) -> String {
        let mut kubernetes = Kubernetes::default();
        (kubernetes.secrets, kubernetes.plain_secrets) = (Some(secrets), Some(plain));
        (kubernetes.encryption, kubernetes.older_encryption) = (encryption, older);
        kubernetes.text()
    }

    #[test]
    fn what_kubernetes_needs_is_one_line() {
        let key = || encryption("aescbc", None, "key1", &["secrets"]);
        insta::assert_snapshot!(text(128, 0, vec![key()], vec![]), @r#"Kubernetes: 128 Secrets, all encrypted; needs aescbc key "key1""#);
        insta::assert_snapshot!(text(128, 12, vec![key()], vec![]), @r#"Kubernetes: 12 of 128 Secrets stored in plain; needs aescbc key "key1""#);
        insta::assert_snapshot!(text(1, 1, vec![], vec![key()]), @r#"Kubernetes: 1 Secret, all stored in plain; older revisions also need aescbc key "key1""#);
        insta::assert_snapshot!(text(0, 0, vec![], vec![]), @"Kubernetes: no Secrets");
        let vault = encryption("kms", Some("v2"), "va\"ult", &["a", "b", "c", "d", "e"]);
        insta::assert_snapshot!(text(2, 0, vec![key(), vault], vec![]), @r#"Kubernetes: 2 Secrets, all encrypted; needs aescbc key "key1" (secrets), kms v2 "va\"ult" (a, b, c, d and 1 more)"#);
        let maps = encryption("secretbox", None, "k\u{1b}[2J", &["configmaps"]);
        insta::assert_snapshot!(text(0, 0, vec![maps], vec![]), @r#"Kubernetes: no Secrets; needs secretbox key "k\u{1b}[2J" (configmaps)"#);
        insta::assert_snapshot!(Kubernetes::default().text(), @"Kubernetes: more objects, or more keys of encryption, than are counted");
    }
}
