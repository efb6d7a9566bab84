//! Where the rooms are joined: [`save`] from a source into an archive, [`open`] from an archive back to the snapshot,
//! [`member`] from there to the members of a new cluster, and [`drill`] to one that runs and is put to the test.
//!
//! The first two are a chain of threads with bounded queues between them, so that memory does not grow with the snapshot:
//!
//! ```text
//! save:  source → frames of equal size ─┬→ compress (parallel) → order, cut into chunks → seal (parallel) → write
//!                                       └→ digest, facts of the database
//! open:  read → open chunks (parallel) → order, find frames → decompress (parallel) ─┬→ write
//!                                                                                    └→ digest, facts
//! ```
//!
//! Frames of more than 4 MiB are decompressed block by block on one thread: several of them would take too much memory.
//!
//! A stage that fails drops its ends of the queues; its neighbours notice, stop, and leave the explanation to it.

pub mod age;
mod batch;
mod buffer;
mod claims;
mod decoder;
mod delivery;
mod digest;
pub mod drill;
mod foreign;
pub mod inspect;
pub mod instructions;
mod layers;
pub mod member;
pub mod open;
mod plaintext;
pub mod predecessor;
pub mod save;
pub mod space;
mod stage;
pub(crate) mod units;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "offsets in archives of a few hundred kilobytes")]
mod tests;
