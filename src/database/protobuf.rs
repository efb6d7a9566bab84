//! The few protocol buffer messages in a database, a write-ahead log and a raft snapshot.
//!
//! etcd writes messages by gogoproto with `nullable=false`: scalars that are zero are written, too, which no crate does. The
//! bytes written here must equal etcd's own, so this module builds the messages field by field.

use super::bolt::{PIECE_SIZE, Stretch};
use crate::error::{Error, Result};

/// Wire types of the protocol buffers encoding.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;
/// The largest number of a field (`MaxValidNumber` in `protowire`).
const FIELD_MAX: u64 = (1 << 29) - 1;
/// The most bytes of a varint.
const VARINT_SIZE: usize = 10;

/// A message being built.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Adds a scalar, zero or not.
    pub(super) fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(value);
        self
    }

    /// Adds bytes, or a message.
    pub(super) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    /// The whole message.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(low_byte(value) | 0x80);
            value >>= 7;
        }
        self.bytes.push(low_byte(value));
    }
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Why etcd cannot read a message.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is wrong with it.
    Malformed(String),
    /// The file cannot be read.
    Unreadable(Error),
}

impl Fault {
    fn malformed<T>(what: impl Into<String>) -> Result<T, Self> {
        Err(Self::Malformed(what.into()))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Unreadable(error)
    }
}

/// The remaining bytes of a message, in memory or in a file.
pub(super) trait MessageSource: Copy {
    /// The number of remaining bytes.
    fn size(&self) -> u64;
    /// Takes a varint; `None` where it does not end, or has more than 64 bits.
    fn varint(&mut self) -> Result<Option<u64>, Fault>;
    /// Takes `size` bytes; `None` where fewer remain.
    fn take(&mut self, size: u64) -> Option<Self>;
    /// The first bytes: at least as many as `buffer` holds, if there are as many.
    fn beginning<'b>(&'b self, buffer: &'b mut [u8]) -> Result<&'b [u8]>;
    /// Passes all bytes to `take`. Equal bytes come in equal pieces.
    fn pieces(&self, take: &mut dyn FnMut(&[u8])) -> Result<()>;
}

impl MessageSource for Stretch<'_> {
    fn size(&self) -> u64 {
        Self::size(*self)
    }

    fn varint(&mut self) -> Result<Option<u64>, Fault> {
        let mut buffer = [0; VARINT_SIZE];
        let head = Self::beginning(*self, &mut buffer)?;
        let mut rest = head;
        let number = rest.varint()?;
        let taken = (head.len() - rest.len()) as u64;
        if let Some((_, rest)) = self.split_at(taken) {
            *self = rest;
        }
        Ok(number)
    }

    fn take(&mut self, size: u64) -> Option<Self> {
        let (taken, rest) = self.split_at(size)?;
        *self = rest;
        Some(taken)
    }

    fn beginning<'b>(&'b self, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        Self::beginning(*self, buffer)
    }

    fn pieces(&self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        Self::pieces(*self, take)
    }
}

impl MessageSource for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn varint(&mut self) -> Result<Option<u64>, Fault> {
        let mut value = 0;
        for (position, byte) in self.iter().take(VARINT_SIZE).enumerate() {
            let (bits, shift) = (u64::from(byte & 0x7F), 7 * position);
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if value >> shift != bits {
                    return Ok(None);
                }
                *self = &self[position + 1..];
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn take(&mut self, size: u64) -> Option<Self> {
        let (taken, rest) = self.split_at_checked(usize::try_from(size).ok()?)?;
        *self = rest;
        Some(taken)
    }

    fn beginning<'b>(&'b self, _: &'b mut [u8]) -> Result<&'b [u8]> {
        Ok(self)
    }

    fn pieces(&self, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.chunks(PIECE_SIZE).for_each(take);
        Ok(())
    }
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<S> {
    /// Its number.
    pub(super) tag: u64,
    value: FieldValue<S>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldValue<S> {
    Number(u64),
    /// Bytes, a string or a message.
    Bytes(S),
    /// A wire type that no message here uses.
    Other(u64),
}

impl<S> Field<S> {
    /// The number; another type is an error, as in etcd.
    pub(super) fn number(self) -> Result<u64, Fault> {
        match self.value {
            FieldValue::Number(number) => Ok(number),
            _ => self.wrong_type(VARINT),
        }
    }

    /// The bytes; another type is an error, as in etcd.
    pub(super) fn bytes(self) -> Result<S, Fault> {
        match self.value {
            FieldValue::Bytes(bytes) => Ok(bytes),
            _ => self.wrong_type(LENGTH_DELIMITED),
        }
    }

    fn wrong_type<T>(self, expected: u64) -> Result<T, Fault> {
        let found = match self.value {
            FieldValue::Number(_) => VARINT,
            FieldValue::Bytes(_) => LENGTH_DELIMITED,
            FieldValue::Other(wire_type) => wire_type,
        };
        let tag = self.tag;
        Fault::malformed(format!("its field {tag} has the wire type {found} instead of {expected}"))
    }
}

/// The fields of a message, in their order, parsed as etcd does. The iterator ends after an error.
///
/// gogoproto generates the parsers of etcd up to 3.6, which cut numbers to their types; 3.7 has those of Google's module, which
/// refuse numbers that are too large. The stricter counts: no etcd ever wrote such a number.
///
/// It accepts no groups. etcd would skip one with an unknown field number, but etcd never wrote any.
pub(super) struct Fields<S> {
    rest: S,
    failed: bool,
}

impl<S: MessageSource> Fields<S> {
    pub(super) fn of(message: S) -> Self {
        Self { rest: message, failed: false }
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        match self.rest.varint()? {
            Some(number) => Ok(number),
            None => Fault::malformed("a number in it does not end, or has more than 64 bits"),
        }
    }

    fn take(&mut self, size: u64) -> Result<S, Fault> {
        match self.rest.take(size) {
            Some(taken) => Ok(taken),
            None => Fault::malformed(format!("it claims {size} more bytes than it has")),
        }
    }

    fn field(&mut self) -> Result<Field<S>, Fault> {
        let key = self.varint()?;
        let tag = key >> 3;
        if tag == 0 || tag > FIELD_MAX {
            return Fault::malformed(format!("it has a field {tag}"));
        }
        let value = match key & 7 {
            VARINT => FieldValue::Number(self.varint()?),
            LENGTH_DELIMITED => {
                let size = self.varint()?;
                FieldValue::Bytes(self.take(size)?)
            }
            FIXED_64 => self.take(8).map(|_| FieldValue::Other(FIXED_64))?,
            FIXED_32 => self.take(4).map(|_| FieldValue::Other(FIXED_32))?,
            other => return Fault::malformed(format!("its field {tag} has the wire type {other}")),
        };
        Ok(Field { tag, value })
    }
}

impl<S: MessageSource> Iterator for Fields<S> {
    type Item = Result<Field<S>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.size() == 0 {
            return None;
        }
        let field = self.field();
        self.failed = field.is_err();
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let message = Message::default().number(1, 0).number(2, u64::MAX).bytes(3, b"abc").finish();
        assert_eq!(message[..2], [0x08, 0]);
        let fields: Vec<_> = Fields::of(&message[..]).map(Result::unwrap).collect();
        let field = |tag, value| Field { tag, value };
        assert_eq!(
            fields,
            [
                field(1, FieldValue::Number(0)),
                field(2, FieldValue::Number(u64::MAX)),
                field(3, FieldValue::Bytes(&b"abc"[..]))
            ]
        );
    }

    #[test]
    fn a_malformed_message_ends_where_it_is_malformed() {
        for (malformed, why) in [
            (&b"\x08"[..], "does not end"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "does not end"),
            (b"\x1a\x05abc", "claims 5 more bytes"),
            (b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc", "more bytes"),
            (b"\x0b", "wire type 3"),
            (b"\x0c", "wire type 4"),
            (b"\x00\x00", "a field 0"),
            (b"\x09abc", "claims 8 more bytes"),
            (b"\x0dabc", "claims 4 more bytes"),
            (b"\x80\x80\x80\x80\x10\x00", "a field 536870912"),
            (b"\x88\x80\x80\x80\x80\x01\x07", "a field 4294967297"),
            (b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", "more than 64 bits"),
        ] {
            let mut fields = Fields::of(malformed);
            match fields.next() {
                Some(Err(Fault::Malformed(what))) => assert!(what.contains(why), "{malformed:?}: {what}"),
                other => panic!("{malformed:?}: {other:?}"),
            }
            assert!(fields.next().is_none());
        }
    }

    #[test]
    fn a_field_of_another_type_is_an_error() {
        let message = Message::default().number(1, 7).bytes(2, b"x").finish();
        let fields: Vec<_> = Fields::of(&message[..]).map(Result::unwrap).collect();
        assert!(matches!(fields[0].bytes(), Err(Fault::Malformed(_))));
        assert!(matches!(fields[1].number(), Err(Fault::Malformed(_))));
    }
}
