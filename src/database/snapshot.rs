//! What can be checked of a snapshot while it streams by.
