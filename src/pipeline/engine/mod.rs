//! How archives are sealed and opened: chains of threads with bounded queues, so that memory does not grow with the
//! snapshot.
//!
//! ```text
//! seal:  source → frames of equal size ─┬→ compress (parallel) → order, cut into chunks → seal (parallel) → write
//!                                       └→ digest, facts of the database
//! open:  read → open chunks (parallel) → order, find frames → decompress (parallel) ─┬→ write
//!                                                                                    └→ digest, facts
//! ```
//!
//! One thread decompresses frames of more than 4 MiB block by block: several of them at once would take too much memory.
//!
//! A stage that fails drops its ends of the queues. Its neighbours see that and stop; only the failed one reports an error.

pub(super) mod batch;
pub(super) mod buffer;
pub(super) mod claims;
pub(super) mod contents;
pub(super) mod decoder;
pub(super) mod delivery;
pub(super) mod digest;
pub(super) mod foreign;
pub(super) mod layers;
pub(super) mod plaintext;
pub(super) mod seal;
pub(super) mod stage;
