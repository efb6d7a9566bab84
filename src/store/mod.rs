//! The place of archives: their names, their sidecars, and how they are published.
//!
//! A [`Location`] says where archives are, and its [`Store`] publishes, reads, lists and removes them. [`destination`] parses
//! where the operator wants something written, and a [`StoredArchive`] is one to read. [`local`] writes and publishes files and
//! the directories of a member, [`name`] makes and parses automatic names, and [`sidecar`] is the `.sha256` file beside an
//! archive.

mod archive;
#[cfg(test)]
mod conformance;
mod contract;
pub mod destination;
pub mod local;
mod location;
#[cfg(test)]
mod memory;
pub mod name;
mod remote;
pub mod shell;
pub mod sidecar;

pub use archive::StoredArchive;
pub use contract::{Entry, Existing, Object, Published, Store, Terms, Unpublished};
pub use local::{data_dir, growing, member, predecessor, scratch, source, space};
pub use location::Location;
pub use remote::{Purpose, elsewhere};
