//! A bbolt database: its pages, and the trees of keys and values in them.
//!
//! - [`meta`], [`page`]: the layout of a file.
//! - [`FirstPages`]: the meta pages, read from a stream.
//! - [`Database`]: the trees, read page by page, with a check of every page.

mod database;
mod first_pages;
pub mod meta;
mod node;
pub mod page;
mod page_set;
mod value;

pub(in crate::database) use database::{DEPTH_MAX, NamedBucket, damaged, missing_bucket};
pub use database::{Database, Visit, Walked};
pub use first_pages::FirstPages;
pub(in crate::database) use node::{Buffers, Node};
pub use value::{Stretch, Value};
