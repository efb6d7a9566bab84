//! The warning of a downgrade of etcd that is in progress in a database.

use super::terminal::printable::sanitize;
use std::fmt::Display;

/// Warns of a downgrade to `target` in the database of `what`.
pub(super) fn warn_of_downgrade(what: impl Display, target: Option<&str>) {
    if let Some(target) = target {
        tracing::warn!(
            "{what}: a downgrade of etcd to {} is in progress in its database: etcdctl downgrade cancel ends it, in a restored \
             cluster, too",
            sanitize(target)
        );
    }
}
