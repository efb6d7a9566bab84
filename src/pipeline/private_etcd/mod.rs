//! Etcds that this program starts for itself, on data in a scratch directory: to prove them, or to let an etcd replay what
//! only its own code can.
//!
//! However the work ends, none of them remains; if this process is killed, its launcher ends them.

pub(super) mod adoption;
pub(super) mod cluster;
pub(super) mod host;
mod process;
pub(super) mod root_token;

#[cfg(feature = "cli")]
pub(crate) use self::adoption::children;
pub use self::process::Program;
