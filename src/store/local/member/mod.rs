//! The directories of a member, published whole or not at all: its data directory, and a separate directory of its
//! write-ahead log, where that is not in it.
//!
//! etcd looks for `member` in a data directory. The last step gives that directory its name, by one rename; the data
//! directory itself is often a mount point, which cannot be renamed. A separate log needs an earlier rename: a marker beside
//! it tells a later run that its member was never published, and that the log may be removed.

mod aside;
mod marker;
mod old_log;
mod part;
mod place;
mod unpublished_member;
mod unpublished_members;

pub use self::place::MemberPlace;
pub use self::unpublished_member::UnpublishedMember;
pub use self::unpublished_members::UnpublishedMembers;
pub use super::layout::{LOG_DIRECTORY, MEMBER, SNAPSHOT_DIRECTORY};
pub use super::tree::Owner;
