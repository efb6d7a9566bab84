//! A test that runs itself again, in a process of its own: with another environment, or to be killed or measured there.

use std::any::type_name;
use std::path::PathBuf;

/// The words that make this test binary run `test` alone: `--exact` and its path, and that it may print.
#[must_use]
pub fn words<T: Fn()>(_: T) -> [&'static str; 3] {
    // `fast::fuzzing::header`: libtest knows it without the name of the binary.
    let (_, path) = type_name::<T>().split_once("::").unwrap();
    ["--exact", path, "--nocapture"]
}

/// This test binary.
#[must_use]
pub fn binary() -> PathBuf {
    std::env::current_exe().unwrap()
}
