//! Validates command line and environment, and refuses every conflict before the program asks, reads or connects to
//! anything. Commands receive settings, never raw arguments.

pub(crate) mod connection;
pub(crate) mod data_directory;
pub(crate) mod effort;
pub(crate) mod environment;
pub(crate) mod identities;
mod key_file;
pub(crate) mod opening;
pub(crate) mod private_etcd;
pub(crate) mod recipients;
pub(crate) mod sealing;
pub(crate) mod setting;
pub(crate) mod standard_input;
pub(crate) mod values;
