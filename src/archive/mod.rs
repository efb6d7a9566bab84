//! The archive format, version 1, in both directions. No network, no policy, no clock.
//!
//! An archive is a standard age v1 file whose plaintext is a standard zstd stream whose content is an etcd snapshot.
//! From the outside in:
//!
//! 1. [`header`]: the age header with the recipients' stanzas and one public stanza that holds the description.
//! 2. [`payload`]: the age payload, chunks of 64 KiB sealed with ChaCha20-Poly1305.
//! 3. [`frame`]: inside, a skippable frame with the [`manifest`], then independent zstd frames of the snapshot, then a
//!    skippable frame with the trailer, then
//! 4. [`seek_table`]: the sizes of all of these, so that [`read_at`] can find any byte without reading the rest.
//!
//! [`json`] and [`fields`] read the text of manifest and trailer, [`expansion`] bounds the size of what is unpacked, [`member`] is
//! the record of the member that served, and [`contents`] that of the database.
//!
//! etcd-seal-archive(5) is the specification. Any deviation from it is damage.

pub mod contents;
pub mod expansion;
pub mod fields;
pub mod frame;
pub mod header;
pub mod json;
pub mod manifest;
pub mod member;
pub mod payload;
pub mod read_at;
pub mod seek_table;

use crate::error::{Error, Kind};

/// The error of reading an archive: one of the disk, or one of the ASCII armour around a foreign archive. The armour's
/// reader reports malformed content as invalid data; a disk never does.
pub(crate) fn cannot_read(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return Error::new(Kind::PayloadDamaged, "the ASCII armour is malformed").with_source(error);
    }
    Error::io("read", "the archive", error)
}
