//! What an archive records about the member that served the snapshot, besides its ids: how it was authenticated, and the
//! conditions that it reported.

use std::fmt;

use serde::Serialize;

use super::fields::{FromFields, id, integer, required, text};
use super::json::{Fault, Object};

/// How the member proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// By a certificate that was verified.
    Verified,
    /// TLS, but any certificate was accepted: `--insecure-skip-tls-verify`.
    Unverified,
    /// No TLS: `http://` or a Unix socket.
    None,
}

impl Tls {
    /// The words of a document.
    pub(super) const WORDS: [(&'static str, Self); 3] =
        [("verified", Self::Verified), ("unverified", Self::Unverified), ("none", Self::None)];
}

/// A problem that a member reports of itself or its cluster, and that makes its data doubtful or hard to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum Condition {
    /// It knows no leader: it may be cut off from its cluster, and its data old.
    NoLeader,
    /// The NOSPACE alarm: the backend is full.
    Nospace {
        /// The member that the alarm names, 16 hex digits: every member reports the alarms of the whole cluster.
        member_id: String,
    },
    /// The CORRUPT alarm: the data differ from other members' data.
    Corrupt {
        /// The member that the alarm names, 16 hex digits.
        member_id: String,
    },
    /// It does not vote, and need not be up to date.
    Learner,
    /// It had yet to apply many entries that its cluster had committed.
    Lagging {
        /// Raft entries.
        behind: u64,
    },
    /// Any other condition, in the member's words.
    Other {
        /// At most [`Self::TEXT_SIZE_MAX`] bytes.
        text: String,
    },
    /// A condition that a later version of this program recorded.
    Unknown,
}

impl Condition {
    /// The most entries of a list of conditions.
    pub const COUNT_MAX: usize = 16;
    /// The size to which a text is cut; with [`Self::COUNT_MAX`] it bounds what a member can add to a document.
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

    /// Drops the conditions beyond [`Self::COUNT_MAX`]; the last entry then says how many are left out.
    #[must_use]
    pub fn bounded(mut conditions: Vec<Self>) -> Vec<Self> {
        if conditions.len() > Self::COUNT_MAX {
            let left_out = conditions.split_off(Self::COUNT_MAX - 1).len();
            conditions.push(Self::other(&format!("{left_out} more conditions")));
        }
        conditions
    }
}

impl FromFields for Condition {
    fn from_fields(fields: &Object) -> Result<Self, Fault> {
        let member_id = || required(fields, "member_id", id);
        Ok(match required(fields, "condition", text)?.as_str() {
            "no_leader" => Self::NoLeader,
            "nospace" => Self::Nospace { member_id: member_id()? },
            "corrupt" => Self::Corrupt { member_id: member_id()? },
            "learner" => Self::Learner,
            "lagging" => Self::Lagging { behind: required(fields, "behind", integer)? },
            "other" => Self::Other { text: required(fields, "text", text)? },
            _ => Self::Unknown,
        })
    }
}

/// Formats the condition for a line of text. It quotes the member's words: they must not pass for the program's own.
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
    use crate::archive::json;
    use crate::archive::manifest::{DOCUMENT_SIZE_MAX, to_json};

    fn read(json: &str) -> Result<Condition, Fault> {
        Condition::from_fields(&json::parse(json.as_bytes()).unwrap())
    }

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
            assert_eq!(read(json), Ok(condition));
        }
        let later = r#"{"condition":"on_fire","since":7}"#;
        assert_eq!(read(later), Ok(Condition::Unknown));
        for wrong in [
            r#"{"condition":"nospace"}"#,
            r#"{"condition":"nospace","member_id":"082CB1EA5A9B4A47"}"#,
            r#"{"condition":"lagging","behind":null}"#,
            r#"{"condition":null}"#,
            "{}",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_member_cannot_fill_a_document_with_its_conditions() {
        // The worst case: six bytes of JSON for every byte of text.
        let talkative = vec![Condition::other(&"x\u{1}".repeat(50_000)); 50_000];
        let bounded = Condition::bounded(talkative);
        assert_eq!(bounded.len(), Condition::COUNT_MAX);
        assert_eq!(bounded.last(), Some(&Condition::other("49985 more conditions")));
        assert!(to_json(&bounded, DOCUMENT_SIZE_MAX / 3, "list").is_ok());
        assert_eq!(Condition::bounded(vec![Condition::Learner]), [Condition::Learner]);
        // The text is cut between characters.
        let Condition::Other { text } = Condition::other(&"€".repeat(100)) else { panic!() };
        assert_eq!(text.len(), 198);
    }
}
