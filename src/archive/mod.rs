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
//! etcd-seal-archive(5) is the specification. Whatever differs from it in any way is damage.

pub mod frame;
pub mod header;
pub mod manifest;
pub mod payload;
pub mod read_at;
pub mod seek_table;
