//! What a document says of a database, from the facts that were read in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::contents::{Contents, Encryption, Kubernetes};
use crate::database::kubernetes;
use crate::database::stream_check::StreamFacts;

/// Most member ids that a document lists; no cluster has nearly as many.
const MEMBERS_MAX: usize = 256;

impl From<&StreamFacts> for Contents {
    fn from(facts: &StreamFacts) -> Self {
        let number = |revision: i64| u64::try_from(revision).unwrap_or(0);
        let members = if facts.members.len() > MEMBERS_MAX { &[] } else { &facts.members[..] };
        Self {
            revision: number(facts.revision),
            compact_revision: facts.compacted.map(number),
            members: members.iter().map(|id| format!("{id:016x}")).collect(),
            downgrade: facts.downgrade.clone(),
            kubernetes: facts.kubernetes.as_ref().map(Kubernetes::from),
        }
    }
}

impl From<&kubernetes::Kubernetes> for Kubernetes {
    fn from(found: &kubernetes::Kubernetes) -> Self {
        let mut kubernetes = Self::default();
        if let kubernetes::Kubernetes::Counted(counts) = found {
            kubernetes.secrets = Some(counts.secrets);
            kubernetes.plain_secrets = Some(counts.plain_secrets);
            kubernetes.encryption = by_key(&counts.encryption);
            kubernetes.older_encryption = by_key(&counts.older_encryption);
        }
        kubernetes
    }
}

/// Joins the resources of each provider and key.
fn by_key(found: &BTreeSet<kubernetes::Encryption>) -> Vec<Encryption> {
    let mut resources: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for kubernetes::Encryption { provider, version, name, resource } in found {
        resources.entry((provider, version, name)).or_default().push(resource.clone());
    }
    let joined = resources.into_iter().map(|((provider, version, name), resources)| {
        Encryption::new(provider.clone(), version.clone(), name.clone(), resources)
    });
    joined.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::{DOCUMENT_SIZE_MAX, to_json};

    fn encryption(name: &str, resource: &str) -> kubernetes::Encryption {
        let [provider, name, resource] = ["aescbc", name, resource].map(str::to_owned);
        kubernetes::Encryption { provider, version: None, name, resource }
    }

    #[test]
    fn resources_of_one_key_are_joined() {
        let found =
            [encryption("key1", "secrets"), encryption("key1", "configmaps"), encryption("key2", "secrets")];
        let joined = by_key(&found.into_iter().collect());
        let told: Vec<String> =
            joined.iter().map(|one| format!("{}: {}", one.name, one.resources.join(", "))).collect();
        assert_eq!(told, ["key1: configmaps, secrets", "key2: secrets"]);
    }

    #[test]
    fn a_database_cannot_fill_a_document_with_its_encryptions() {
        // The worst that the limits of a count let pass.
        let long = "\u{FFFD}".repeat(128);
        let all = (0..32).map(|number| encryption(&format!("{number}{long}"), &format!("{long}.{long}")));
        let facts = StreamFacts {
            revision: 1,
            compacted: None,
            members: (0..=u64::from(u8::MAX)).collect(),
            downgrade: Some("3".repeat(128)),
            kubernetes: None,
        };
        let mut contents = Contents::from(&facts);
        contents.kubernetes =
            Some(Kubernetes { encryption: by_key(&all.collect()), ..Kubernetes::default() });
        assert!(to_json(&contents, DOCUMENT_SIZE_MAX - 8192, "list").is_ok());
    }
}
