//! The first fields of every result: how much was proved.

use super::path::shown;
use crate::archive::manifest::Digest;
use crate::archive::member::Condition;
use crate::cli::exit::Exit;
use crate::cli::options::{hint, with_flags};
use crate::error::{Error, Kind};
use crate::store::Published;
use serde::Serialize;
use std::borrow::Cow;

/// How much a successful command has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proved {
    /// Everything that was asked for.
    AsAsked,
    /// Everything except that etcd wrote the snapshot.
    WithoutDigest,
    /// Only the structure readable without a key, with nothing to compare it with.
    StructureOnly,
    /// A snapshot of a member without a leader.
    WithoutLeader,
    /// A snapshot of a member that etcd itself reports as corrupt.
    OfCorruptMember,
    /// A snapshot of a learner.
    OfLearner,
    /// A data directory whose log ends in the middle of a record.
    OfCutLog,
}

impl Proved {
    /// The verdict on a snapshot with or without etcd's digest.
    #[must_use]
    pub(crate) fn by(digest: Digest) -> Self {
        match digest {
            Digest::Verified => Self::AsAsked,
            Digest::Absent => Self::WithoutDigest,
        }
    }

    /// The verdict on a snapshot of the member `id` under these conditions; the gravest decides.
    #[must_use]
    pub(crate) fn of_member<'a>(conditions: impl Iterator<Item = &'a Condition>, id: Option<&str>) -> Self {
        let verdict = |condition: &Condition| match condition {
            Condition::Corrupt { member_id } if Some(member_id.as_str()) == id => {
                Some((0, Self::OfCorruptMember))
            }
            Condition::NoLeader => Some((1, Self::WithoutLeader)),
            Condition::Learner => Some((2, Self::OfLearner)),
            _ => None,
        };
        let gravest = conditions.filter_map(verdict).min_by_key(|(order, _)| *order);
        gravest.map_or(Self::AsAsked, |(_, proved)| proved)
    }

    /// The exit code.
    #[must_use]
    pub(crate) fn exit(self) -> Exit {
        if self == Self::AsAsked { Exit::Done } else { Exit::Partly }
    }

    /// Why it is less than everything.
    pub(crate) fn shortfall(self) -> Option<Shortfall> {
        match self {
            Self::AsAsked => None,
            Self::WithoutDigest => Some(Shortfall {
                kind: Kind::DigestAbsent.name(),
                error: "the snapshot has no digest of etcd's: that it is what etcd wrote is not proved"
                    .into(),
                hint: "look into it before you rely on it, for example with etcdutl snapshot status".into(),
            }),
            Self::StructureOnly => Some(Shortfall {
                kind: "structure_only",
                error: "structure only: there is no sidecar beside it, and no identity to open it was given"
                    .into(),
                hint: "pass -i or -p to prove the content, or bring back the .sha256 file".into(),
            }),
            Self::WithoutLeader => Some(Shortfall {
                kind: "no_leader",
                error: "saved, but the member had no leader: it may be cut off from its cluster, and its data old"
                    .into(),
                hint: "name all members in --endpoints and save again: one that has a leader is then preferred; \
                       if the cluster has lost its quorum, keep this archive and compare its revision with other members'"
                    .into(),
            }),
            Self::OfCorruptMember => Some(Shortfall {
                kind: "member_corrupt",
                error: "saved, but etcd's CORRUPT alarm names this member: its data differ from the other members'"
                    .into(),
                hint: "save again from another member, named in --endpoints, and replace this one as etcd's \
                       documentation of data corruption says"
                    .into(),
            }),
            Self::OfLearner => Some(Shortfall {
                kind: "learner",
                error: "saved, but from a learner, whose data may lag behind the cluster's".into(),
                hint: "name the voting members in --endpoints; a learner beside them is skipped".into(),
            }),
            Self::OfCutLog => Some(Shortfall {
                kind: "log_cut",
                error: "the write-ahead log of the data directory is cut short: the last writes may be lost".into(),
                hint: "after a power loss only writes that were never acknowledged are; otherwise look for another copy of it, \
                       or another member's, and keep the one of the highest revision"
                    .into(),
            }),
        }
    }
}

/// The explanation beside a result that proves less.
#[derive(Serialize)]
pub(crate) struct Shortfall {
    pub(crate) kind: &'static str,
    pub(crate) error: Cow<'static, str>,
    pub(crate) hint: Cow<'static, str>,
}

/// The first fields of every result.
#[derive(Serialize)]
pub(crate) struct Verdict {
    pub(crate) ok: bool,
    pub(crate) exit_code: Exit,
    pub(crate) command: &'static str,
    #[serde(flatten)]
    pub(crate) shortfall: Option<Shortfall>,
    #[serde(skip)]
    pub(crate) proved: Proved,
    /// A failure after the commit.
    #[serde(skip)]
    pub(crate) unfinished: Option<Error>,
}

impl Verdict {
    /// The verdict on `command`; `ok` only where everything was proved.
    #[must_use]
    pub(crate) fn new(command: &'static str, proved: Proved) -> Self {
        let (exit_code, shortfall) = (proved.exit(), proved.shortfall());
        Self { ok: exit_code == Exit::Done, exit_code, command, shortfall, proved, unfinished: None }
    }

    /// The verdict on a `command` that published something, and the path to show: `-` for standard output.
    pub(crate) fn of_published(
        command: &'static str,
        proved: Proved,
        published: Option<Published>,
    ) -> (Self, String) {
        let mut verdict = Self::new(command, proved);
        let Some(Published { path, shortfall }) = published else { return (verdict, shown(None)) };
        if let Some(error) = shortfall {
            let also = verdict.shortfall.as_ref().map(|other| format!("; {}", other.error));
            verdict.ok = false;
            verdict.exit_code = Exit::of(error.kind());
            verdict.shortfall = Some(Shortfall {
                kind: error.kind().name(),
                error: format!("{}{}", with_flags(&error.to_string()), also.unwrap_or_default()).into(),
                hint: hint(&error).into_owned().into(),
            });
            verdict.unfinished = Some(error);
        }
        (verdict, shown(Some(&path)))
    }
}
