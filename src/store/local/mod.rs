//! Files and directories of a local filesystem: written beside their final name, published whole or not at all, and durable
//! before their success is reported.

mod commit;
pub mod data_dir;
mod directory;
mod file;
pub mod growing;
mod layout;
pub mod member;
pub mod predecessor;
mod removal;
mod rename;
pub mod scratch;
mod shape;
pub mod source;
pub mod space;
mod stale;
mod store;
mod temporary;
mod tree;
mod walk;
mod writeback;

pub(super) use directory::{missing, not_a_directory};
pub use file::{UnpublishedFile, check};
pub use store::{LocalDirectory, LocalFile};
pub use temporary::abandon_all;

/// Whether a test can give files to another user.
#[cfg(test)]
fn may_give_files_away() -> bool {
    harness::skip::is_root("only root can give files to another user")
}
