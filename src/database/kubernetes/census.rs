//! Counts what lives at the newest revision, from eight bytes for each stored record.
//!
//! Only what the newest record of a key holds counts, and a database holds older ones, too. The records come in any order, as
//! pages do while a snapshot streams by; the caller knows their order at the end.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use super::value::{SECRETS, Stored, may_be_key, stored};
use super::{Counts, Encryption, Kubernetes};

/// The most different encryptions, each of one resource: a database that names more was forged.
const ENCRYPTIONS_MAX: usize = 32;
/// Records for each pass over all of them: what a pass looks for takes some 16 bytes for each.
const RECORDS_OF_A_PASS: usize = 1 << 17;

/// A record of a key: a hash of the key, and what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::database) struct Record(u64);

/// What a [`Record`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Other,
    Deletion,
    Object,
    PlainSecret,
    /// By the encryption with this number.
    Encrypted(usize),
    /// By an encryption beyond the limit.
    Unknown,
    /// It was not read.
    Unread,
}

impl Record {
    const SHIFT: u32 = 56;
    const OTHER: u64 = 0;
    const DELETION: u64 = 1;
    const OBJECT: u64 = 2;
    const PLAIN_SECRET: u64 = 3;
    const UNKNOWN: u64 = 4;
    const UNREAD_YET: u64 = 5;
    const ENCRYPTED: u64 = 6;
    /// The place of a record that is still to be read.
    pub(in crate::database) const UNREAD: Self = Self(Self::UNREAD_YET << Self::SHIFT);
    /// A record that does not count.
    pub(in crate::database) const NONE: Self = Self(Self::OTHER << Self::SHIFT);

    fn new(hash: u64, held: Held) -> Self {
        let kind = match held {
            Held::Other => Self::OTHER,
            Held::Deletion => Self::DELETION,
            Held::Object => Self::OBJECT,
            Held::PlainSecret => Self::PLAIN_SECRET,
            Held::Unknown => Self::UNKNOWN,
            Held::Unread => Self::UNREAD_YET,
            Held::Encrypted(number) => Self::ENCRYPTED + number as u64,
        };
        Self(kind << Self::SHIFT | hash >> (u64::BITS - Self::SHIFT))
    }

    fn held(self) -> Held {
        match self.0 >> Self::SHIFT {
            Self::OTHER => Held::Other,
            Self::DELETION => Held::Deletion,
            Self::OBJECT => Held::Object,
            Self::PLAIN_SECRET => Held::PlainSecret,
            Self::UNKNOWN => Held::Unknown,
            Self::UNREAD_YET => Held::Unread,
            encrypted => Held::Encrypted(usize::try_from(encrypted - Self::ENCRYPTED).unwrap_or_default()),
        }
    }

    /// The hash of the key: two of a million keys have an equal one once in 100,000 databases.
    fn hash(self) -> u64 {
        self.0 & (u64::MAX >> (u64::BITS - Self::SHIFT))
    }
}

/// Turns what is stored into [`Record`]s, and counts those.
#[derive(Default)]
pub(in crate::database) struct Census {
    /// Keyed, so that no user of a cluster can choose keys of equal hashes.
    hasher: RandomState,
    encryptions: Vec<Encryption>,
}

impl Census {
    /// The record for `value` under `key`, of which the first bytes suffice; `None` for what cannot be of Kubernetes.
    pub(in crate::database) fn record(&mut self, key: &[u8], value: &[u8], deletion: bool) -> Option<Record> {
        if !may_be_key(key) {
            return None;
        }
        let held = match stored(key, value) {
            _ if deletion => Held::Deletion,
            Stored::Other => Held::Other,
            Stored::Object => Held::Object,
            Stored::PlainSecret => Held::PlainSecret,
            Stored::Encrypted(encryption) => self.number(encryption).map_or(Held::Unknown, Held::Encrypted),
        };
        Some(Record::new(self.hasher.hash_one(key), held))
    }

    fn number(&mut self, encryption: Encryption) -> Option<usize> {
        let known = self.encryptions.iter().position(|known| *known == encryption);
        known.or_else(|| {
            let number = self.encryptions.len();
            (number < ENCRYPTIONS_MAX).then(|| {
                self.encryptions.push(encryption);
                number
            })
        })
    }

    /// Counts all records of a database, which begin with the newest; `None` where none is of Kubernetes.
    pub(in crate::database) fn count(
        &self,
        newest_first: &(impl Iterator<Item = Record> + Clone),
    ) -> Option<Kubernetes> {
        let (mut count, mut any, mut unknown) = (0, false, false);
        for record in newest_first.clone() {
            count += 1;
            any |= !matches!(record.held(), Held::Other | Held::Deletion | Held::Unread);
            unknown |= matches!(record.held(), Held::Unknown | Held::Unread);
        }
        if !any || unknown {
            return any.then_some(Kubernetes::Uncounted);
        }
        let passes = (count / RECORDS_OF_A_PASS + 1) as u64;
        let mut tally = Tally { counts: Counts::default(), of: self, seen: [false; ENCRYPTIONS_MAX] };
        for pass in 0..passes {
            let part = newest_first.clone().filter(|record| record.hash() % passes == pass);
            // Most keys never held what is counted.
            let mut wanted: HashSet<u64> = part.clone().filter(Record::counts).map(Record::hash).collect();
            part.for_each(|record| tally.add(record, wanted.remove(&record.hash())));
        }
        Some(Kubernetes::Counted(tally.finish()))
    }
}

impl Record {
    /// Whether such a record counts where it is the newest.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as iterators pass it")]
    fn counts(&self) -> bool {
        matches!(self.held(), Held::PlainSecret | Held::Encrypted(_))
    }
}

/// A count in progress.
struct Tally<'c> {
    counts: Counts,
    of: &'c Census,
    /// The encryptions that any record has.
    seen: [bool; ENCRYPTIONS_MAX],
}

impl Tally<'_> {
    /// Adds a record, which may be the newest of its key.
    fn add(&mut self, record: Record, newest: bool) {
        match record.held() {
            Held::PlainSecret if newest => {
                self.counts.secrets += 1;
                self.counts.plain_secrets += 1;
            }
            Held::Encrypted(number) => {
                self.seen[number] = true;
                if newest {
                    let encryption = &self.of.encryptions[number];
                    self.counts.secrets += u64::from(encryption.resource == SECRETS);
                    if !self.counts.encryption.contains(encryption) {
                        self.counts.encryption.insert(encryption.clone());
                    }
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Counts {
        let seen = self.of.encryptions.iter().zip(self.seen).filter(|(_, seen)| *seen);
        let older = seen.map(|(encryption, _)| encryption);
        let older =
            older.filter(|encryption| !self.counts.encryption.contains(*encryption)).cloned().collect();
        self.counts.older_encryption = older;
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"k8s\0\x0A\x0C\x0A\x02v1\x12\x06Secret\x12\x00";

    /// The counts of writes, the oldest first; no value is a deletion.
    fn count(writes: &[(&str, Option<&[u8]>)]) -> Option<Kubernetes> {
        let mut census = Census::default();
        let records: Vec<Record> = writes
            .iter()
            .filter_map(|(key, value)| {
                census.record(key.as_bytes(), value.unwrap_or_default(), value.is_none())
            })
            .collect();
        census.count(&records.iter().rev().copied())
    }

    fn counted(writes: &[(&str, Option<&[u8]>)]) -> String {
        let Some(Kubernetes::Counted(counts)) = count(writes) else { panic!() };
        let names = |all: &std::collections::BTreeSet<Encryption>| {
            let named = all.iter().map(|one| format!("{} {} of {}", one.provider, one.name, one.resource));
            named.collect::<Vec<_>>().join(", ")
        };
        let Counts { secrets, plain_secrets, encryption, older_encryption } = &counts;
        format!("{plain_secrets}/{secrets} [{}] [{}]", names(encryption), names(older_encryption))
    }

    #[test]
    fn the_newest_record_of_a_key_counts() {
        let key1: &[u8] = b"k8s:enc:aescbc:v1:key1:x";
        let key2: &[u8] = b"k8s:enc:aescbc:v1:key2:x";
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| format!("/registry/secrets/default/{name}"));
        let map = "/registry/configmaps/default/a";
        let told = counted(&[
            (&a, Some(SECRET)),
            (&a, Some(key1)),
            (&b, Some(key1)),
            (&b, None),
            (&c, Some(key1)),
            (&c, Some(SECRET)),
            (&d, Some(key2)),
            (&d, None),
            (map, Some(key2)),
            (map, Some(b"k8s\0")),
        ]);
        assert_eq!(told, "1/2 [aescbc key1 of secrets] [aescbc key2 of configmaps, aescbc key2 of secrets]");
    }

    #[test]
    fn a_database_of_something_else_has_no_count() {
        assert_eq!(count(&[("/registry/x", Some(b"hello")), ("foo", Some(SECRET)), ("/x", None)]), None);
        assert_eq!(count(&[]), None);
    }

    #[test]
    fn more_encryptions_than_any_cluster_has_are_not_counted() {
        let mut census = Census::default();
        let mut records = Vec::new();
        for number in 0..=ENCRYPTIONS_MAX {
            let value = format!("k8s:enc:aescbc:v1:key{number}:x");
            records.extend(census.record(b"/registry/secrets/a/b", value.as_bytes(), false));
        }
        assert_eq!(census.count(&records.iter().copied()), Some(Kubernetes::Uncounted));
        assert!(matches!(census.count(&records[..9].iter().copied()), Some(Kubernetes::Counted(_))));
    }

    #[test]
    fn many_records_are_counted_in_several_passes() {
        let mut census = Census::default();
        let keys = (0..300_000).map(|number| format!("/registry/secrets/a/{number}"));
        let records: Vec<Record> =
            keys.filter_map(|key| census.record(key.as_bytes(), SECRET, false)).collect();
        let twice = records.iter().chain(&records).copied();
        let Some(Kubernetes::Counted(counts)) = census.count(&twice) else { panic!() };
        assert_eq!((counts.secrets, counts.plain_secrets), (300_000, 300_000));
    }
}
