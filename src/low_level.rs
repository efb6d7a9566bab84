//! The rooms of the library as they are inside, for the tools around it: tests, benchmarks, fuzzing.
//!
//! Nothing in here is a promise. Names and signatures change with any version; programs use the names at the root of
//! the crate.

/// The format of an archive, in both directions.
pub mod archive {
    pub use crate::archive::*;
}

/// etcd's database: a bbolt file, and what etcd keeps in it.
pub mod database {
    pub use crate::database::*;
}

/// The one error type.
pub mod error {
    pub use crate::error::*;
}

/// A live etcd as the source of a snapshot.
pub mod etcd {
    pub use crate::etcd::*;
}

/// Stops work from another thread.
pub mod interrupt {
    pub use crate::interrupt::*;
}

/// Recipients and identities.
pub mod keys {
    pub use crate::keys::*;
}

/// The stages between a source and an output.
pub mod pipeline {
    pub use crate::pipeline::*;
}

/// Progress reports and heartbeats.
pub mod progress {
    pub use crate::progress::*;
}

/// The places where archives and members are written and read.
pub mod store {
    pub use crate::store::*;
}
