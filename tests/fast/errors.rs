//! Every kind of error: its name, exit code and the way out. What is really told in each situation stands in the
//! snapshots of `bad_input`.

use etcd_seal::cli::exit::{Exit, TABLE};
use etcd_seal::low_level::error::Kind;
use std::collections::BTreeSet;
use std::fmt::Write;

#[test]
fn every_kind_has_a_code_and_a_hint() {
    let mut table = String::new();
    for &kind in Kind::ALL {
        let _ = writeln!(table, "{:>3} {}: {}", Exit::of(kind).code(), kind.name(), kind.hint());
    }
    insta::assert_snapshot!(table);
}

#[test]
fn hints_are_written_alike() {
    for &kind in Kind::ALL {
        let hint = kind.hint();
        assert!(!hint.ends_with('.') && !hint.trim().is_empty(), "{hint}");
        assert!(!hint.contains('\n') && !hint.contains("  "), "{hint}");
        assert!(hint.starts_with(|first: char| !first.is_uppercase()), "{hint}");
    }
}

#[test]
fn names_are_unlike_and_snake_case() {
    let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), Kind::ALL.len());
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
}

/// The codes are a promise: this is the table of the documentation, not that of the program.
#[test]
fn the_codes_are_the_documented_ones() {
    let codes: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
    assert_eq!(codes, [0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 130, 143]);
}
