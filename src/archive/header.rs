//! The age header.
