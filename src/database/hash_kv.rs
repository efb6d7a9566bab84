//! `HashKV`: etcd's own checksum of all keys and values at a revision, computed without etcd.
//!
//! `mvcc/hash.go` in etcd 3.5, `HashByRev` in `mvcc/kvstore.go` of 3.4: CRC-32C over the name of the bucket, then over each
//! entry as stored, but for what is newer than the revision and for what a compaction took away or was about to. Two
//! members with the same hash, revision and compaction hold the same keys, values, versions and leases.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::file::{Database, damaged};
use super::mvcc::{KEY_BUCKET, KeyValue, Revision};
use crate::error::Result;
use crate::interrupt::Interrupt;

/// Keys and values up to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// `HashKV`, which is a CRC-32C.
    pub hash: u32,
    /// Keys that exist, but for the empty one: it is the trace of a raised revision, and nobody can ask etcd for it.
    pub count: u64,
}

/// Reads all keys of `database` as of `revision`, after a compaction at `compacted`.
///
/// Takes some 60 bytes of memory for each distinct key.
///
/// # Errors
/// Those of [`Database::walk`].
pub fn read_keys(
    database: &Database<'_>,
    revision: i64,
    compacted: Option<i64>,
    interrupt: &Interrupt,
) -> Result<Keys> {
    let newest = newest(database, revision, interrupt)?;
    let compacted = compacted.unwrap_or(-1);
    let mut hash = crc32c::crc32c(KEY_BUCKET);
    let (random, newest) = newest;
    let exists = |newest: &Newest| !newest.deletion;
    let kept_keys = newest.values().filter(|newest| exists(newest)).count() as u64;
    let empty = newest.get(&digest(&random, b"")).is_some_and(exists);
    database.walk_bucket(KEY_BUCKET, interrupt, &mut |_, key, value| {
        let (at, deletion) = parse(key)?;
        let kept = || {
            let user_key = KeyValue::parse(value).map(|pair| pair.key).unwrap_or_default();
            newest
                .get(&digest(&random, user_key))
                .is_some_and(|newest| newest.revision == at && !newest.deletion)
        };
        // etcd skips by what it keeps only where it keeps anything.
        let taken_away = at.main <= compacted && kept_keys > 0 && !kept();
        if at.main > revision || taken_away || (at.main == compacted && deletion) {
            return Ok(());
        }
        hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value);
        Ok(())
    })?;
    Ok(Keys { hash, count: kept_keys - u64::from(empty) })
}

/// The last write of a key.
struct Newest {
    revision: Revision,
    deletion: bool,
}

/// A key stands in it by 128 bits of a keyed hash: that two of them meet is less likely than any fault of the memory.
type Newests = HashMap<u128, Newest>;

/// The last write of every key up to `revision`.
fn newest(
    database: &Database<'_>,
    revision: i64,
    interrupt: &Interrupt,
) -> Result<([RandomState; 2], Newests)> {
    let random = [RandomState::new(), RandomState::new()];
    let mut newest = Newests::new();
    database.walk_bucket(KEY_BUCKET, interrupt, &mut |_, key, value| {
        let (at, deletion) = parse(key)?;
        if at.main <= revision {
            let pair =
                KeyValue::parse(value).ok_or_else(|| damaged("a value in the bucket key is malformed"))?;
            newest.insert(digest(&random, pair.key), Newest { revision: at, deletion });
        }
        Ok(())
    })?;
    Ok((random, newest))
}

fn digest(random: &[RandomState; 2], key: &[u8]) -> u128 {
    u128::from(random[0].hash_one(key)) << 64 | u128::from(random[1].hash_one(key))
}

fn parse(key: &[u8]) -> Result<(Revision, bool)> {
    Revision::parse(key).ok_or_else(|| damaged("a key in the bucket key is no revision"))
}
