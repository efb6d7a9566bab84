//! What the program and its documents say, read and run literally.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod exit_codes;
mod json;
mod pages;
mod readme;
mod runbook;
