//! The error for a value that etcd could not have written.

use super::bolt::damaged;
use super::protobuf::Fault;
use crate::error::Error;

/// Bytes of a key that an error shows.
const SHOWN_SIZE: usize = 64;

/// The error for the value of `key` in a bucket, which the walk names.
pub(super) fn refusal(key: &[u8], fault: Fault) -> Error {
    match fault {
        Fault::Unreadable(error) => error,
        Fault::Malformed(what) => damaged(format!("key {}: {what}", shown(key))),
    }
}

/// A key as an error shows it.
fn shown(key: &[u8]) -> String {
    let begin = &key[..key.len().min(SHOWN_SIZE)];
    let more = if begin.len() < key.len() { "…" } else { "" };
    match std::str::from_utf8(begin) {
        Ok(text) if begin.iter().all(u8::is_ascii_graphic) && !begin.is_empty() => format!("{text:?}{more}"),
        _ => format!("0x{}{more}", hex::encode(begin)),
    }
}
