//! Chooses the member that serves: one with good data, whose load matters least.

use super::condition::MemberCondition;
use super::status::MemberStatus;
use crate::error::{Error, Kind, Result};
use std::fmt::Write as _;

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
    fn demerit(&self) -> [bool; MERITS.len()] {
        let has = |held_against: fn(&MemberCondition, &MemberStatus) -> bool| {
            self.conditions.iter().any(|condition| held_against(condition, &self.status))
        };
        [
            has(|condition, status| *condition == MemberCondition::Corrupt(status.member_id)),
            has(|condition, _| *condition == MemberCondition::NoLeader),
            has(|condition, _| matches!(condition, MemberCondition::Other(_))),
            has(|condition, _| matches!(condition, MemberCondition::Lagging(_))),
            self.status.is_leader,
        ]
    }

    /// What the member answered, for the log.
    fn answer(&self) -> String {
        let Self { endpoint, status, conditions, .. } = self;
        let role = match (status.is_leader, status.is_learner) {
            (true, _) => "leader",
            (_, true) => "learner",
            _ => "follower",
        };
        let behind = status.raft_index.saturating_sub(status.raft_applied_index);
        let mut answer = format!(
            "{endpoint} is member {:016x}, etcd {}, {role}, revision {}, {behind} raft entries to apply",
            status.member_id, status.version, status.revision
        );
        for condition in conditions {
            let _ = write!(answer, ", reports {condition}");
        }
        answer
    }
}

/// What speaks for a member without the demerit, in the order of [`Candidate::demerit`].
const MERITS: [&str; 5] = [
    "no CORRUPT alarm names it",
    "it knows a leader",
    "it reports no other error",
    "it does not lag",
    "it is not the leader, whose load matters most",
];

/// Tells the log what each of the `ordered` members answered, and why the first of them is the best.
pub(super) fn tell<M>(ordered: &[Candidate<M>]) {
    for candidate in ordered {
        tracing::debug!("{}", candidate.answer());
    }
    if let [best, others @ ..] = ordered {
        tracing::debug!("asking {}: {}", best.endpoint, reason(best, others.first()));
    }
}

/// Why `best` is asked, and not the `next` best.
fn reason<M>(best: &Candidate<M>, next: Option<&Candidate<M>>) -> String {
    let Some(next) = next else { return "no other member can be asked".to_owned() };
    let demerits = best.demerit().into_iter().zip(next.demerit());
    let better = demerits.zip(MERITS).find(|((best, next), _)| best != next);
    match better {
        Some((_, merit)) => format!("{merit}, unlike {}", next.endpoint),
        None => format!("nothing speaks for {} in its place, and it is named first", next.endpoint),
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
                tracing::warn!("{} is skipped: the member is a learner", candidate.endpoint);
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

    #[test]
    fn the_log_says_why_a_member_is_asked() {
        let why = |candidates: Vec<Candidate<()>>| {
            let ordered = order(candidates, false).unwrap();
            reason(&ordered[0], ordered.get(1))
        };
        let (a, b) = (|| candidate("a", |_| ()), || candidate("b", |_| ()));
        assert_eq!(why(vec![a()]), "no other member can be asked");
        assert_eq!(why(vec![a(), b()]), "nothing speaks for b in its place, and it is named first");
        let leader = candidate("a", |status| status.is_leader = true);
        assert_eq!(why(vec![leader, b()]), "it is not the leader, whose load matters most, unlike a");
        let lost = candidate("a", |status| status.has_leader = false);
        assert_eq!(why(vec![lost, b()]), "it knows a leader, unlike a");
        let lagging = candidate("b", |status| status.raft_applied_index = 3999);
        let told = "b is member 0000000000000002, etcd 3.5.30, follower, revision 10, 5001 raft entries to apply, \
                    reports a lag of 5001 raft entries";
        assert_eq!(order(vec![lagging], false).unwrap()[0].answer(), told);
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
