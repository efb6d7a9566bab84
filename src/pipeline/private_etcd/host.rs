//! Tells the faults of the host, such as a full disk, from those of etcd and of the data.

use crate::error::{Error, Kind};

/// The kind of error where etcd's words blame its host and not the data.
pub(in crate::pipeline) fn host_fault(words: &str) -> Option<Kind> {
    const FULL: [&str; 2] = ["no space left on device", "disk quota exceeded"];
    const UNABLE: [&str; 4] =
        ["input/output error", "cannot allocate memory", "too many open files", "read-only file system"];
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    match (says(&FULL), says(&UNABLE)) {
        (true, _) => Some(Kind::NoSpace),
        (false, true) => Some(Kind::EtcdNotRunning),
        (false, false) => None,
    }
}

/// An error that is the host's fault.
pub(in crate::pipeline) fn blamed_on_host(message: String, kind: Option<Kind>) -> Error {
    let error = Error::new(kind.unwrap_or(Kind::EtcdNotRunning), message);
    match kind {
        Some(Kind::NoSpace) => error.with_hint("free some space there, or name another place with `scratch`"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_s_trouble_is_not_the_archive_s() {
        let refused = "etcd refused the defragmentation: write db.tmp: no space left on device";
        assert_eq!(host_fault(refused), Some(Kind::NoSpace));
        assert_eq!(host_fault("read db: input/output error"), Some(Kind::EtcdNotRunning));
        assert_eq!(host_fault("etcdserver: mvcc: required revision has been compacted"), None);
        assert!(blamed_on_host(refused.to_owned(), host_fault(refused)).hint().contains("`scratch`"));
    }
}
