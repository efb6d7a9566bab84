//! What needs no etcd: errors, keys, vectors, fuzz targets, refusals.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod age_hybrid;
mod bad_input;
mod errors;
mod etcd_flags;
mod fixtures;
mod fuzzing;
mod hints;
mod keys;
mod keys_plugins;
mod keys_stock_tools;
mod member_warnings;
mod operator;
mod scenarios;
mod vectors;
