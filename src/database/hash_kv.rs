//! `HashKV`: etcd's own checksum of all keys and values at a revision, computed without etcd.
//!
//! `mvcc/hash.go` in etcd 3.5, `HashByRev` in `mvcc/kvstore.go` of 3.4: CRC-32C over the name of the bucket, then over each
//! entry as stored, except those newer than the revision and those that a compaction removed or was about to remove. Two
//! members with the same hash, revision and compaction hold the same keys, values, versions and leases.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use super::bolt::Value;
use super::bolt::{Database, damaged};
use super::mvcc::{KeyValue, Revision};
use super::protobuf::MessageSource;
use super::refusal::refusal;
use super::schema::KEY_BUCKET;
use crate::error::Result;
use crate::interrupt::Interrupt;

/// A summary of the keys and values up to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysAtRevision {
    /// `HashKV`, which is a CRC-32C.
    pub hash: u32,
    /// The number of existing keys, except the empty one: that is the trace of a raised revision, and etcd gives it to no
    /// client.
    pub count: u64,
}

/// Reads all keys of `database` as of `revision`, after a compaction at `compacted`.
///
/// Takes up to 40 bytes of memory for each distinct key, and a bit for each entry.
///
/// # Errors
/// The errors of [`Database::walk`].
pub fn read_keys(
    database: &Database<'_>,
    revision: i64,
    compacted: Option<i64>,
    interrupt: &Interrupt,
) -> Result<KeysAtRevision> {
    let newest = Newest::read(database, revision, interrupt)?;
    let compacted = compacted.unwrap_or(-1);
    let mut hash = crc32c::crc32c(KEY_BUCKET);
    let mut index = 0;
    database.walk_bucket(KEY_BUCKET, interrupt, &mut |_, key, value| {
        let (at, deletion) = parse(key)?;
        // etcd applies its set of kept entries only if that set is not empty.
        let taken_away = at.main <= compacted && newest.count > 0 && !newest.is_kept(index);
        index += 1;
        if at.main > revision || taken_away || (at.main == compacted && deletion) {
            return Ok(());
        }
        hash = crc32c::crc32c_append(hash, key);
        value.pieces(&mut |piece| hash = crc32c::crc32c_append(hash, piece))
    })?;
    Ok(KeysAtRevision { hash, count: newest.count - u64::from(newest.empty_key) })
}

/// The entries, counted from 0 in the order of revisions, that are the last write of an existing key.
struct Newest {
    /// A bit for each entry.
    kept: Vec<u64>,
    /// The number of these entries.
    count: u64,
    /// Whether one of them is the empty key.
    empty_key: bool,
}

impl Newest {
    /// Reads the last write of every key up to `revision`.
    fn read(database: &Database<'_>, revision: i64, interrupt: &Interrupt) -> Result<Self> {
        let digests = KeyHashers::new();
        let mut last = LastWrites::new();
        let mut index = 0;
        database.walk_bucket(KEY_BUCKET, interrupt, &mut |_, key, value| {
            let (at, deletion) = parse(key)?;
            if at.main <= revision {
                let digest = digests.of_pair(key, value)?;
                last.set(digest, if deletion { LastWrites::DELETED } else { index });
            }
            index = next(index)?;
            Ok(())
        })?;
        let empty_key = last.get(digests.of(&b""[..])?).is_some_and(|index| index != LastWrites::DELETED);
        let mut kept = vec![0; index as usize / 64 + 1];
        let mut count = 0;
        for index in last.existing() {
            kept[index as usize / 64] |= 1 << (index % 64);
            count += 1;
        }
        Ok(Self { kept, count, empty_key })
    }

    fn is_kept(&self, index: usize) -> bool {
        self.kept.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }
}

/// Entries are counted in 32 bits: that many make a database of some 200 GB, which no etcd serves.
fn next(index: u32) -> Result<u32> {
    let next = index.checked_add(1).filter(|next| *next != LastWrites::DELETED);
    next.ok_or_else(|| damaged("it has more entries than any etcd"))
}

/// 96 bits of a keyed hash represent a key in memory: a collision is less likely than a memory fault.
type KeyDigest = [u32; 3];

/// The keys of the hash, random in each run: no database can be crafted so that its keys collide.
struct KeyHashers([RandomState; 2]);

impl KeyHashers {
    fn new() -> Self {
        Self([RandomState::new(), RandomState::new()])
    }

    /// The digest of the key written at `revision`, with `value`.
    fn of_pair(&self, revision: &[u8], value: Value<'_>) -> Result<KeyDigest> {
        let digest = match value {
            Value::Whole(bytes) => KeyValue::parse(bytes).map(|pair| self.of(pair.key.unwrap_or_default())),
            Value::Long(stretch) => KeyValue::parse(stretch).map(|pair| match pair.key {
                Some(key) => self.of(key),
                None => self.of(&b""[..]),
            }),
        };
        digest.unwrap_or_else(|fault| Err(refusal(revision, fault)))
    }

    fn of(&self, key: impl MessageSource) -> Result<KeyDigest> {
        let mut hashers = self.0.each_ref().map(BuildHasher::build_hasher);
        key.pieces(&mut |piece| hashers.iter_mut().for_each(|hasher| hasher.write(piece)))?;
        let [one, other] = hashers.map(|hasher| hasher.finish().to_le_bytes());
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
        Ok([word(&one[..4]), word(&one[4..]), word(&other[..4])])
    }
}

/// The index of the last write of every key, by the key's digest.
///
/// It has parts that grow one by one, because both the old and the new table are in memory while a table grows.
struct LastWrites(Vec<HashMap<KeyDigest, u32>>);

impl LastWrites {
    const PARTS: usize = 64;
    /// Marks a key whose last write is a deletion.
    const DELETED: u32 = u32::MAX;

    fn new() -> Self {
        Self(std::iter::repeat_with(HashMap::new).take(Self::PARTS).collect())
    }

    fn part(digest: KeyDigest) -> usize {
        digest[2] as usize % Self::PARTS
    }

    fn set(&mut self, digest: KeyDigest, index: u32) {
        self.0[Self::part(digest)].insert(digest, index);
    }

    fn get(&self, digest: KeyDigest) -> Option<u32> {
        self.0[Self::part(digest)].get(&digest).copied()
    }

    /// The indexes of the last writes of the existing keys.
    fn existing(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(HashMap::values).copied().filter(|index| *index != Self::DELETED)
    }
}

fn parse(key: &[u8]) -> Result<(Revision, bool)> {
    Revision::parse(key).ok_or_else(|| damaged("a key in the bucket key is no revision"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This table takes most of the memory of a drill with many keys.
    #[test]
    fn a_key_takes_sixteen_bytes_in_the_table() {
        assert_eq!(size_of::<(KeyDigest, u32)>(), 16);
    }

    #[test]
    fn keys_have_the_same_digest_in_every_place() {
        let digests = KeyHashers::new();
        let digest = |key: &[u8]| digests.of(key).unwrap();
        assert_eq!(digest(b"key"), digest(&b"a key"[2..]));
        let all = [digest(b""), digest(b"key"), digest(b"kex"), digest(&[0; 3])];
        assert!((0..4).all(|one| (0..one).all(|other| all[one] != all[other])));
    }

    #[test]
    fn the_last_write_of_a_key_counts() {
        let mut last = LastWrites::new();
        let digest = |number| [number, 7, number];
        (0..1000).for_each(|number| last.set(digest(number), number));
        last.set(digest(5), 1000);
        last.set(digest(6), LastWrites::DELETED);
        assert_eq!((last.get(digest(5)), last.get(digest(7))), (Some(1000), Some(7)));
        let existing: std::collections::BTreeSet<u32> = last.existing().collect();
        assert_eq!((existing.len(), existing.contains(&5), existing.contains(&6)), (999, false, false));
    }
}
