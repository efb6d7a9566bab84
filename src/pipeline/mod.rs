//! Joins the other modules: [`save`] writes a source into an archive, [`open`] reads an archive back into the snapshot,
//! [`member`] turns that into the members of a new cluster, and [`drill`] runs such a cluster and tests it.
//!
//! [`save`] and [`open`] are chains of threads with bounded queues, so memory does not grow with the snapshot:
//!
//! ```text
//! save:  source → frames of equal size ─┬→ compress (parallel) → order, cut into chunks → seal (parallel) → write
//!                                       └→ digest, facts of the database
//! open:  read → open chunks (parallel) → order, find frames → decompress (parallel) ─┬→ write
//!                                                                                    └→ digest, facts
//! ```
//!
//! One thread decompresses frames of more than 4 MiB block by block: several of them at once would take too much memory.
//!
//! A stage that fails drops its ends of the queues. Its neighbours see that and stop; only the failed one reports an error.

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
pub mod snapshot_pages;
pub mod space;
mod stage;
pub(crate) mod units;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "offsets in archives of a few hundred kilobytes")]
mod tests;
