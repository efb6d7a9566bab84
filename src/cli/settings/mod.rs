//! Validates command line and environment, and refuses every conflict before the program asks, reads or connects to
//! anything. Commands receive settings, never raw arguments.

pub(crate) mod connection;
pub(crate) mod effort;
pub(crate) mod environment;
pub(crate) mod keys;
pub(crate) mod opening;
pub(crate) mod sealing;
pub(crate) mod standard_input;
pub(crate) mod values;
