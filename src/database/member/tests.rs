//! Compares with the files that etcd's own tools wrote.

use super::*;
use crate::database::protobuf::Fields;

/// The fixture `name`, if there are fixtures.
fn fixture(name: &str) -> Option<Vec<u8>> {
    harness::skip::fixtures().map(|fixtures| std::fs::read(fixtures.join(name)).unwrap())
}

fn golden(name: &str) -> Option<Vec<u8>> {
    fixture(&format!("generated/golden/{name}"))
}

fn one() -> Membership {
    Membership::parse("m1=http://127.0.0.1:41810", "tok").unwrap()
}

fn three() -> Membership {
    let members = "m1=http://127.0.0.1:41911,m2=http://127.0.0.1:41912,m3=http://127.0.0.1:41913";
    Membership::parse(members, "tok3").unwrap()
}

fn assert_log(membership: &Membership, name: &str, with_voters: bool, golden_name: &str) {
    let Some(golden) = golden(golden_name) else { return };
    let mut log = first_wal(membership, membership.member(name, None).unwrap(), with_voters);
    log.resize(golden.len(), 0);
    assert!(log == golden, "{golden_name}");
}

#[test]
fn logs_are_etcd_s_own() {
    assert_log(&one(), "m1", true, "single-35.wal.head4096");
    assert_log(&one(), "m1", false, "single-34.wal.head4096");
    for name in ["m1", "m2", "m3"] {
        assert_log(&three(), name, true, &format!("three-{name}-35.wal.head4096"));
    }
}

#[test]
fn raft_snapshots_are_etcd_s_own() {
    for (membership, golden_name) in [
        (one(), "single-34.snap"),
        (one(), "single-35.snap"),
        (three(), "three-m1-35.snap"),
        (three(), "three-m3-35.snap"),
    ] {
        let Some(golden) = golden(golden_name) else { return };
        assert!(raft_snapshot(&membership) == golden, "{golden_name}");
    }
    assert_eq!(raft_snapshot_name(&three()), "0000000000000001-0000000000000003.snap");
}

/// Reads back the framing and checksums of a log that another program of etcd's wrote, by the rules by which ours are
/// written.
#[test]
fn records_are_framed_as_in_etcd_s_own_test_data() {
    let Some(log) = fixture("etcd/TestNew.wal") else { return };
    let theirs = records(&log);
    assert!(!theirs.is_empty());
    let ours = first_wal(&one(), &one().members()[0], true);
    assert_eq!(records(&ours).iter().map(|record| record.0).collect::<Vec<_>>(), [4, 1, 5, 2, 3, 5]);
}

/// Type and data of every record; asserts its checksum.
fn records(mut log: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    let mut checksum = 0;
    while let Some((length, rest)) = log.split_first_chunk::<8>() {
        let marked = u64::from_le_bytes(*length);
        let length = usize::try_from(marked & ((1 << 56) - 1)).unwrap();
        if length == 0 {
            break;
        }
        assert_eq!(length.next_multiple_of(8) - length, usize::try_from(marked >> 56 & 7).unwrap());
        let (mut kind, mut data, mut crc) = (0, Vec::new(), 0);
        for field in Fields::of(&rest[..length]) {
            let field = field.unwrap();
            match field.tag {
                1 => kind = field.number().unwrap(),
                2 => crc = field.number().unwrap(),
                3 => data = field.bytes().unwrap().to_vec(),
                _ => {}
            }
        }
        checksum = crc32c::crc32c_append(checksum, &data);
        assert_eq!(u64::from(checksum), crc);
        records.push((kind, data));
        log = &rest[length.next_multiple_of(8)..];
    }
    records
}
