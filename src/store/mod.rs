//! Where archives live: what they are called, what lies beside them, and how they come to be there.
//!
//! [`destination`] reads what the operator named, [`local`] writes and publishes, [`name`] makes and
//! reads automatic names, and [`sidecar`] is the `.sha256` file beside an archive.

mod commit;
pub mod destination;
mod directory;
pub mod local;
pub mod name;
pub mod sidecar;
mod stale;
mod temporary;
mod writeback;
