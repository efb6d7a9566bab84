//! The leases in a database: which there are, and how long etcd lets them live.

use super::file::{Database, damaged};
use super::protobuf::Fields;
use crate::error::{Kind, Result};
use crate::interrupt::Interrupt;

const LEASE_BUCKET: &[u8] = b"lease";

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// Its id.
    pub id: i64,
    /// The seconds it was granted, which begin anew whenever a leader is elected.
    pub granted: i64,
}

impl Lease {
    /// Reads a `leasepb.Lease` (`lease/leasepb/lease.proto` in etcd).
    fn parse(message: &[u8]) -> Option<Self> {
        let mut lease = Self { id: 0, granted: 0 };
        for field in Fields::of(message) {
            match field? {
                (1, id) => lease.id = id.number()?.cast_signed(),
                (2, granted) => lease.granted = granted.number()?.cast_signed(),
                _ => {}
            }
        }
        Some(lease)
    }
}

/// All leases, in the order of their ids.
///
/// # Errors
/// Those of [`Database::walk`]; [`Kind::DatabaseDamaged`] for what etcd could not have written.
pub fn read_leases(database: &Database<'_>, interrupt: &Interrupt) -> Result<Vec<Lease>> {
    let mut leases = Vec::new();
    let walked = database.walk_bucket(LEASE_BUCKET, interrupt, &mut |_, key, value| {
        let lease = Lease::parse(value)
            .ok_or_else(|| damaged(format!("the lease {} is malformed", hex::encode(key))))?;
        leases.push(lease);
        Ok(())
    });
    match walked {
        // An etcd that never granted any may have no bucket for them.
        Err(error) if error.kind() == Kind::NotASnapshot && leases.is_empty() => return Ok(leases),
        other => other?,
    }
    leases.sort_unstable();
    Ok(leases)
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::Message;
    use super::*;

    #[test]
    fn a_lease_is_read() {
        let message = Message::default().number(1, 7).number(2, 3600).number(3, 0).finish();
        assert_eq!(Lease::parse(&message), Some(Lease { id: 7, granted: 3600 }));
        assert_eq!(Lease::parse(&message[..3]), None);
    }
}
