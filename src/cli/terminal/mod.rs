//! The terminal: standard error with its log lines and progress bar, colours, questions, and what is safe to show.

pub(crate) mod bar;
pub(crate) mod console;
pub(crate) mod log;
pub(crate) mod printable;
pub(crate) mod prompt;
mod repeats;
pub(crate) mod secret;
pub(crate) mod style;
