//! Questions to a database that need not read all of it.

mod newest;
mod small;

pub use newest::newest_revision;
pub use small::{consistent_index, data_version, is_learner};
