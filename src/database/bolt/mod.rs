//! A bbolt database: its pages, and the trees of keys and values in them.
//!
//! - [`meta`], [`page`]: the layout of a file.
//! - [`FirstPages`]: the meta pages, read from a stream.
//! - [`Database`]: the trees, read page by page from a [`PageSource`], with a check of every page.

mod database;
mod fault;
mod first_pages;
pub mod meta;
mod node;
pub mod page;
mod page_set;
mod source;
mod value;
mod walk;

pub use database::Database;
pub(in crate::database) use fault::{damaged, missing_bucket};
pub use first_pages::FirstPages;
pub(in crate::database) use node::{Buffers, Node};
pub use source::PageSource;
pub(in crate::database) use value::PIECE_SIZE;
pub use value::{Stretch, Value};
pub(in crate::database) use walk::{DEPTH_MAX, NamedBucket};
pub use walk::{Visit, Walked};
