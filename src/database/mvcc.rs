//! How etcd stores keys and their history in a database.
//!
//! The bucket `key` holds, under each revision, the key-value pair that was written then (`mvcc/revision.go`,
//! `mvcc/kvstore.go` in etcd): main revision u64, `_`, sub revision u64, all big-endian, and a `t` behind it for a deletion.
//! The value is an `mvccpb.KeyValue`; that of a deletion holds the key alone.

use super::protobuf::{Fault, Fields, MessageSource};

/// `revBytesLen` in etcd's `mvcc/revision.go`.
pub(super) const REVISION_SIZE: usize = 17;
/// `markedRevBytesLen` in etcd's `mvcc/revision.go`: the size of a deletion's key, the longest in the bucket `key`.
pub(super) const TOMBSTONE_SIZE: usize = REVISION_SIZE + 1;
const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// Identifies a write: no two writes have the same revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    /// The transaction.
    pub main: i64,
    /// The write in it.
    pub sub: i64,
}

impl Revision {
    /// Parses a key of the bucket `key`, and says whether it is a deletion.
    #[must_use]
    pub fn parse(key: &[u8]) -> Option<(Self, bool)> {
        let deletion = match key.get(REVISION_SIZE..)? {
            [] => false,
            [TOMBSTONE] => true,
            _ => return None,
        };
        let main = i64::from_be_bytes(key.get(..8)?.try_into().ok()?);
        let sub = i64::from_be_bytes(key.get(9..REVISION_SIZE)?.try_into().ok()?);
        (key[8] == SEPARATOR && main >= 0 && sub >= 0).then_some((Self { main, sub }, deletion))
    }

    /// The key of a write that is no deletion.
    #[must_use]
    pub fn to_bytes(self) -> [u8; REVISION_SIZE] {
        let mut bytes = [SEPARATOR; REVISION_SIZE];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[9..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }
}

/// The fields of an `mvccpb.KeyValue` that matter here (`mvccpb/kv.proto` in etcd).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyValue<S> {
    /// The user's key; `None` for the empty one.
    pub(super) key: Option<S>,
    /// The user's value; `None` where there is none.
    pub(super) value: Option<S>,
    /// The lease to which the key is attached, 0 for none.
    pub(super) lease: i64,
}

impl<S: MessageSource> KeyValue<S> {
    /// Parses one; an empty message is the empty key, as etcd's own bump of the revision writes it.
    pub(super) fn parse(message: S) -> Result<Self, Fault> {
        let mut parsed = Self { key: None, value: None, lease: 0 };
        for field in Fields::of(message) {
            let field = field?;
            match field.tag {
                1 => parsed.key = Some(field.bytes()?),
                // The revision that created the key, the one that last wrote it, and the number of writes since.
                2..=4 => {
                    field.number()?;
                }
                5 => parsed.value = Some(field.bytes()?),
                6 => parsed.lease = field.number()?.cast_signed(),
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// The key of an `mvccpb.KeyValue` and its value, of which only the first bytes may be at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PairBeginning<'b> {
    pub(super) key: &'b [u8],
    /// As much of the value as is at hand.
    pub(super) value: &'b [u8],
    /// The bytes of the whole value.
    pub(super) value_size: u64,
}

impl<'b> PairBeginning<'b> {
    /// Parses the first bytes of one, up to the value, with the fields that [`KeyValue`] has; `None` where they end before the
    /// value, or are no such message.
    pub(super) fn parse(mut bytes: &'b [u8]) -> Option<Self> {
        let number = |bytes: &mut &'b [u8]| bytes.varint().ok().flatten();
        let mut found = Self { key: &[], value: &[], value_size: 0 };
        while !bytes.is_empty() {
            match number(&mut bytes)? {
                // The key, as bytes.
                0x0A => {
                    let size = usize::try_from(number(&mut bytes)?).ok()?;
                    (found.key, bytes) = bytes.split_at_checked(size)?;
                }
                // The value, as bytes, behind which only the lease can be.
                0x2A => {
                    found.value_size = number(&mut bytes)?;
                    let at_hand = usize::try_from(found.value_size).unwrap_or(usize::MAX).min(bytes.len());
                    found.value = &bytes[..at_hand];
                    return Some(found);
                }
                // The two revisions, the version and the lease, as numbers.
                0x10 | 0x18 | 0x20 | 0x30 => {
                    number(&mut bytes)?;
                }
                _ => return None,
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::Message;
    use super::*;

    #[test]
    fn revisions_are_read_as_written() {
        let revision = Revision { main: 314, sub: 2 };
        let bytes = revision.to_bytes();
        assert_eq!(Revision::parse(&bytes), Some((revision, false)));
        assert_eq!(Revision::parse(&[&bytes[..], b"t"].concat()), Some((revision, true)));
        for wrong in [&bytes[..16], &[&bytes[..], b"x"].concat(), &[&bytes[..], b"tt"].concat(), &[0xFF; 17]]
        {
            assert_eq!(Revision::parse(wrong), None);
        }
        let mut other = bytes;
        other[8] = b'-';
        assert_eq!(Revision::parse(&other), None);
    }

    #[test]
    fn a_pair_is_read() {
        let message = Message::default()
            .bytes(1, b"/a")
            .number(2, 5)
            .number(3, 6)
            .number(4, 1)
            .bytes(5, b"v")
            .number(6, 9);
        let message = message.finish();
        let pair = KeyValue::parse(&message[..]).unwrap();
        assert_eq!(pair, KeyValue { key: Some(&b"/a"[..]), value: Some(b"v"), lease: 9 });
        assert!(KeyValue::parse(&message[..message.len() - 1]).is_err());
        assert_eq!(KeyValue::parse(&b""[..]).unwrap(), KeyValue { key: None, value: None, lease: 0 });
    }

    #[test]
    fn the_beginning_of_a_pair_suffices_for_its_key() {
        let message = Message::default().bytes(1, b"/a").number(2, 500).number(3, 600).number(4, 1);
        let message = message.bytes(5, b"value").number(6, 9).finish();
        let whole = PairBeginning { key: b"/a", value: b"value", value_size: 5 };
        assert_eq!(PairBeginning::parse(&message), Some(whole));
        for size in 0..message.len() - 2 {
            let expected = PairBeginning { value: b"value".get(..size.saturating_sub(14)).unwrap(), ..whole };
            let parsed = PairBeginning::parse(&message[..size]).filter(|parsed| parsed.value_size > 0);
            assert_eq!(parsed, (size >= 14).then_some(expected), "{size}");
        }
        let deletion = Message::default().bytes(1, b"/a").finish();
        assert_eq!(
            PairBeginning::parse(&deletion),
            Some(PairBeginning { key: b"/a", value: b"", value_size: 0 })
        );
        assert_eq!(PairBeginning::parse(b"\x0B"), None);
        // A number of more than 64 bits is none, as it is in a whole pair.
        let long = b"\x10\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F";
        assert!(PairBeginning::parse(long).is_none() && KeyValue::parse(&long[..]).is_err());
    }

    #[test]
    fn a_pair_with_a_field_of_another_type_is_none() {
        for tag in [1, 5] {
            assert!(KeyValue::parse(&Message::default().number(tag, 7).finish()[..]).is_err());
        }
        for tag in [2, 3, 4, 6] {
            assert!(KeyValue::parse(&Message::default().bytes(tag, b"x").finish()[..]).is_err());
        }
        assert!(KeyValue::parse(&Message::default().bytes(7, b"x").finish()[..]).is_ok());
    }
}
