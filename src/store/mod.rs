//! Where archives live.

pub mod local;
pub mod name;
pub mod sidecar;
