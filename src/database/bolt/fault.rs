//! The errors for a database that etcd did not write.

use crate::error::{Error, Kind};

/// The error for a damaged database.
pub(in crate::database) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::DatabaseDamaged, format!("the database is damaged: {what}"))
}

/// etcd did not write a bbolt database that has no bucket `name`.
pub(in crate::database) fn missing_bucket(name: &[u8]) -> Error {
    Error::new(
        Kind::NotASnapshot,
        format!(
            "a bbolt database, but not one of etcd: it has no bucket {:?}",
            String::from_utf8_lossy(name)
        ),
    )
}
