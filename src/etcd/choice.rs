//! Chooses the member that serves: one with good data, whose load matters least.

use super::condition::MemberCondition;
use super::status::MemberStatus;
use crate::error::{Error, Kind, Result};

/// A member that answered: its endpoint as given, its status, and the connection to it.
pub(super) struct Candidate<M> {
    pub(super) endpoint: String,
    pub(super) member: M,
    pub(super) status: MemberStatus,
    /// The conditions that count against it; known once it has been compared with the others.
    pub(super) conditions: Vec<MemberCondition>,
}

impl<M> Candidate<M> {
    pub(super) fn new(endpoint: String, member: M, status: MemberStatus) -> Self {
        Self { endpoint, member, status, conditions: Vec::new() }
    }

    /// The sort key; the smallest is the best. Alarms that name other members, and a NOSPACE alarm, do not count: every
    /// member reports them, and they say nothing against its data.
    fn demerit(&self) -> impl Ord + use<M> {
        let has = |held_against: fn(&MemberCondition, &MemberStatus) -> bool| {
            self.conditions.iter().any(|condition| held_against(condition, &self.status))
        };
        (
            has(|condition, status| *condition == MemberCondition::Corrupt(status.member_id)),
            has(|condition, _| *condition == MemberCondition::NoLeader),
            has(|condition, _| matches!(condition, MemberCondition::Other(_))),
            has(|condition, _| matches!(condition, MemberCondition::Lagging(_))),
            self.status.is_leader,
        )
    }
}

/// Orders the candidates, best first. It prefers, in this order, data that no CORRUPT alarm names, a known leader, no other
/// error, no lag, and a member that is not the leader; else it keeps the given order. It skips learners, except for one that
/// is the only endpoint.
///
/// # Errors
/// [`Kind::Usage`] when the candidates are of different clusters: the program cannot guess which one is meant.
pub(super) fn order<M>(mut candidates: Vec<Candidate<M>>, only_endpoint: bool) -> Result<Vec<Candidate<M>>> {
    refuse_two_clusters(&candidates)?;
    if !only_endpoint {
        candidates.retain(|candidate| {
            if candidate.status.is_learner {
                tracing::warn!(
                    endpoint = candidate.endpoint,
                    "an endpoint was skipped: the member is a learner"
                );
            }
            !candidate.status.is_learner
        });
    }
    let newest = candidates.iter().map(|candidate| candidate.status.raft_index).max().unwrap_or(0);
    for candidate in &mut candidates {
        candidate.conditions = candidate.status.conditions(newest);
    }
    candidates.sort_by_key(Candidate::demerit);
    Ok(candidates)
}

fn refuse_two_clusters<M>(candidates: &[Candidate<M>]) -> Result<()> {
    let Some(first) = candidates.first() else { return Ok(()) };
    match candidates.iter().find(|other| other.status.cluster_id != first.status.cluster_id) {
        None => Ok(()),
        Some(other) => Err(Error::new(
            Kind::Usage,
            format!(
                "{} is of cluster {:016x}, but {} of cluster {:016x}",
                first.endpoint, first.status.cluster_id, other.endpoint, other.status.cluster_id
            ),
        )
        .with_hint("name members of one cluster in `endpoints`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(endpoint: &str, change: impl FnOnce(&mut MemberStatus)) -> Candidate<()> {
        let mut status = MemberStatus {
            cluster_id: 1,
            member_id: 2,
            version: "3.5.30".to_owned(),
            storage_version: None,
            revision: 10,
            raft_index: 9000,
            raft_applied_index: 9000,
            raft_term: 2,
            has_leader: true,
            database_size: 1,
            database_size_in_use: 1,
            is_leader: false,
            is_learner: false,
            errors: Vec::new(),
        };
        change(&mut status);
        Candidate::new(endpoint.to_owned(), (), status)
    }

    fn ordered(candidates: Vec<Candidate<()>>) -> Vec<String> {
        order(candidates, false).unwrap().into_iter().map(|candidate| candidate.endpoint).collect()
    }

    #[test]
    fn a_healthy_follower_comes_first_and_troubled_members_last() {
        let candidates = vec![
            candidate("cut off, and says so", |status| {
                status.errors.push("etcdserver: no leader".to_owned());
            }),
            candidate("corrupt", |status| status.errors.push("memberID:2 alarm:CORRUPT ".to_owned())),
            candidate("cut off", |status| status.has_leader = false),
            candidate("burning", |status| status.errors.push("on fire".to_owned())),
            candidate("lagging", |status| status.raft_applied_index = 3999),
            candidate("leader", |status| status.is_leader = true),
            candidate("follower", |_| ()),
            candidate("follower too", |status| status.raft_applied_index = 4000),
            candidate("learner", |status| status.is_learner = true),
        ];
        assert_eq!(
            ordered(candidates),
            [
                "follower",
                "follower too",
                "leader",
                "lagging",
                "burning",
                "cut off, and says so",
                "cut off",
                "corrupt"
            ]
        );
    }

    /// Every member reports the alarms of all members.
    #[test]
    fn an_alarm_counts_against_the_member_it_names() {
        let alarms = ["memberID:3 alarm:CORRUPT ", "memberID:4 alarm:NOSPACE "].map(str::to_owned);
        let candidates = [2, 3, 4].map(|member_id| {
            candidate(&member_id.to_string(), |status| {
                status.member_id = member_id;
                status.errors = alarms.to_vec();
            })
        });
        assert_eq!(ordered(candidates.into()), ["2", "4", "3"]);
        let candidate = order(vec![candidate("2", |status| status.errors = alarms.to_vec())], true);
        let conditions = [MemberCondition::Corrupt(3), MemberCondition::Nospace(4)];
        assert_eq!(candidate.unwrap()[0].conditions, conditions);
    }

    #[test]
    fn a_learner_serves_only_where_it_is_the_only_endpoint() {
        let learner = || vec![candidate("learner", |status| status.is_learner = true)];
        assert!(ordered(learner()).is_empty());
        assert_eq!(order(learner(), true).unwrap().len(), 1);
    }

    #[test]
    fn members_of_two_clusters_are_refused() {
        let candidates = vec![candidate("one", |_| ()), candidate("two", |status| status.cluster_id = 7)];
        let error = order(candidates, false).err().unwrap();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(
            error.to_string(),
            "one is of cluster 0000000000000001, but two of cluster 0000000000000007"
        );
    }
}
