//! The automatic name of an archive.
use jiff::Timestamp;

/// `<cluster>-<YYYYMMDDTHHMMSSZ>-r<revision>.db.zst.age`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveName {
    /// Cluster part, already sanitised.
    pub cluster: String,
    /// UTC, whole seconds.
    pub time: Timestamp,
    /// 0 is unknown.
    pub revision: u64,
}

impl ArchiveName {
    /// Sanitises `cluster`: bytes outside `[A-Za-z0-9._]` and a leading dot become `_`, at most 64.
    #[must_use]
    pub fn new(_cluster: &str, _time: Timestamp, _revision: u64) -> Self {
        todo!()
    }
    /// Parses from the right.
    #[must_use]
    pub fn parse(_name: &str) -> Option<Self> {
        todo!()
    }
}

impl std::fmt::Display for ArchiveName {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
