//! Compares what was claimed of a snapshot with its content.
//!
//! Status before the stream, the stream, and Status after it are three calls. Behind a proxy or a load balancer three
//! members may answer them, even of different clusters, and a member may lie. So no claim counts unless the database
//! itself confirms it, both when an archive is sealed and whenever it is opened.

use crate::archive::manifest::{Contents, Description, StatusAfter, Trailer};
use crate::database::snapshot::{Checked, DIGEST_SIZE};
use crate::database::stream_check::{StreamFacts, Unreadable};
use crate::error::{Error, Kind, Result};

/// What was claimed of a snapshot.
pub(in crate::pipeline) struct Claims<'a> {
    pub(in crate::pipeline) description: &'a Description,
    pub(in crate::pipeline) status_after: Option<&'a StatusAfter>,
}

impl Claims<'_> {
    /// Compares the claims with the database.
    ///
    /// # Errors
    /// [`Kind::ContentsMismatch`].
    pub(in crate::pipeline) fn hold(&self, facts: &Result<StreamFacts, Unreadable>) -> Result<()> {
        let nothing_told = self.description.revision.is_none()
            && self.description.member_id.is_none()
            && self.status_after.is_none();
        if nothing_told {
            return Ok(());
        }
        let facts = facts.as_ref().map_err(|unreadable| {
            mismatch(format!(
                "the revision and the member that were told are not found in the database: {unreadable}"
            ))
        })?;
        self.hold_revision(facts)?;
        self.hold_member(facts)
    }

    /// The revision reported before the stream is a lower bound, the one reported after it an upper bound.
    fn hold_revision(&self, facts: &StreamFacts) -> Result<()> {
        let newest = facts.revision.cast_unsigned();
        if let Some(before) = self.description.revision.filter(|before| *before > newest) {
            return Err(mismatch(format!(
                "the member was at revision {before} before the snapshot, but the database ends at revision {newest}"
            )));
        }
        // After a restart, etcd 3.4 does not count a compaction that was requested but not done.
        let is_write = facts.compacted.is_none_or(|compacted| compacted < facts.revision);
        let after = self.status_after.map(|after| after.revision);
        if let Some(after) = after.filter(|after| *after < newest && is_write) {
            return Err(mismatch(format!(
                "the member was at revision {after} after the snapshot, but the database ends at revision {newest}"
            )));
        }
        Ok(())
    }

    fn hold_member(&self, facts: &StreamFacts) -> Result<()> {
        let Some(member) = &self.description.member_id else { return Ok(()) };
        let id = u64::from_str_radix(member, 16).ok();
        if id.is_some_and(|id| facts.members.binary_search(&id).is_ok()) {
            return Ok(());
        }
        let members: Vec<String> =
            facts.members.iter().take(MEMBERS_SHOWN).map(|id| format!("{id:016x}")).collect();
        let members = if members.is_empty() { "none".to_owned() } else { members.join(", ") };
        Err(mismatch(format!(
            "the snapshot is said to be of member {member}, but that is not among the members in the database ({members})"
        )))
    }
}

/// Most member ids that an error lists.
const MEMBERS_SHOWN: usize = 9;

fn mismatch(what: impl Into<String>) -> Error {
    Error::new(Kind::ContentsMismatch, what)
}

/// Whether Status after the stream fits the snapshot: bbolt never shrinks a database, but a defragmentation does.
pub(in crate::pipeline) fn is_as_large(after: &StatusAfter, snapshot_size: u64) -> bool {
    after.database_size.is_none_or(|size| size >= snapshot_size.saturating_sub(DIGEST_SIZE))
}

/// Compares the claims with the trailer's account of the database; only a full read can prove that account.
///
/// # Errors
/// [`Kind::ContentsMismatch`].
pub(in crate::pipeline) fn hold_ends(description: &Description, trailer: &Trailer) -> Result<()> {
    let claims = Claims { description, status_after: trailer.status_after.as_ref() };
    if let Some(contents) = &trailer.contents {
        let facts = facts(contents)
            .ok_or_else(|| mismatch("what the trailer says of the database makes no sense"))?;
        claims.hold_revision(&facts)?;
        if !facts.members.is_empty() {
            claims.hold_member(&facts)?;
        }
    }
    hold_size(trailer, trailer.snapshot_size)
}

/// The facts in a trailer.
fn facts(contents: &Contents) -> Option<StreamFacts> {
    let id = |id: &String| u64::from_str_radix(id, 16).ok();
    Some(StreamFacts {
        revision: contents.revision.try_into().ok()?,
        compacted: contents.compact_revision.map(i64::try_from).transpose().ok()?,
        members: contents.members.iter().map(id).collect::<Option<_>>()?,
        downgrade: None,
        kubernetes: None,
    })
}

/// Compares a trailer with the snapshot that came out of the archive.
///
/// # Errors
/// [`Kind::ContentsMismatch`].
pub(in crate::pipeline) fn hold_trailer(
    trailer: &Trailer,
    checked: &Checked,
    facts: Option<&StreamFacts>,
) -> Result<()> {
    hold_size(trailer, checked.size)?;
    let Some(told) = &trailer.contents else { return Ok(()) };
    let Some(found) = facts.map(Contents::from).filter(|found| told.agrees(found)) else {
        return Err(mismatch("what the trailer says of the database is not what is in it"));
    };
    if told.is_mistaken(&found) {
        tracing::warn!(
            "what the trailer says of Kubernetes or of a downgrade is not what is in the database: only the latter is shown"
        );
    }
    Ok(())
}

fn hold_size(trailer: &Trailer, snapshot_size: u64) -> Result<()> {
    match trailer.status_after.as_ref().filter(|after| !is_as_large(after, snapshot_size)) {
        None => Ok(()),
        Some(after) => Err(mismatch(format!(
            "the snapshot is {snapshot_size} bytes long, but the member's database was {} bytes long after it",
            after.database_size.unwrap_or_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::manifest_for_tests;
    use crate::database::snapshot::DigestState;

    fn facts() -> StreamFacts {
        StreamFacts {
            revision: 42,
            compacted: Some(30),
            members: vec![7, 0xab],
            downgrade: None,
            kubernetes: None,
        }
    }

    fn status_after(database_size: u64) -> StatusAfter {
        let (database_size, conditions) = (Some(database_size), Vec::new());
        StatusAfter { revision: 42, raft_term: 1, raft_index: 9, database_size, conditions }
    }

    fn held(change: impl FnOnce(&mut Description, &mut StatusAfter)) -> Result<()> {
        let mut description = manifest_for_tests().description;
        description.revision = Some(42);
        description.member_id = Some("00000000000000ab".to_owned());
        let mut after = status_after(8192);
        change(&mut description, &mut after);
        Claims { description: &description, status_after: Some(&after) }.hold(&Ok(facts()))
    }

    #[test]
    fn what_was_told_may_fit() {
        held(|_, _| ()).unwrap();
        held(|description, _| description.revision = Some(1)).unwrap();
        held(|_, after| after.revision = 99).unwrap();
        held(|description, _| (description.revision, description.member_id) = (None, None)).unwrap();
    }

    #[test]
    fn what_was_told_may_not_fit() {
        let told = |change: fn(&mut Description, &mut StatusAfter)| {
            let error = held(change).unwrap_err();
            assert_eq!(error.kind(), Kind::ContentsMismatch);
            error.to_string()
        };
        insta::assert_snapshot!(told(|description, _| description.revision = Some(43)), @"the member was at revision 43 before the snapshot, but the database ends at revision 42");
        // Nothing was told before the stream, but something after it.
        insta::assert_snapshot!(told(|description, after| {
            (description.revision, description.member_id, after.revision) = (None, None, 41);
        }), @"the member was at revision 41 after the snapshot, but the database ends at revision 42");
        insta::assert_snapshot!(told(|_, after| after.revision = 41), @"the member was at revision 41 after the snapshot, but the database ends at revision 42");
        insta::assert_snapshot!(told(|description, _| description.member_id = Some("ac".to_owned())), @"the snapshot is said to be of member ac, but that is not among the members in the database (0000000000000007, 00000000000000ab)");
    }

    #[test]
    fn a_database_that_says_nothing_bears_nothing_out() {
        let mut description = manifest_for_tests().description;
        description.revision = Some(42);
        let unreadable = Err(crate::database::stream_check::StreamCheck::default().finish().unwrap_err());
        let hold = |description: &Description| Claims { description, status_after: None }.hold(&unreadable);
        assert_eq!(hold(&description).unwrap_err().kind(), Kind::ContentsMismatch);
        description.revision = None;
        hold(&description).unwrap();
    }

    #[test]
    fn a_trailer_must_fit() {
        let checked = Checked { size: 8192 + 32, database_sha256: [0; 32], digest: DigestState::Verified };
        let trailer = |database_size, contents| Trailer {
            snapshot_size: checked.size,
            database_sha256: String::new(),
            digest: crate::archive::manifest::Digest::Verified,
            contents,
            status_after: Some(status_after(database_size)),
            stream_open_ms: None,
        };
        let contents = || Some(Contents::from(&facts()));
        hold_trailer(&trailer(8192, contents()), &checked, Some(&facts())).unwrap();
        hold_trailer(&trailer(8192, None), &checked, None).unwrap();
        assert!(hold_trailer(&trailer(8191, contents()), &checked, Some(&facts())).is_err());
        assert!(hold_trailer(&trailer(8192, contents()), &checked, None).is_err());
        let other = StreamFacts { revision: 43, ..facts() };
        assert!(hold_trailer(&trailer(8192, contents()), &checked, Some(&other)).is_err());
    }
}
