//! The first file of a write-ahead log, in which all members have just joined.
//!
//! `wal/wal.go`, `wal/encoder.go` and `wal/record.go` in etcd: records of `walpb.Record {type, crc, data}`, each behind a
//! length of eight bytes, little-endian, whose top byte says how far the record is padded to a multiple of eight. `crc` is a
//! CRC-32C that runs over the data of all records. Zeros end the log.

use super::membership::{Member, Membership};
use super::raft::{FIRST_TERM, configuration_state};
use crate::database::protobuf::{Fields, Message};

/// The name of the first file: sequence and raft index, both 0.
pub const WAL_NAME: &str = "0000000000000000-0000000000000000.wal";
/// Bytes that etcd preallocates for a file of its log (`SegmentSizeBytes` in `wal/wal.go`).
pub const WAL_SIZE: u64 = 64 * 1000 * 1000;

/// `metadataType` in `wal/wal.go`, and so on.
pub(super) const METADATA: u64 = 1;
pub(super) const ENTRY: u64 = 2;
pub(super) const STATE: u64 = 3;
pub(super) const CRC: u64 = 4;
pub(super) const SNAPSHOT: u64 = 5;
/// `EntryConfChange` in `raft.proto`.
const CONFIGURATION_CHANGE: u64 = 1;
/// `ConfChangeAddNode` in `raft.proto`.
const ADD_NODE: u64 = 0;

/// The log of `member`, up to its last record; the file continues with zeros to [`WAL_SIZE`].
///
/// `with_voters` selects the format since 3.5: the snapshot record names the voters, from which 3.7 learns them. Without it,
/// this is the log of 3.4, which only tests compare with.
#[must_use]
pub fn first_wal(membership: &Membership, member: &Member, with_voters: bool) -> Vec<u8> {
    let mut log = Log::default();
    log.record(CRC, None);
    let ids = Message::default().number(1, member.id).number(2, membership.cluster_id());
    log.record(METADATA, Some(&ids.finish()));
    log.record(SNAPSHOT, Some(&Message::default().number(1, 0).number(2, 0).finish()));
    for (index, member) in (1..).zip(membership.members()) {
        log.record(ENTRY, Some(&joining(index, member)));
    }
    let last = membership.last_index();
    let lowest = membership.members().first().map_or(0, |member| member.id);
    log.record(
        STATE,
        Some(&Message::default().number(1, FIRST_TERM).number(2, lowest).number(3, last).finish()),
    );
    let snapshot = Message::default().number(1, last).number(2, FIRST_TERM);
    let snapshot = if with_voters { snapshot.bytes(3, &configuration_state(membership)) } else { snapshot };
    log.record(SNAPSHOT, Some(&snapshot.finish()));
    log.bytes
}

/// The cluster id in a log that begins with `head`, some hundred bytes of any of its files: each file begins with a checksum
/// and the ids of member and cluster. `None` where `head` does not.
#[must_use]
pub fn cluster_id_in_wal(mut head: &[u8]) -> Option<u64> {
    for _ in 0..2 {
        let (length, rest) = head.split_first_chunk()?;
        let marked = u64::from_le_bytes(*length);
        let length = marked & !(0xFF << 56);
        let padding = if marked >> 63 == 1 { marked >> 56 & 7 } else { 0 };
        let (record, _) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let (mut kind, mut data) = (0, &[][..]);
        for field in Fields::of(record) {
            let field = field.ok()?;
            match field.tag {
                1 => kind = field.number().ok()?,
                3 => data = field.bytes().ok()?,
                _ => {}
            }
        }
        if kind == METADATA {
            let ids = Fields::of(data).filter_map(Result::ok).filter(|field| field.tag == 2);
            return ids.last()?.number().ok();
        }
        head = rest.get(usize::try_from(length.checked_add(padding)?).ok()?..)?;
    }
    None
}

/// The raft entry by which `member` joins.
fn joining(index: u64, member: &Member) -> Vec<u8> {
    let change =
        Message::default().number(1, 0).number(2, ADD_NODE).number(3, member.id).bytes(4, &member.to_json());
    let entry = Message::default().number(1, CONFIGURATION_CHANGE).number(2, FIRST_TERM).number(3, index);
    entry.bytes(4, &change.finish()).finish()
}

/// Records being written.
#[derive(Default)]
pub(super) struct Log {
    bytes: Vec<u8>,
    checksum: u32,
}

impl Log {
    /// Records that follow those with this checksum.
    pub(super) fn after(checksum: u32) -> Self {
        Self { bytes: Vec::new(), checksum }
    }

    /// The records.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn record(&mut self, kind: u64, data: Option<&[u8]>) {
        self.checksum = crc32c::crc32c_append(self.checksum, data.unwrap_or_default());
        let record = Message::default().number(1, kind).number(2, u64::from(self.checksum));
        let mut record = match data {
            Some(data) => record.bytes(3, data),
            None => record,
        }
        .finish();
        let length = record.len() as u64;
        let padding = length.next_multiple_of(8) - length;
        let marked = if padding == 0 { length } else { length | (0x80 | padding) << 56 };
        record.resize(record.len().next_multiple_of(8), 0);
        self.bytes.extend_from_slice(&marked.to_le_bytes());
        self.bytes.append(&mut record);
    }
}
