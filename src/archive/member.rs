//! What an archive records of the member that served the snapshot, beyond its ids: how it was authenticated, and what it
//! said of its own condition.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the member proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// Its certificate was verified.
    Verified,
    /// TLS, but any certificate was accepted: `--insecure-skip-tls-verify`.
    Unverified,
    /// No TLS: `http://` or a Unix socket.
    None,
}

/// One thing that a member reports of itself or of its cluster, and that makes its data doubtful or its use difficult.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum Condition {
    /// It knows no leader: it may be cut off from its cluster, and its data old.
    NoLeader,
    /// The alarm of a full backend.
    Nospace {
        /// The member that the alarm names, 16 hex digits: alarms are those of the whole cluster.
        member_id: String,
    },
    /// The alarm of data that differ from other members'.
    Corrupt {
        /// The member that the alarm names, 16 hex digits.
        member_id: String,
    },
    /// It does not vote, and need not be up to date.
    Learner,
    /// It had yet to apply much of what its cluster had committed.
    Lagging {
        /// Raft entries.
        behind: u64,
    },
    /// Anything else, as the member worded it.
    Other {
        /// At most [`Self::TEXT_SIZE_MAX`] bytes.
        text: String,
    },
    /// A condition that a later version of this program recorded.
    #[serde(other)]
    Unknown,
}

impl Condition {
    /// A list of conditions has at most this many.
    pub const COUNT_MAX: usize = 16;
    /// A text is cut to this many bytes: with [`Self::COUNT_MAX`] it bounds what a member can add to a document.
    pub const TEXT_SIZE_MAX: usize = 200;

    /// A condition in the member's own words, cut to [`Self::TEXT_SIZE_MAX`].
    #[must_use]
    pub fn other(text: &str) -> Self {
        let text = text.trim();
        let mut end = text.len().min(Self::TEXT_SIZE_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self::Other { text: text[..end].to_owned() }
    }

    /// `conditions` without those that would be too many; the last one then tells how many are left out.
    #[must_use]
    pub fn bounded(mut conditions: Vec<Self>) -> Vec<Self> {
        if conditions.len() > Self::COUNT_MAX {
            let left_out = conditions.split_off(Self::COUNT_MAX - 1).len();
            conditions.push(Self::other(&format!("{left_out} more conditions")));
        }
        conditions
    }
}

/// For a line of text. The words of a member are quoted: they must not pass for the program's own.
impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader => formatter.write_str("no leader"),
            Self::Nospace { member_id } => write!(formatter, "NOSPACE alarm of member {member_id}"),
            Self::Corrupt { member_id } => write!(formatter, "CORRUPT alarm of member {member_id}"),
            Self::Learner => formatter.write_str("learner"),
            Self::Lagging { behind } => write!(formatter, "lagging by {behind} entries"),
            Self::Other { text } => write!(formatter, "{text:?}"),
            Self::Unknown => formatter.write_str("a condition that this version does not know"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::{DOCUMENT_SIZE_MAX, to_json};

    #[test]
    fn conditions_are_objects_and_later_ones_are_borne() {
        let conditions = [
            (Condition::NoLeader, r#"{"condition":"no_leader"}"#),
            (
                Condition::Nospace { member_id: "082cb1ea5a9b4a47".to_owned() },
                r#"{"condition":"nospace","member_id":"082cb1ea5a9b4a47"}"#,
            ),
            (
                Condition::Corrupt { member_id: "082cb1ea5a9b4a47".to_owned() },
                r#"{"condition":"corrupt","member_id":"082cb1ea5a9b4a47"}"#,
            ),
            (Condition::Learner, r#"{"condition":"learner"}"#),
            (Condition::Lagging { behind: 7 }, r#"{"condition":"lagging","behind":7}"#),
            (Condition::other("x"), r#"{"condition":"other","text":"x"}"#),
        ];
        for (condition, json) in conditions {
            assert_eq!(serde_json::to_string(&condition).unwrap(), json);
            assert_eq!(serde_json::from_str::<Condition>(json).unwrap(), condition);
        }
        let later = r#"{"condition":"on_fire","since":7}"#;
        assert_eq!(serde_json::from_str::<Condition>(later).unwrap(), Condition::Unknown);
        assert!(serde_json::from_str::<Condition>(r#"{"condition":"nospace"}"#).is_err());
    }

    #[test]
    fn a_member_cannot_fill_a_document_with_its_conditions() {
        // The worst there is: six bytes of JSON for every byte of text.
        let talkative = vec![Condition::other(&"x\u{1}".repeat(50_000)); 50_000];
        let bounded = Condition::bounded(talkative);
        assert_eq!(bounded.len(), Condition::COUNT_MAX);
        assert_eq!(bounded.last(), Some(&Condition::other("49985 more conditions")));
        assert!(to_json(&bounded, DOCUMENT_SIZE_MAX / 3, "list").is_ok());
        assert_eq!(Condition::bounded(vec![Condition::Learner]), [Condition::Learner]);
        // Cut between characters.
        let Condition::Other { text } = Condition::other(&"€".repeat(100)) else { panic!() };
        assert_eq!(text.len(), 198);
    }
}
