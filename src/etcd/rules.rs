//! The rules of a snapshot stream. Pure arithmetic over `(remaining_bytes, length)`; no network.
//!
//! etcd's servers differ in their last messages: 3.4 to 3.7 send `remaining_bytes` 0 twice, with the last data and with the
//! 32-byte digest; a proposed change sends 32, then 0; a proxy may split or merge messages. So nothing here infers which
//! message is the last: only the clean end of the stream is the end. A server that cannot read its database sends empty
//! messages for ever, so an empty message is no progress.

use crate::error::{Error, Kind, Result};

/// Length of the SHA-256 etcd sends after the data. `remaining_bytes` of the first message may or may not count it.
const DIGEST_LENGTH: u64 = 32;

/// Consecutive empty messages that are tolerated. A healthy etcd sends none.
const EMPTY_MESSAGES_BORNE: u32 = 16;

/// The rules, and the position on the stream.
#[derive(Debug, Default)]
pub(super) struct StreamRules {
    announced: Option<u64>,
    remaining: Option<u64>,
    delivered: u64,
    empty_in_a_row: u32,
}

impl StreamRules {
    /// Checks one message. Returns false when it carries no byte.
    ///
    /// # Errors
    /// [`Kind::EtcdStalled`] after too many empty messages, [`Kind::EtcdBadSnapshot`] when the stream contradicts itself.
    pub(super) fn message(&mut self, remaining: u64, length: usize) -> Result<bool> {
        self.check_remaining(remaining)?;
        if length == 0 {
            self.empty_in_a_row += 1;
            if self.empty_in_a_row > EMPTY_MESSAGES_BORNE {
                return Err(self.only_empty_messages());
            }
            return Ok(false);
        }
        self.empty_in_a_row = 0;
        self.deliver(remaining, length as u64)?;
        Ok(true)
    }

    /// Checks the clean end of the stream.
    ///
    /// # Errors
    /// [`Kind::EtcdIncomplete`] when the stream ends before the announced size.
    pub(super) fn end(&self) -> Result<()> {
        match self.announced {
            Some(announced) if self.delivered >= announced => Ok(()),
            Some(announced) => Err(Error::new(
                Kind::EtcdIncomplete,
                format!("the snapshot stream ended after {} of {announced} bytes", self.delivered),
            )),
            None => Err(Error::new(Kind::EtcdIncomplete, "the snapshot stream ended before its first byte")),
        }
    }

    /// Bytes announced by the first message that carried some; may or may not count the digest.
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// How far the stream got, as text for messages.
    pub(super) fn so_far(&self) -> String {
        match self.announced {
            Some(announced) => format!("after {} of {announced} bytes", self.delivered),
            None => "before its first byte".to_owned(),
        }
    }

    fn check_remaining(&mut self, remaining: u64) -> Result<()> {
        if let Some(before) = self.remaining
            && remaining > before
        {
            return Err(bad(&format!(
                "{} its remaining bytes grew from {before} to {remaining}",
                self.so_far()
            )));
        }
        self.remaining = Some(remaining);
        Ok(())
    }

    fn deliver(&mut self, remaining: u64, length: u64) -> Result<()> {
        let announced = match self.announced {
            Some(announced) => announced,
            None => *self.announced.insert(announce(remaining, length)?),
        };
        // Cannot overflow: `announced` fits an i64 and delivered stays within 32 bytes of it.
        self.delivered += length;
        if self.delivered > announced + DIGEST_LENGTH {
            return Err(bad(&format!("it sent {} bytes but had announced {announced}", self.delivered)));
        }
        Ok(())
    }

    fn only_empty_messages(&self) -> Error {
        Error::new(
            Kind::EtcdStalled,
            format!(
                "the snapshot stream stood still {}: {} messages in a row without a byte",
                self.so_far(),
                self.empty_in_a_row
            ),
        )
        .with_hint(
            "the member cannot read its own database; look at its log and disk, \
             and name another member with `endpoints`",
        )
    }
}

/// etcd computes sizes as signed 64-bit integers; a larger sum stands for a negative number.
fn announce(remaining: u64, length: u64) -> Result<u64> {
    remaining
        .checked_add(length)
        .filter(|announced| i64::try_from(*announced).is_ok())
        .ok_or_else(|| bad(&format!("it announced an impossible size of {remaining} more bytes")))
}

fn bad(what: &str) -> Error {
    Error::new(Kind::EtcdBadSnapshot, format!("the snapshot stream contradicts itself: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a script of `(remaining, length)` and then the clean end.
    fn play(script: &[(u64, usize)]) -> Result<StreamRules> {
        let mut rules = StreamRules::default();
        for (remaining, length) in script {
            rules.message(*remaining, *length)?;
        }
        rules.end()?;
        Ok(rules)
    }

    fn kind_of(script: &[(u64, usize)]) -> Kind {
        play(script).unwrap_err().kind()
    }

    #[test]
    fn every_honest_ending_is_accepted() {
        for script in [
            &[(100, 50), (0, 100), (0, 32)][..],         // as 3.4 to 3.7 end: 0 twice
            &[(132, 50), (32, 100), (0, 32)][..],        // the digest counted
            &[(100, 50), (0, 132)][..],                  // the digest merged with data
            &[(100, 50), (0, 100), (0, 5), (0, 27)][..], // the digest split
            &[(0, 32)][..],
        ] {
            let rules = play(script).unwrap();
            assert_eq!(rules.announced(), Some(script[0].0 + script[0].1 as u64));
        }
    }

    #[test]
    fn a_few_empty_messages_are_borne_and_forgotten_at_the_next_byte() {
        let mut script = vec![(10, 0); 16];
        script.push((5, 5));
        script.extend([(5, 0); 16]);
        script.push((0, 5));
        play(&script).unwrap();
    }

    #[test]
    fn empty_messages_without_end_are_a_stall() {
        let mut script = vec![(100, 50)];
        script.extend([(100, 0); 17]);
        assert_eq!(kind_of(&script), Kind::EtcdStalled);
        assert_eq!(kind_of(&[(100, 0); 17]), Kind::EtcdStalled);
    }

    #[test]
    fn an_early_end_is_incomplete() {
        assert_eq!(kind_of(&[]), Kind::EtcdIncomplete);
        assert_eq!(kind_of(&[(0, 0)]), Kind::EtcdIncomplete);
        assert_eq!(kind_of(&[(100, 50), (0, 99)]), Kind::EtcdIncomplete);
    }

    #[test]
    fn growth_and_excess_are_contradictions() {
        assert_eq!(kind_of(&[(100, 50), (101, 10)]), Kind::EtcdBadSnapshot);
        assert_eq!(kind_of(&[(100, 0), (101, 10)]), Kind::EtcdBadSnapshot);
        assert_eq!(kind_of(&[(100, 50), (0, 133)]), Kind::EtcdBadSnapshot);
        assert_eq!(kind_of(&[(0, 50), (0, 32), (0, 1)]), Kind::EtcdBadSnapshot);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert_eq!(kind_of(&[(u64::MAX, 1)]), Kind::EtcdBadSnapshot);
        assert_eq!(kind_of(&[(i64::MIN.cast_unsigned(), 1)]), Kind::EtcdBadSnapshot);
        assert_eq!(kind_of(&[((-1_i64).cast_unsigned(), 32)]), Kind::EtcdBadSnapshot);
    }
}
