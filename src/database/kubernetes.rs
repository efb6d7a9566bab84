//! Recognises the objects that Kubernetes keeps in etcd.

/// The default key prefixes of kube-apiserver (`--etcd-prefix`) and of `OpenShift`.
const KEY_PREFIXES: [&[u8]; 3] = [b"/registry/", b"/kubernetes.io/", b"/openshift.io/"];
/// The key by which kube-apiserver coordinates compactions (`compact.go` in k8s.io/apiserver).
const COMPACTION_KEY: &[u8] = b"compact_rev_key";
/// The prefix of an object in protobuf encoding (`protobuf.go` in k8s.io/apimachinery).
const OBJECT_PREFIX: &[u8] = b"k8s\0";
/// The prefix of a value encrypted at rest (`encryptionconfig/config.go` in k8s.io/apiserver).
const ENCRYPTED_PREFIX: &[u8] = b"k8s:enc:";
/// The longest name of a provider: about that of a DNS label.
const PROVIDER_SIZE_MAX: usize = 128;
/// Bytes of a key, and of a value, that suffice for this module.
pub const BEGINNING_SIZE: usize = ENCRYPTED_PREFIX.len() + PROVIDER_SIZE_MAX;

/// Whether this looks like a Kubernetes object. The first [`BEGINNING_SIZE`] bytes of each suffice.
#[must_use]
pub fn is_object(key: &[u8], value: &[u8]) -> bool {
    value.starts_with(OBJECT_PREFIX)
        || value.starts_with(ENCRYPTED_PREFIX)
        || key == COMPACTION_KEY
        || (value.starts_with(b"{") && KEY_PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
}

/// The provider that an encrypted value names, such as `aescbc key1` or `kms v2 vault`. The first [`BEGINNING_SIZE`] bytes
/// suffice.
#[must_use]
pub fn encryption_provider(value: &[u8]) -> Option<String> {
    let rest = value.strip_prefix(ENCRYPTED_PREFIX)?;
    let rest = &rest[..rest.len().min(PROVIDER_SIZE_MAX)];
    let mut parts = rest.split(|byte| *byte == b':');
    let (kind, version, key) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next()?;
    let [kind, version, key] = [kind, version, key].map(String::from_utf8_lossy);
    // The v1 of a cipher carries no information; that of kms is a different protocol.
    Some(if kind == "kms" { format!("kms {version} {key}") } else { format!("{kind} {key}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_known_by_their_beginning() {
        assert!(is_object(b"/registry/pods/a/b", b"k8s\0..."));
        assert!(is_object(b"/other/pods/a/b", b"k8s\0..."));
        assert!(is_object(b"/registry/secrets/a/b", b"k8s:enc:aescbc:v1:key1:..."));
        assert!(is_object(b"/registry/example.com/things/a", b"{\"kind\":\"Thing\"}"));
        assert!(is_object(b"compact_rev_key", b"17"));
        assert!(!is_object(b"/registry/x", b"hello"));
        assert!(!is_object(b"foo", b"{}"));
    }

    #[test]
    fn providers_are_named() {
        let provider = |value: &str| encryption_provider(value.as_bytes());
        assert_eq!(provider("k8s:enc:aescbc:v1:key1:\u{1}"), Some("aescbc key1".to_owned()));
        assert_eq!(provider("k8s:enc:secretbox:v1:k:x"), Some("secretbox k".to_owned()));
        assert_eq!(provider("k8s:enc:kms:v2:vault:x"), Some("kms v2 vault".to_owned()));
        assert_eq!(provider("k8s:enc:kms:v1:vault"), None);
        assert_eq!(provider("k8s\0"), None);
    }
}
