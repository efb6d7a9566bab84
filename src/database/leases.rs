//! The leases in a database, and their time to live.

use super::bolt::Database;
use super::bolt::Value;
use super::protobuf::{Fault, Fields, MessageSource};
use super::refusal::refusal;
use super::schema::LEASE_BUCKET;
use crate::error::{Kind, Result};
use crate::interrupt::Interrupt;

/// More than etcd lists in one answer of the 4 MiB that clients accept.
const LEASES_MAX: usize = 500_000;

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// Its id.
    pub id: i64,
    /// The granted time to live in seconds, which begins anew whenever a leader is elected.
    pub granted: i64,
}

impl Lease {
    /// Parses a `leasepb.Lease` (`lease/leasepb/lease.proto` in etcd).
    pub(super) fn parse(message: impl MessageSource) -> Result<Self, Fault> {
        let mut lease = Self { id: 0, granted: 0 };
        for field in Fields::of(message) {
            let field = field?;
            match field.tag {
                1 => lease.id = field.number()?.cast_signed(),
                2 => lease.granted = field.number()?.cast_signed(),
                // The remaining seconds.
                3 => drop(field.number()?),
                _ => {}
            }
        }
        Ok(lease)
    }
}

/// All leases, in ascending order of their ids; `None` where there are too many to hold in memory.
///
/// # Errors
/// The errors of [`Database::walk`]; [`Kind::DatabaseDamaged`] for what etcd could not have written.
pub fn read_leases(database: &Database<'_>, interrupt: &Interrupt) -> Result<Option<Vec<Lease>>> {
    let mut leases = Some(Vec::new());
    let walked = database.walk_bucket(LEASE_BUCKET, interrupt, &mut |_, key, value| {
        let lease = match value {
            Value::Whole(bytes) => Lease::parse(bytes),
            Value::Long(stretch) => Lease::parse(stretch),
        };
        let lease = lease.map_err(|fault| refusal(key, fault))?;
        match &mut leases {
            Some(kept) if kept.len() < LEASES_MAX => kept.push(lease),
            _ => leases = None,
        }
        Ok(())
    });
    match walked {
        // An etcd that never granted a lease may have no bucket for them.
        Err(error) if error.kind() == Kind::NotASnapshot => return Ok(Some(Vec::new())),
        other => other?,
    }
    if let Some(leases) = &mut leases {
        leases.sort_unstable();
    }
    Ok(leases)
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::Message;
    use super::*;

    #[test]
    fn a_lease_is_read() {
        let message = Message::default().number(1, 7).number(2, 3600).number(3, 0).finish();
        assert_eq!(Lease::parse(&message[..]).unwrap(), Lease { id: 7, granted: 3600 });
        assert!(Lease::parse(&message[..3]).is_err());
        assert!(Lease::parse(&Message::default().bytes(3, b"x").finish()[..]).is_err());
    }
}
