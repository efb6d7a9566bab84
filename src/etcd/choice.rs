//! Which member serves: the one whose load matters least and whose data is good.

use super::status::Status;
use crate::error::{Error, Kind, Result};

/// Entries a member may have left to apply before it counts as lagging: from here on etcd itself refuses
/// proposals with "too many requests" (`maxGapBetweenApplyAndCommitIndex` in etcdserver).
const BEARABLE_LAG: u64 = 5000;

/// A member that answered: where it was given, what it said, and whatever belongs to it.
pub(super) struct Candidate<M> {
    pub(super) endpoint: String,
    pub(super) member: M,
    pub(super) status: Status,
}

/// Orders the candidates, best first: none that reports errors, none that lags, no leader; then as given.
/// Learners are left out, but for one that is the only endpoint there is.
///
/// # Errors
/// [`Kind::Usage`] when the candidates are of different clusters: which of them is meant cannot be guessed.
pub(super) fn order<M>(mut candidates: Vec<Candidate<M>>, only_endpoint: bool) -> Result<Vec<Candidate<M>>> {
    refuse_two_clusters(&candidates)?;
    if only_endpoint {
        if candidates.iter().any(|candidate| candidate.status.is_learner) {
            tracing::warn!("the only endpoint is a learner, whose data may lag behind");
        }
    } else {
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
    candidates.sort_by_key(|Candidate { status, .. }| {
        let lags = newest.saturating_sub(status.raft_applied_index) > BEARABLE_LAG;
        (!status.errors.is_empty(), lags, status.is_leader)
    });
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
        .with_hint("name members of one cluster in --endpoints")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(endpoint: &str, change: impl FnOnce(&mut Status)) -> Candidate<()> {
        let mut status = Status {
            cluster_id: 1,
            member_id: 2,
            version: "3.5.30".to_owned(),
            storage_version: None,
            revision: 10,
            raft_index: 9000,
            raft_applied_index: 9000,
            raft_term: 2,
            database_size: 1,
            database_size_in_use: 1,
            is_leader: false,
            is_learner: false,
            errors: Vec::new(),
        };
        change(&mut status);
        Candidate { endpoint: endpoint.to_owned(), member: (), status }
    }

    fn ordered(candidates: Vec<Candidate<()>>) -> Vec<String> {
        order(candidates, false).unwrap().into_iter().map(|candidate| candidate.endpoint).collect()
    }

    #[test]
    fn a_healthy_follower_comes_first_and_troubled_members_last() {
        let candidates = vec![
            candidate("alarmed", |status| status.errors.push("NOSPACE".to_owned())),
            candidate("lagging", |status| status.raft_applied_index = 3999),
            candidate("leader", |status| status.is_leader = true),
            candidate("follower", |_| ()),
            candidate("follower too", |status| status.raft_applied_index = 4000),
            candidate("learner", |status| status.is_learner = true),
        ];
        assert_eq!(ordered(candidates), ["follower", "follower too", "leader", "lagging", "alarmed"]);
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
