//! The harness, for those test files that are not yet part of a larger test.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of it")]

#[path = "../harness/mod.rs"]
mod harness;

pub use harness::*;
