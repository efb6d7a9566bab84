//! The conditions that a member's status reports.

use super::status::MemberStatus;
use std::fmt;

/// Entries a member may have left to apply before it counts as lagging: above that, etcd itself refuses proposals with "too
/// many requests" (`maxGapBetweenApplyAndCommitIndex` in etcdserver).
pub(super) const BEARABLE_LAG: u64 = 5000;

/// etcd's message for a member that knows no leader (`ErrNoLeader` in etcdserver).
const NO_LEADER: &str = "etcdserver: no leader";

/// A problem that a member reports of itself or its cluster, and that makes its data doubtful or hard to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberCondition {
    /// It knows no leader: it may be cut off from its cluster.
    NoLeader,
    /// The CORRUPT alarm of the member with this id. Every member reports the alarms of the whole cluster.
    Corrupt(u64),
    /// The NOSPACE alarm of the member with this id.
    Nospace(u64),
    /// It is a learner.
    Learner,
    /// It has yet to apply this many entries that its cluster has committed.
    Lagging(u64),
    /// Anything else, in the member's own words.
    Other(String),
}

impl fmt::Display for MemberCondition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader => formatter.write_str("no leader"),
            Self::Corrupt(id) => write!(formatter, "the CORRUPT alarm of member {id:016x}"),
            Self::Nospace(id) => write!(formatter, "the NOSPACE alarm of member {id:016x}"),
            Self::Learner => formatter.write_str("that it is a learner"),
            Self::Lagging(behind) => write!(formatter, "a lag of {behind} raft entries"),
            Self::Other(text) => write!(formatter, "{text:?}"),
        }
    }
}

impl MemberStatus {
    /// The conditions of this member, the gravest first. `newest` is the newest raft index that any member reported.
    pub(super) fn conditions(&self, newest: u64) -> Vec<MemberCondition> {
        let mut conditions: Vec<MemberCondition> = self.errors.iter().map(|error| of_error(error)).collect();
        if !self.has_leader && !conditions.contains(&MemberCondition::NoLeader) {
            conditions.push(MemberCondition::NoLeader);
        }
        if self.is_learner {
            conditions.push(MemberCondition::Learner);
        }
        let behind = newest.max(self.raft_index).saturating_sub(self.raft_applied_index);
        if behind > BEARABLE_LAG {
            conditions.push(MemberCondition::Lagging(behind));
        }
        conditions.sort_by_key(|condition| match condition {
            MemberCondition::Corrupt(id) if *id == self.member_id => 0,
            MemberCondition::NoLeader => 1,
            MemberCondition::Learner => 2,
            MemberCondition::Lagging(_) => 3,
            MemberCondition::Corrupt(_) => 4,
            MemberCondition::Nospace(_) => 5,
            MemberCondition::Other(_) => 6,
        });
        conditions
    }

    /// The conditions from this status alone, such as one taken after a stream: the lag is relative to its own raft index.
    #[must_use]
    pub fn conditions_alone(&self) -> Vec<MemberCondition> {
        self.conditions(self.raft_index)
    }
}

fn of_error(error: &str) -> MemberCondition {
    if error.trim() == NO_LEADER {
        return MemberCondition::NoLeader;
    }
    of_alarm(error).unwrap_or_else(|| MemberCondition::Other(error.to_owned()))
}

/// Parses an alarm as etcd prints it: `memberID:589039656758842375 alarm:NOSPACE `, the id in decimal. Returns `None` for an
/// alarm that names no member, or that this program does not know.
fn of_alarm(text: &str) -> Option<MemberCondition> {
    let mut words = text.split_ascii_whitespace();
    let member_id = words.next()?.strip_prefix("memberID:")?.parse().ok()?;
    let alarm = match words.next()?.strip_prefix("alarm:")? {
        "NOSPACE" => MemberCondition::Nospace(member_id),
        "CORRUPT" => MemberCondition::Corrupt(member_id),
        _ => return None,
    };
    words.next().is_none().then_some(alarm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_read_as_etcd_prints_them() {
        assert_eq!(
            of_error("memberID:589039656758842375 alarm:NOSPACE "),
            MemberCondition::Nospace(0x082c_b072_6bba_9407)
        );
        assert_eq!(of_error("memberID:2  alarm:CORRUPT"), MemberCondition::Corrupt(2));
        assert_eq!(of_error("etcdserver: no leader"), MemberCondition::NoLeader);
        for other in [
            "memberID:2",
            "memberID:x alarm:CORRUPT",
            "memberID:-2 alarm:CORRUPT",
            "memberID:99999999999999999999 alarm:CORRUPT",
            "alarm:CORRUPT",
            "memberID:2 alarm:ON_FIRE",
            "memberID:2 alarm:CORRUPT or so",
            "",
        ] {
            assert_eq!(of_error(other), MemberCondition::Other(other.to_owned()));
        }
    }
}
