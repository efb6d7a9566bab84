//! Real etcds: what they give, and what they make of what is restored.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod database;
mod drill;
mod etcd_link;
mod etcd_real;
mod examples;
mod front_door;
mod interoperability;
mod kubernetes;
mod member;
mod plaintext;
mod recipients;
mod salvage;
mod terminal;
mod tls;
