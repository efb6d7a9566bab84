//! The place of archives: their names, their sidecars, and how they are published.
//!
//! [`destination`] parses what the operator named, [`local`] writes and publishes files, [`name`] makes and parses automatic
//! names, [`member`] writes and publishes the directories of a member, [`predecessor`] opens the members that were there
//! before, and [`sidecar`] is the `.sha256` file beside an archive.

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
pub mod shell;
pub mod sidecar;
pub mod source;
pub mod space;
mod stale;
mod temporary;
mod tree;
mod walk;
mod writeback;

/// Whether a test can give files to another user. Where it cannot, this says past the test harness that part of the test is
/// skipped.
#[cfg(test)]
fn may_give_files_away() -> bool {
    use std::io::Write as _;
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        // A failure to say so fails no test.
        let _ = writeln!(std::io::stderr(), "SKIPPED: only root can give files to another user");
    }
    is_root
}
