//! What a stored value shows of itself in its first bytes.

use super::Encryption;

/// The default key prefixes of kube-apiserver (`--etcd-prefix`) and of `OpenShift`.
const KEY_PREFIXES: [&[u8]; 3] = [b"/registry/", b"/kubernetes.io/", b"/openshift.io/"];
/// The key by which kube-apiserver coordinates compactions (`compact.go` in k8s.io/apiserver).
const COMPACTION_KEY: &[u8] = b"compact_rev_key";
/// The prefix of an object in protobuf encoding (`protobuf.go` in k8s.io/apimachinery).
const OBJECT_PREFIX: &[u8] = b"k8s\0";
/// An object of kind Secret in protobuf encoding: its `runtime.Unknown` begins with the field 1, a `TypeMeta` of the fields
/// 1 (`v1`) and 2 (`Secret`).
const SECRET: &[u8] = b"k8s\0\x0A\x0C\x0A\x02v1\x12\x06Secret";
/// The same in JSON, of which kube-apiserver writes these two fields first.
const JSON_SECRET: &[u8] = br#"{"kind":"Secret","apiVersion":"v1""#;
/// The prefix of a value encrypted at rest (`encryptionconfig/config.go` in k8s.io/apiserver).
const ENCRYPTED_PREFIX: &[u8] = b"k8s:enc:";
/// The resource of Secrets in kube-apiserver's configuration and in its keys.
pub(super) const SECRETS: &str = "secrets";
/// The most bytes of a name or resource that are kept.
const NAME_SIZE_MAX: usize = 128;
/// The bytes of a value that suffice for this module.
pub(in crate::database) const VALUE_BEGINNING: usize = 3 * NAME_SIZE_MAX;
/// The longest key of Kubernetes: a prefix, a group, a resource, a namespace and a name are together shorter.
pub(in crate::database) const KEY_SIZE_MAX: usize = 1024;

/// What a stored value is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing of Kubernetes.
    Other,
    /// An object that is not encrypted, and no Secret.
    Object,
    /// A Secret that is not encrypted.
    PlainSecret,
    /// An encrypted object.
    Encrypted(Encryption),
}

/// What is stored under `key`; the first [`VALUE_BEGINNING`] bytes of `value` suffice.
pub(super) fn stored(key: &[u8], value: &[u8]) -> Stored {
    if let Some(rest) = value.strip_prefix(ENCRYPTED_PREFIX) {
        return encryption(key, rest).map_or(Stored::Object, Stored::Encrypted);
    }
    if value.starts_with(SECRET) || value.starts_with(JSON_SECRET) {
        return Stored::PlainSecret;
    }
    let json = value.starts_with(b"{") && KEY_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    if value.starts_with(OBJECT_PREFIX) || json || key == COMPACTION_KEY {
        return Stored::Object;
    }
    Stored::Other
}

/// Whether kube-apiserver may have written `key`: `--etcd-prefix` always gets a slash in front.
pub(super) fn may_be_key(key: &[u8]) -> bool {
    (key.starts_with(b"/") || key == COMPACTION_KEY) && key.len() <= KEY_SIZE_MAX
}

/// The encryption that the `rest` of an encrypted value names, as in `aescbc:v1:key1:` or `kms:v2:vault:`.
fn encryption(key: &[u8], rest: &[u8]) -> Option<Encryption> {
    let mut parts = rest.splitn(4, |byte| *byte == b':');
    let (provider, version, name) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next()?;
    // The v1 of a cipher carries no information; that of kms is a different protocol.
    let version = (provider == b"kms").then(|| text(version));
    Some(Encryption { provider: text(provider), version, name: text(name), resource: resource(key) })
}

/// The resource of an object, as kube-apiserver's `EncryptionConfiguration` names it.
///
/// A key is the prefix, the resource, the namespace where there is one, and the name. The resource of an API that was added
/// by a definition or by another API server has its group in front, which has a dot.
fn resource(key: &[u8]) -> String {
    let parts: Vec<&[u8]> = key.split(|byte| *byte == b'/').skip(1).collect();
    let parts = parts.get(1..).unwrap_or_default();
    // The prefix may have several parts, so that of Secrets, which have a namespace, is found from the right.
    if let [.., before, secrets, _, _] = parts
        && *secrets == SECRETS.as_bytes()
        && !before.contains(&b'.')
    {
        return SECRETS.to_owned();
    }
    match parts {
        [group, resource, _, ..] if group.contains(&b'.') => format!("{}.{}", text(resource), text(group)),
        [resource, _, ..] => text(resource),
        _ => "unknown".to_owned(),
    }
}

/// A name, cut to [`NAME_SIZE_MAX`], without characters that would make it longer in JSON.
fn text(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(NAME_SIZE_MAX)]);
    text.chars()
        .map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_known_by_their_beginning() {
        let is = |key: &[u8], value: &[u8]| stored(key, value);
        assert_eq!(is(b"/registry/pods/a/b", b"k8s\0\x0A\x09\x0A\x02v1\x12\x03Pod"), Stored::Object);
        assert_eq!(is(b"/other/pods/a/b", b"k8s\0..."), Stored::Object);
        assert_eq!(is(b"/registry/example.com/things/a", b"{\"kind\":\"Thing\"}"), Stored::Object);
        assert_eq!(is(b"compact_rev_key", b"17"), Stored::Object);
        assert_eq!(is(b"/registry/x", b"hello"), Stored::Other);
        assert_eq!(is(b"foo", b"{}"), Stored::Other);
        let secret = b"k8s\0\x0A\x0C\x0A\x02v1\x12\x06Secret\x12\x00";
        assert_eq!(is(b"/any/where", secret), Stored::PlainSecret);
        let json = br#"{"kind":"Secret","apiVersion":"v1","metadata":{}}"#;
        assert_eq!(is(b"/openshift/secrets/a/b", json), Stored::PlainSecret);
        let other = br#"{"apiVersion":"example.com/v1","kind":"Secret"}"#;
        assert_eq!(is(b"/registry/example.com/secrets/a/b", other), Stored::Object);
    }

    #[test]
    fn an_encryption_is_named_by_its_value() {
        let encryption = |value: &str| match stored(b"/registry/secrets/a/b", value.as_bytes()) {
            Stored::Encrypted(Encryption { provider, version, name, .. }) => {
                Some(format!("{provider} {} {name}", version.unwrap_or_default()))
            }
            _ => None,
        };
        assert_eq!(encryption("k8s:enc:aescbc:v1:key1:\u{1}::").as_deref(), Some("aescbc  key1"));
        assert_eq!(encryption("k8s:enc:secretbox:v1:k:x").as_deref(), Some("secretbox  k"));
        assert_eq!(encryption("k8s:enc:kms:v2:vault:x").as_deref(), Some("kms v2 vault"));
        assert_eq!(encryption("k8s:enc:aescbc:v1:a\nb:x").as_deref(), Some("aescbc  a\u{FFFD}b"));
        assert_eq!(encryption("k8s:enc:kms:v1:vault"), None);
        assert_eq!(encryption("k8s\0"), None);
    }

    #[test]
    fn a_resource_is_named_as_in_the_configuration() {
        for (key, expected) in [
            ("/registry/secrets/default/token", "secrets"),
            ("/kubernetes.io/secrets/default/token", "secrets"),
            ("/prod/west/registry/secrets/default/token", "secrets"),
            ("/registry/example.com/secrets/default/token", "secrets.example.com"),
            ("/registry/configmaps/default/settings", "configmaps"),
            ("/registry/services/specs/default/web", "services"),
            ("/registry/namespaces/default", "namespaces"),
            ("/registry/example.com/things/default/one", "things.example.com"),
            ("/registry/example.com/clusterthings/one", "clusterthings.example.com"),
            ("/openshift.io/oauth/accesstokens/x", "oauth"),
            ("/registry/x", "unknown"),
            ("x", "unknown"),
        ] {
            assert_eq!(resource(key.as_bytes()), expected, "{key}");
        }
    }
}
