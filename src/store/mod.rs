//! Where archives live: what they are called, what lies beside them, and how they come to be there.
//!
//! [`destination`] reads what the operator named, [`local`] writes and publishes, [`name`] makes and
//! reads automatic names, [`member`] does so with the directories of a member, [`predecessor`] opens those that were
//! there before, and [`sidecar`] is the `.sha256` file beside an archive.

mod commit;
pub mod destination;
mod directory;
pub mod growing;
pub mod local;
pub mod member;
pub mod name;
pub mod predecessor;
mod removal;
pub mod scratch;
mod shape;
pub mod sidecar;
pub mod source;
pub mod space;
mod stale;
mod temporary;
mod tree;
mod walk;
mod writeback;
