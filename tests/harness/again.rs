//! A test that runs itself again, in a process of its own: with another environment, or to be killed or measured there.

use super::program::Program;
use std::any::type_name;
use std::process::Command;

/// This test binary, which runs `test` alone and lets it print, with the environment and in the directory of this run.
pub fn program<T: Fn()>(_: T) -> Program {
    // `fast::fuzzing::header`: libtest knows it without the name of the binary.
    let (_, path) = type_name::<T>().split_once("::").unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    Program::of(again.args(["--exact", path, "--nocapture"]).envs(std::env::vars_os()))
}
