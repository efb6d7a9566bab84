//! Recognises the objects that Kubernetes keeps in etcd.

use std::time::Duration;

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

/// The most writes per second of a busy etcd: the figure that etcd's own advice on disaster recovery uses.
const WRITES_PER_SECOND: u128 = 1500;
/// The assumed age of a snapshot that records no time, before the first time that is known of it.
pub const ASSUMED_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most writes that a member's database may be behind its cluster: those that are only in its log yet (bbolt commits
/// every 100 ms, or every 10,000 writes), and those by which other members were ahead.
const BEHIND: i64 = 1_000_000;

/// By how much to raise a revision so that it surely lies above every revision that the lost cluster gave out: as many
/// writes as a busy etcd does in the time since the snapshot, plus as many as it ever did before.
///
/// A later restore of the same snapshot is raised further, by the time between the two. `given_out` is the newest known
/// revision of a cluster that continued from there, such as that of the replaced member; the result lies above it, too.
#[must_use]
pub fn bump(revision: i64, age: Duration, given_out: Option<i64>) -> i64 {
    // Milliseconds count: two restores within a second must differ, too.
    let writes = age.as_millis().saturating_mul(WRITES_PER_SECOND) / 1000;
    let lost = i64::try_from(writes).unwrap_or(i64::MAX).saturating_add(revision.max(1));
    let known = given_out.map_or(0, |newest| newest.saturating_add(BEHIND).saturating_sub(revision));
    // At most half of the remaining range: the new cluster needs revisions, too.
    lost.max(known).min((i64::MAX - revision.max(0)) / 2)
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
    fn the_bump_is_above_all_that_can_have_been() {
        let day = Duration::from_secs(86_400);
        assert_eq!(bump(1, Duration::ZERO, None), 1);
        assert_eq!(bump(400_000, day, None), 130_000_000);
        assert_eq!(bump(i64::MAX, day, None), 0);
        assert!(bump(7, Duration::MAX, None) > i64::MAX / 4);
    }

    #[test]
    fn seconds_and_milliseconds_count() {
        let hour = Duration::from_secs(3600);
        let later = |by| i128::from(bump(5, hour + by, None)) - i128::from(bump(5, hour, None));
        assert_eq!(later(Duration::from_secs(1)).cast_unsigned(), WRITES_PER_SECOND);
        assert_eq!(later(Duration::from_millis(10)).cast_unsigned(), WRITES_PER_SECOND / 100);
        assert!(later(Duration::from_millis(1)) > 0);
    }

    #[test]
    fn the_bump_is_above_what_was_given_out_since() {
        let given_out = 5_000_000_000;
        assert_eq!(100 + bump(100, Duration::ZERO, Some(given_out)), given_out + BEHIND);
        // The known revision may be less than what the time alone requires.
        assert_eq!(bump(100, Duration::from_secs(1000), Some(50)), 1_500_100);
        assert!(bump(7, Duration::ZERO, Some(i64::MAX)) < i64::MAX / 2);
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
