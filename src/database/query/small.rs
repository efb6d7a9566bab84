//! What the small buckets of a member's database say.

use serde::Deserialize;

use crate::database::bolt::Database;
use crate::database::schema::META_BUCKET;
use crate::error::{Kind, Result};
use crate::interrupt::Interrupt;

/// The raft index of the last entry of the log that is applied to it; 0 where none is.
///
/// # Errors
/// The errors of [`Database::walk`].
pub fn consistent_index(database: &Database<'_>, interrupt: &Interrupt) -> Result<u64> {
    let index = value_in(database, META_BUCKET, b"consistent_index", interrupt)?;
    Ok(index.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// The version of the data: the storage version, which etcd stores since 3.6, otherwise that of the cluster.
///
/// # Errors
/// The errors of [`Database::walk`].
pub fn data_version(database: &Database<'_>, interrupt: &Interrupt) -> Result<Option<String>> {
    let of_data = value_in(database, META_BUCKET, b"storageVersion", interrupt)?;
    let version = match of_data {
        Some(version) => Some(version),
        None => value_in(database, b"cluster", b"clusterVersion", interrupt)?,
    };
    Ok(version.and_then(|version| String::from_utf8(version).ok()))
}

/// Whether the member `id` is a learner in it.
///
/// # Errors
/// The errors of [`Database::walk`].
pub fn is_learner(database: &Database<'_>, id: u64, interrupt: &Interrupt) -> Result<bool> {
    #[derive(Deserialize)]
    struct Member {
        #[serde(rename = "isLearner", default)]
        is_learner: bool,
    }
    let member = value_in(database, b"members", format!("{id:x}").as_bytes(), interrupt)?;
    let member = member.and_then(|json| serde_json::from_slice::<Member>(&json).ok());
    Ok(member.is_some_and(|member| member.is_learner))
}

/// The value of `wanted` in the small bucket `name`; `None` where either is absent.
fn value_in(
    database: &Database<'_>,
    name: &[u8],
    wanted: &[u8],
    interrupt: &Interrupt,
) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    let walked = database.walk_small_bucket(name, interrupt, &mut |_, key, value| {
        if key == wanted {
            found = value.whole().map(<[u8]>::to_vec);
        }
        Ok(())
    });
    match walked {
        Err(error) if error.kind() == Kind::NotASnapshot => Ok(None),
        walked => walked.map(|()| found),
    }
}
