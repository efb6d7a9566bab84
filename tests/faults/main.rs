//! Servers, hosts and signals that do their worst, and what the program makes of it.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod death;
mod environment;
mod etcd_misbehaving;
mod etcd_mistreated;
mod host;
mod processes;
mod secrets;
