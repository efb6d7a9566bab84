//! The checks of a snapshot while it streams by.
//!
//! etcd's server streams the pages of its bbolt database up to the high-water mark, then the SHA-256 of those pages
//! (`maintenanceServer.Snapshot` in etcd's `v3rpc/maintenance.go`). So a snapshot is exactly
//! `high-water mark × page size + 32` bytes, and its last 32 bytes must be the digest of all before them. Nothing here
//! depends on the sizes of the pieces in which the bytes arrive.
//!
//! A copy of a member's `db` file has no digest and may be longer than its high-water mark, in multiples of 512 bytes.
//! It passes only where the caller allows that, and is reported as [`Digest::Absent`](DigestState::Absent).

use sha2::{Digest as _, Sha256};

use super::bolt::FirstPages;
use crate::error::{Error, Kind, Result};

/// Bytes of etcd's digest at the end of a snapshot.
pub const DIGEST_SIZE: u64 = DIGEST_LENGTH as u64;
const DIGEST_LENGTH: usize = 32;
/// etcd's own test for a digest (`hasChecksum` in `etcdutl/snapshot`) counts in blocks of this size.
const BLOCK_SIZE: u64 = 512;

/// Whether etcd's digest is at the end of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestState {
    /// Present, and equal to the SHA-256 of everything before it.
    Verified,
    /// Absent, which the caller allowed.
    Absent,
}

/// A snapshot that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of the snapshot, with etcd's digest where there is one.
    pub size: u64,
    /// SHA-256 of the database, which is everything before etcd's digest.
    pub database_sha256: [u8; 32],
    /// Whether etcd's digest was there.
    pub digest: DigestState,
}

/// Checks a whole snapshot, whose bytes it takes in order, in pieces of any size.
pub struct SnapshotCheck {
    pages: FirstPages,
    /// SHA-256 of everything but the bytes in `held`.
    hasher: Sha256,
    /// The last bytes so far, at most 32: they may be etcd's digest.
    held: Vec<u8>,
    size: u64,
    allow_missing_digest: bool,
    last_resort: LastResort,
}

/// Whether a database that ends with neither a digest nor a whole block passes, as what is behind it holds no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastResort {
    /// It does not.
    None,
    /// It does not, and the error says how it would.
    Offered,
    /// It does.
    Taken,
}

impl SnapshotCheck {
    /// Begins a check. Without etcd's digest a snapshot passes only with `allow_missing_digest`.
    #[must_use]
    pub fn new(allow_missing_digest: bool) -> Self {
        Self {
            pages: FirstPages::default(),
            hasher: Sha256::new(),
            held: Vec::new(),
            size: 0,
            allow_missing_digest,
            last_resort: LastResort::None,
        }
    }

    /// Begins a check for a member that is restored. With `skip_hash_check` any snapshot passes whose database is whole,
    /// whatever is behind that, except that [`Kind::DigestMismatch`] is left to the caller.
    #[must_use]
    pub fn for_member(skip_hash_check: bool) -> Self {
        let last_resort = if skip_hash_check { LastResort::Taken } else { LastResort::Offered };
        Self { last_resort, ..Self::new(skip_hash_check) }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Kind::NotASnapshot`] as soon as the first page shows it, [`Kind::DigestAbsent`] as soon as a whole block follows the
    /// database, where a digest is wanted.
    pub fn update(&mut self, bytes: &[u8]) -> Result<()> {
        self.pages.update(bytes)?;
        self.size += bytes.len() as u64;
        if let Some(database) = self.pages.database_size()
            && self.size >= database + BLOCK_SIZE
            && !self.allow_missing_digest
        {
            return Err(no_digest(self.size, database));
        }
        self.hold_back(bytes);
        Ok(())
    }

    fn hold_back(&mut self, bytes: &[u8]) {
        let surplus = (self.held.len() + bytes.len()).saturating_sub(DIGEST_LENGTH);
        let from_held = surplus.min(self.held.len());
        self.hasher.update(&self.held[..from_held]);
        self.held.drain(..from_held);
        let (hashed, kept) = bytes.split_at(surplus - from_held);
        self.hasher.update(hashed);
        self.held.extend_from_slice(kept);
    }

    /// Completes the check, after a clean end of the bytes as far as their source can tell.
    ///
    /// # Errors
    /// [`Kind::NotASnapshot`], [`Kind::SnapshotLength`], [`Kind::DigestMismatch`] or [`Kind::DigestAbsent`].
    pub fn finish(mut self) -> Result<Checked> {
        let Some(database) = self.pages.database_size() else {
            return Err(match self.size {
                0 => Error::new(Kind::NotASnapshot, "not an etcd snapshot: it is empty"),
                size => Error::new(
                    Kind::NotASnapshot,
                    format!("not an etcd snapshot: it ends after {size} bytes"),
                ),
            });
        };
        match self.judge_end(database)? {
            DigestState::Verified => self.compare_digest(),
            DigestState::Absent => {
                self.hasher.update(&self.held);
                let database_sha256 = self.hasher.finalize().into();
                Ok(Checked { size: self.size, database_sha256, digest: DigestState::Absent })
            }
        }
    }

    /// [`judge_length`], with the last resort.
    fn judge_end(&self, database: u64) -> Result<DigestState> {
        let judged = judge_length(self.size, database, self.allow_missing_digest);
        match (judged, self.last_resort) {
            (Err(error), LastResort::Offered) if self.is_only_too_long(&error, database) => {
                Err(error.with_hint(LAST_RESORT))
            }
            (Err(error), LastResort::Taken) if self.is_only_too_long(&error, database) => {
                tracing::warn!("{error}; going on, as `skip_hash_check` asks for");
                Ok(DigestState::Absent)
            }
            (judged, _) => judged,
        }
    }

    fn is_only_too_long(&self, error: &Error, database: u64) -> bool {
        error.kind() == Kind::SnapshotLength && self.size >= database
    }

    fn compare_digest(self) -> Result<Checked> {
        let database_sha256: [u8; 32] = self.hasher.finalize().into();
        if self.held != database_sha256 {
            return Err(Error::new(
                Kind::DigestMismatch,
                "the snapshot does not match the SHA-256 that etcd put at its end",
            ));
        }
        Ok(Checked { size: self.size, database_sha256, digest: DigestState::Verified })
    }
}

/// What a snapshot of `size` bytes, whose first page announces `database` bytes, must have at its end. It does not read the
/// digest itself.
///
/// # Errors
/// [`Kind::SnapshotLength`] or [`Kind::DigestAbsent`].
pub fn judge_length(size: u64, database: u64, allow_missing_digest: bool) -> Result<DigestState> {
    if size == database + DIGEST_SIZE {
        return Ok(DigestState::Verified);
    }
    let copied_file = size >= database && size.is_multiple_of(BLOCK_SIZE);
    match (copied_file, allow_missing_digest) {
        (true, true) => Ok(DigestState::Absent),
        (true, false) => Err(no_digest(size, database)),
        (false, _) => Err(wrong_length(size, database)),
    }
}

/// The hint of last resort for a database that is whole, with something behind it.
const LAST_RESORT: &str = "take another copy; if this is the last one there is, etcd-seal restore with `skip_hash_check` \
     `force` takes it as it is";

fn no_digest(size: u64, database: u64) -> Error {
    let longer = if size > database {
        ", and goes on behind the database in it, as the db file of a member does"
    } else {
        ""
    };
    Error::new(Kind::DigestAbsent, format!("the snapshot has no digest of etcd's at its end{longer}"))
}

fn wrong_length(size: u64, database: u64) -> Error {
    let expected = database + DIGEST_SIZE;
    if size < expected {
        let message = format!("the snapshot is {size} bytes long, but its first page says {expected}");
        return Error::new(Kind::SnapshotLength, message);
    }
    let message = format!(
        "something was appended to the snapshot: it is {size} bytes long, but its first page says {expected}"
    );
    Error::new(Kind::SnapshotLength, message).with_hint(format!(
        "take it again, or cut it with head -c: its first {expected} bytes are the snapshot with etcd's digest, its first \
         {database} bytes the database alone, which passes with `allow_missing_digest`"
    ))
}

/// A small valid snapshot for tests: `pages` pages of which the last ones hold `fill`, and etcd's digest.
#[cfg(test)]
pub(crate) fn snapshot_for_tests(pages: u64, fill: impl Fn(usize) -> u8) -> Vec<u8> {
    use super::bolt::meta::meta_page;
    let mut bytes = meta_page(4096, pages, 8);
    bytes.extend(meta_page(4096, pages, 7));
    let database = usize::try_from(pages).unwrap() * 4096;
    bytes.extend((bytes.len()..database).map(fill));
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::bolt::meta::meta_page;

    fn check(bytes: &[u8], piece: usize, allow_missing_digest: bool) -> Result<Checked> {
        let mut check = SnapshotCheck::new(allow_missing_digest);
        for piece in bytes.chunks(piece) {
            check.update(piece)?;
        }
        check.finish()
    }

    fn kind(result: Result<Checked>) -> Kind {
        result.unwrap_err().kind()
    }

    #[test]
    fn a_good_snapshot_passes_in_pieces_of_any_size() {
        let snapshot = snapshot_for_tests(5, |at| at.to_le_bytes()[0]);
        for piece in [1, 31, 32, 33, 79, 80, 81, 4096, 4176, 32_768, usize::MAX] {
            let checked = check(&snapshot, piece, false).unwrap();
            assert_eq!(checked.size, snapshot.len() as u64);
            assert_eq!(checked.digest, DigestState::Verified);
            assert_eq!(checked.database_sha256[..], snapshot[snapshot.len() - 32..]);
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let snapshot = snapshot_for_tests(3, |_| 7);
        for at in (0..snapshot.len()).step_by(13).chain(snapshot.len() - 40..snapshot.len()) {
            let mut bad = snapshot.clone();
            bad[at] ^= 0x20;
            assert!(check(&bad, 4096, true).is_err(), "byte {at}");
        }
    }

    #[test]
    fn truncation_and_surplus_are_noticed() {
        let snapshot = snapshot_for_tests(3, |_| 7);
        for length in 0..snapshot.len() {
            assert!(check(&snapshot[..length], 1000, false).is_err(), "length {length}");
        }
        let mut long = snapshot.clone();
        long.push(0);
        assert_eq!(kind(check(&long, 4096, false)), Kind::SnapshotLength);
    }

    #[test]
    fn a_surplus_is_refused_before_the_stream_ends() {
        let mut check = SnapshotCheck::new(false);
        check.update(&snapshot_for_tests(2, |_| 0)).unwrap();
        check.update(&[0; 479]).unwrap();
        let error = check.update(&[0]).unwrap_err();
        assert_eq!(error.kind(), Kind::DigestAbsent);
        assert!(error.to_string().contains("as the db file of a member does"), "{error}");
    }

    #[test]
    fn a_copied_database_file_passes_only_where_allowed() {
        let mut file = snapshot_for_tests(4, |_| 3);
        file.truncate(4 * 4096);
        assert_eq!(kind(check(&file, 500, false)), Kind::DigestAbsent);
        assert_eq!(check(&file, 500, true).unwrap().digest, DigestState::Absent);
        file.resize(4 * 4096 + 512, 0);
        let checked = check(&file, 500, true).unwrap();
        assert_eq!(checked.database_sha256[..], Sha256::digest(&file)[..]);
        file.push(0);
        assert_eq!(kind(check(&file, 500, true)), Kind::SnapshotLength);
    }

    #[test]
    fn a_whole_database_with_anything_behind_it_is_no_dead_end_for_a_member() {
        let check = |bytes: &[u8], skip_hash_check| {
            let mut check = SnapshotCheck::for_member(skip_hash_check);
            check.update(bytes)?;
            check.finish()
        };
        let database = 4 * 4096;
        let mut bytes = snapshot_for_tests(4, |_| 3);
        bytes.resize(database + 512, 0);
        for length in [database, database + 1, database + 31, database + 33, database + 511, database + 512] {
            let error = check(&bytes[..length], false).unwrap_err();
            assert_ne!(error.kind(), Kind::DigestMismatch, "{length}");
            if error.kind() == Kind::SnapshotLength {
                assert_eq!(error.hint(), LAST_RESORT, "{length}");
            }
            assert_eq!(check(&bytes[..length], true).unwrap().digest, DigestState::Absent, "{length}");
        }
        let error = check(&bytes[..database - 1], true).unwrap_err();
        assert_eq!((error.kind(), error.own_hint()), (Kind::SnapshotLength, None));
    }

    #[test]
    fn a_wrong_digest_is_never_allowed() {
        let mut bad = snapshot_for_tests(3, |_| 7);
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert_eq!(kind(check(&bad, 4096, true)), Kind::DigestMismatch);
    }

    #[test]
    fn the_newer_meta_page_decides_in_a_copied_file() {
        let mut file = meta_page(4096, 3, 8);
        file.extend(meta_page(4096, 4, 9));
        file.resize(3 * 4096, 0);
        assert_eq!(kind(check(&file, 4096, true)), Kind::SnapshotLength);
        file.resize(4 * 4096, 0);
        assert_eq!(check(&file, 4096, true).unwrap().digest, DigestState::Absent);
    }

    /// bbolt's tools stop at a meta page with another number or flag, which its checksum does not cover.
    #[test]
    fn a_meta_page_that_calls_itself_something_else_is_noticed() {
        let good = snapshot_for_tests(4, |_| 3);
        for (begin, page) in [(0, "first page"), (4096, "second page")] {
            for at in begin..begin + 10 {
                let mut bad = good[..4 * 4096].to_vec();
                bad[at] ^= 0x10;
                let error = check(&bad, 1000, true).unwrap_err();
                assert_eq!(error.kind(), Kind::NotASnapshot, "byte {at}");
                assert!(error.to_string().contains(page), "byte {at}: {error}");
            }
        }
        // A page without a valid meta page, as a torn write leaves it, is ignored.
        let mut torn = good[..4 * 4096].to_vec();
        torn[4096..4096 + 80].fill(0);
        assert!(check(&torn, 1000, true).is_ok());
    }

    #[test]
    fn other_things_are_refused_at_the_first_page() {
        let mut check = SnapshotCheck::new(true);
        assert_eq!(check.update(&[b'x'; 100]).unwrap_err().kind(), Kind::NotASnapshot);
        assert_eq!(kind(self::check(b"", 1, true)), Kind::NotASnapshot);
        assert_eq!(kind(self::check(b"short", 1, true)), Kind::NotASnapshot);
    }
}
