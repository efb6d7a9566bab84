//! The alarms in a database.

use super::protobuf::{Fault, Fields};
use crate::error::Result;

/// An alarm that is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The member that raised it.
    pub member: u64,
    /// The reason for it.
    pub kind: AlarmKind,
}

/// The reason for an alarm: `AlarmType` in etcd's `rpc.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The database exceeds its quota: nothing can be written.
    NoSpace,
    /// Members hold different data.
    Corrupt,
    /// A kind that this program does not know.
    Other(u64),
}

impl Alarm {
    /// Parses an `AlarmMember` of etcd's `rpc.proto`, which is the key in the bucket `alarm`; `None` for one without a kind.
    pub(super) fn parse(key: &[u8]) -> Result<Option<Self>, Fault> {
        let (mut member, mut kind) = (0, 0);
        for field in Fields::of(key) {
            let field = field?;
            match field.tag {
                1 => member = field.number()?,
                2 => kind = field.number()?,
                _ => {}
            }
        }
        let kind = match kind {
            0 => return Ok(None),
            1 => AlarmKind::NoSpace,
            2 => AlarmKind::Corrupt,
            other => AlarmKind::Other(other),
        };
        Ok(Some(Self { member, kind }))
    }
}

impl std::fmt::Display for AlarmKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSpace => formatter.write_str("NOSPACE"),
            Self::Corrupt => formatter.write_str("CORRUPT"),
            Self::Other(number) => write!(formatter, "alarm {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::Message;
    use super::*;

    #[test]
    fn alarms_are_read() {
        let key = Message::default().number(1, 7).number(2, 1).finish();
        assert_eq!(Alarm::parse(&key).unwrap(), Some(Alarm { member: 7, kind: AlarmKind::NoSpace }));
        assert_eq!(Alarm::parse(&Message::default().number(1, 7).finish()).unwrap(), None);
        assert!(Alarm::parse(b"\x08").is_err());
    }
}
