//! Questions to a database that need not read all of it.

mod newest;

pub use newest::newest_revision;
