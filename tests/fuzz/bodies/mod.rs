//! What each fuzz target does with its input: everything of etcd-seal that an attacker can write to.
//!
//! An input is never wrong. A target fails by panicking, by taking too long or by taking too much memory; beside that it
//! compares what must be the same whatever the input is. Two drivers run these functions: libFuzzer, which looks for new
//! code (`scripts/fuzz`), and `tests/fast/fuzzing.rs`, which is one of the ordinary tests.

pub mod archive;
pub mod documents;
pub mod frames;
pub mod header;
pub mod inner;
mod keys;
pub mod names;
pub mod read_at;
mod recipe;

#[expect(dead_code, reason = "the makers of vectors need more of it")]
#[path = "../../vectors/maker/layers.rs"]
mod layers;
#[expect(dead_code, reason = "the makers of vectors need more of it")]
#[path = "../../vectors/maker/seal.rs"]
mod seal;
#[expect(dead_code, reason = "the makers of vectors need more of it")]
#[path = "../../vectors/maker/snapshot.rs"]
mod snapshot;

/// One of them.
pub struct Target {
    /// That of its binary, its directory of seeds and its dictionary.
    pub name: &'static str,
    /// Whether the test vectors are seeds of it too.
    pub vectors: bool,
    /// What it does.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "header", vectors: true, run: header::run },
    Target { name: "archive", vectors: true, run: archive::run },
    Target { name: "frames", vectors: false, run: frames::run },
    Target { name: "names", vectors: false, run: names::run },
    Target { name: "documents", vectors: false, run: documents::run },
    Target { name: "read_at", vectors: false, run: read_at::run },
    Target { name: "inner", vectors: false, run: inner::run },
];
