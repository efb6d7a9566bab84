//! Where archives and members appear: whole or not at all.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod concurrent_saves;
mod member;
mod store_process;
