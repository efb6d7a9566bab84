//! The program.

/// Runs the program and returns its exit code.
#[must_use]
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
