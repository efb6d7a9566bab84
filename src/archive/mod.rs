//! The archive format, version 1, in both directions. No network, no policy, no clock.

pub mod header;
pub mod manifest;
