//! The place of archives: their names, their sidecars, and how they are published.
//!
//! [`destination`] parses what the operator named, [`local`] writes and publishes files and the directories of a member,
//! [`name`] makes and parses automatic names, and [`sidecar`] is the `.sha256` file beside an archive.

pub mod destination;
pub mod local;
pub mod name;
pub mod shell;
pub mod sidecar;

pub use local::{growing, member, predecessor, scratch, source, space};
