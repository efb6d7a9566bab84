//! Reads the write-ahead log of a member: how far it goes, and whether it is whole.
//!
//! `wal/wal.go` and `wal/decoder.go` in etcd. Each file begins with the checksum with which the file before it ended, then the
//! ids of member and cluster. An entry takes the place of an earlier one of its raft index and of all that followed that.

use std::fs::File;
use std::io::{BufReader, Read};

use super::wal::{CRC, ENTRY, Log, METADATA, SNAPSHOT, STATE};
use crate::database::protobuf::{Fault, Fields, Message};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;

/// Bytes read at a time.
const READ_SIZE: usize = 1 << 20;
/// Bytes of the length before a record.
const LENGTH_SIZE: u64 = 8;
/// A disk writes whole sectors: one of zeros in a record was never written (`minSectorSize` in `wal/wal.go`).
const SECTOR_SIZE: u64 = 512;

/// One file of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogFile<'a> {
    /// Its name: sequence and raft index.
    pub name: &'a str,
    /// The file, at its beginning.
    pub file: &'a File,
}

/// What a log says.
#[derive(Clone, Debug, Default)]
pub struct LogSummary {
    /// The member that wrote it.
    pub member_id: u64,
    /// Its cluster.
    pub cluster_id: u64,
    /// The raft index of its last entry.
    pub last: u64,
    /// The raft index up to which the member knew all entries to be committed.
    pub committed: u64,
    /// Whether it ends in the middle of a record, as after a power loss.
    pub is_cut: bool,
    /// Whether a key of the v2 API was written.
    pub v2_keys: bool,
    term: u64,
    vote: u64,
    checksum: u32,
    end: u64,
}

impl LogSummary {
    /// Entries that the member has written and did not yet know to be committed. A write that a client saw succeed may be
    /// among them: a member learns of a commit after its quorum.
    #[must_use]
    pub fn unconfirmed(&self) -> u64 {
        self.last.saturating_sub(self.committed)
    }

    /// Where the last whole record of the last file ends, and the record that commits all entries if it is put there.
    #[must_use]
    pub fn commit_all(&self) -> (u64, Vec<u8>) {
        let state = Message::default().number(1, self.term).number(2, self.vote).number(3, self.last);
        let mut log = Log::after(self.checksum);
        log.record(STATE, Some(&state.finish()));
        (self.end, log.into_bytes())
    }

    fn take(&mut self, kind: u64, data: &[u8]) -> Result<(), Fault> {
        match kind {
            METADATA => return self.take_ids(data),
            ENTRY => return self.take_entry(data),
            STATE => [self.term, self.vote, self.committed] = numbers(data, [1, 2, 3])?,
            SNAPSHOT => {
                let [index] = numbers(data, [1])?;
                self.last = self.last.max(index);
            }
            other => return Err(Fault::Malformed(format!("a record has the unknown type {other}"))),
        }
        Ok(())
    }

    fn take_ids(&mut self, data: &[u8]) -> Result<(), Fault> {
        let [member, cluster] = numbers(data, [1, 2])?;
        if (self.member_id, self.cluster_id) == (0, 0) {
            (self.member_id, self.cluster_id) = (member, cluster);
        }
        if (self.member_id, self.cluster_id) == (member, cluster) {
            return Ok(());
        }
        Err(Fault::Malformed("its files are of several members".to_owned()))
    }

    fn take_entry(&mut self, data: &[u8]) -> Result<(), Fault> {
        let [kind, term, index] = numbers(data, [1, 2, 3])?;
        if self.last != 0 && index > self.last.saturating_add(1) {
            let what = format!("the entries between {} and {index} are missing", self.last);
            return Err(Fault::Malformed(what));
        }
        self.last = index;
        self.term = self.term.max(term);
        if kind == NORMAL {
            for field in Fields::of(data) {
                let field = field?;
                if field.tag == 4 {
                    self.v2_keys |= writes_v2_key(field.bytes()?);
                }
            }
        }
        Ok(())
    }
}

/// `EntryNormal` in `raft.proto`.
const NORMAL: u64 = 0;

/// Whether the data of an entry, a `Request`, put a key of the v2 API: those are below `/1`, etcd's own below `/0`. What the v3 API
/// asks is an `InternalRaftRequest`, whose third field is no text.
fn writes_v2_key(request: &[u8]) -> bool {
    let text = |tag| {
        let mut fields = Fields::of(request).map_while(Result::ok).filter(|field| field.tag == tag);
        fields.next().and_then(|field| field.bytes().ok()).unwrap_or_default()
    };
    matches!(text(2), b"PUT" | b"POST") && text(3).starts_with(b"/1")
}

/// The numbers in the fields with these tags; 0 for one that is absent.
fn numbers<const N: usize>(data: &[u8], tags: [u64; N]) -> Result<[u64; N], Fault> {
    let mut numbers = [0; N];
    for field in Fields::of(data) {
        let field = field?;
        if let Some(at) = tags.iter().position(|tag| *tag == field.tag) {
            numbers[at] = field.number()?;
        }
    }
    Ok(numbers)
}

fn malformed(fault: Fault) -> String {
    match fault {
        Fault::Malformed(what) => what,
        Fault::Unreadable(error) => error.to_string(),
    }
}

/// Reads the whole log, whose files come in the order of their names.
///
/// # Errors
/// [`Kind::DatabaseDamaged`] where etcd would refuse it, [`Kind::Io`].
pub fn read_log(files: &[LogFile<'_>], interrupt: &Interrupt) -> Result<LogSummary> {
    check_sequence(files)?;
    let mut log = LogSummary::default();
    for (number, file) in files.iter().enumerate() {
        let is_last = number + 1 == files.len();
        let mut reader = Reader::new(*file)?;
        log.end = 0;
        loop {
            interrupt.check()?;
            match reader.next(&mut log.checksum)? {
                Step::Record { kind: CRC, .. } => {}
                Step::Record { kind, data } => {
                    log.take(kind, &data).map_err(|fault| reader.damaged(&malformed(fault)))?;
                }
                Step::End => break,
                Step::Torn if is_last => {
                    log.is_cut = true;
                    break;
                }
                Step::Torn => return Err(reader.damaged("it is cut short, and another file follows")),
            }
            log.end = reader.offset;
        }
    }
    if log.last < log.committed {
        let (last, committed) = (log.last, log.committed);
        return Err(damaged(&format!(
            "it ends with the entry {last}, but says that {committed} is committed"
        )));
    }
    Ok(log)
}

/// Refuses a log of which a file is missing.
fn check_sequence(files: &[LogFile<'_>]) -> Result<()> {
    let sequence = |file: &LogFile<'_>| u64::from_str_radix(file.name.get(..16)?, 16).ok();
    for pair in files.windows(2) {
        let follows = sequence(&pair[0]).zip(sequence(&pair[1])).is_some_and(|(one, next)| one + 1 == next);
        if !follows {
            return Err(damaged(&format!("a file between {} and {} is missing", pair[0].name, pair[1].name)));
        }
    }
    Ok(())
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::DatabaseDamaged, format!("the write-ahead log is damaged: {what}"))
}

/// The next thing in a file.
enum Step {
    Record {
        kind: u64,
        data: Vec<u8>,
    },
    /// The end, which zeros or the end of the file mark.
    End,
    /// A record that was not written to its end.
    Torn,
}

struct Reader<'a> {
    name: &'a str,
    input: BufReader<&'a File>,
    size: u64,
    /// The end of the last whole record.
    offset: u64,
}

impl<'a> Reader<'a> {
    fn new(LogFile { name, file }: LogFile<'a>) -> Result<Self> {
        let size = file.metadata().map_err(|error| Error::io("look at", name, error))?.len();
        Ok(Self { name, input: BufReader::with_capacity(READ_SIZE, file), size, offset: 0 })
    }

    fn damaged(&self, what: &str) -> Error {
        damaged(&format!("{}, byte {}: {what}", self.name, self.offset))
    }

    fn read(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(size).read_to_end(&mut bytes);
        read.map_err(|error| Error::io("read", self.name, error))?;
        Ok(bytes)
    }

    fn next(&mut self, checksum: &mut u32) -> Result<Step> {
        let head = self.read(LENGTH_SIZE)?;
        let Some(marked) = head.first_chunk().map(|head| u64::from_le_bytes(*head)) else {
            return Ok(if head.is_empty() { Step::End } else { Step::Torn });
        };
        if marked == 0 {
            return self.after_zeros();
        }
        let length = marked & !(0xFF << 56);
        let padding = if marked >> 63 == 1 { marked >> 56 & 7 } else { 0 };
        let whole = length.saturating_add(padding);
        if whole > self.size.saturating_sub(self.offset + LENGTH_SIZE) {
            return Ok(Step::Torn);
        }
        let mut record = self.read(whole)?;
        record.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        match take_apart(&record, checksum) {
            Ok(step) => {
                self.offset += LENGTH_SIZE + whole;
                Ok(step)
            }
            Err(_) if self.is_torn(&record) => Ok(Step::Torn),
            Err(what) => Err(self.damaged(&what)),
        }
    }

    /// Zeros end a file. What follows them was written by a write that did not get to its beginning.
    fn after_zeros(&mut self) -> Result<Step> {
        loop {
            let piece = self.read(READ_SIZE as u64)?;
            if piece.is_empty() {
                return Ok(Step::End);
            }
            if piece.iter().any(|&byte| byte != 0) {
                return Ok(Step::Torn);
            }
        }
    }

    /// Whether a sector of the record was never written (`isTornEntry` in `wal/decoder.go`).
    fn is_torn(&self, record: &[u8]) -> bool {
        let mut at = self.offset + LENGTH_SIZE;
        let mut rest = record;
        while !rest.is_empty() {
            let in_sector = SECTOR_SIZE - at % SECTOR_SIZE;
            let (sector, others) = rest.split_at(rest.len().min(usize::try_from(in_sector).unwrap_or(1)));
            if sector.iter().all(|&byte| byte == 0) {
                return true;
            }
            at += sector.len() as u64;
            rest = others;
        }
        false
    }
}

/// Reads a record and checks it against the running checksum.
fn take_apart(record: &[u8], checksum: &mut u32) -> Result<Step, String> {
    let (mut kind, mut crc, mut data) = (0, 0, &[][..]);
    for field in Fields::of(record) {
        let read = field.and_then(|field| {
            match field.tag {
                1 => kind = field.number()?,
                2 => crc = field.number()?,
                3 => data = field.bytes()?,
                _ => {}
            }
            Ok(())
        });
        read.map_err(malformed)?;
    }
    let expected = if kind == CRC { *checksum } else { crc32c::crc32c_append(*checksum, data) };
    // The files before the first that is left are unknown.
    let unknown = kind == CRC && *checksum == 0;
    if crc != u64::from(expected) && !unknown {
        return Err("a record does not match its checksum".to_owned());
    }
    *checksum = u32::try_from(crc).map_err(|_| "a checksum is no number of 32 bits".to_owned())?;
    Ok(Step::Record { kind, data: data.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::member::{Membership, WAL_NAME, first_wal};
    use std::io::{Seek, SeekFrom, Write};

    /// The log of a new member, then an entry that it does not know to be committed.
    fn log() -> Vec<u8> {
        let membership = Membership::parse("a=http://b:1,c=http://d:1", "t").unwrap();
        let mut bytes = first_wal(&membership, membership.member("a", None).unwrap(), true);
        let checksum = read(&[(WAL_NAME, &bytes)]).unwrap().checksum;
        let mut rest = Log::after(checksum);
        rest.record(ENTRY, Some(&entry(3, b"data")));
        bytes.extend(rest.into_bytes());
        bytes
    }

    fn entry(index: u64, data: &[u8]) -> Vec<u8> {
        Message::default().number(1, NORMAL).number(2, 1).number(3, index).bytes(4, data).finish()
    }

    fn read(files: &[(&str, &[u8])]) -> Result<LogSummary> {
        let opened: Vec<File> = files
            .iter()
            .map(|(_, bytes)| {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(bytes).unwrap();
                file.seek(SeekFrom::Start(0)).unwrap();
                file
            })
            .collect();
        let files: Vec<LogFile<'_>> =
            files.iter().zip(&opened).map(|((name, _), file)| LogFile { name, file }).collect();
        read_log(&files, &Interrupt::new())
    }

    #[test]
    fn the_entry_that_is_not_known_to_be_committed_can_be_committed() {
        let mut bytes = log();
        let whole = bytes.len() as u64;
        bytes.resize(bytes.len() + 4096, 0);
        let log = read(&[(WAL_NAME, &bytes)]).unwrap();
        assert_eq!((log.last, log.committed, log.unconfirmed(), log.is_cut), (3, 2, 1, false));
        let (end, record) = log.commit_all();
        assert_eq!(end, whole);
        bytes.truncate(usize::try_from(end).unwrap());
        bytes.extend(record);
        let log = read(&[(WAL_NAME, &bytes)]).unwrap();
        assert_eq!((log.last, log.committed, log.unconfirmed()), (3, 3, 0));
    }

    #[test]
    fn a_log_that_ends_in_a_record_is_cut_and_one_that_was_changed_is_damaged() {
        let bytes = log();
        for cut in [1, 3, 9, 20] {
            let log = read(&[(WAL_NAME, &bytes[..bytes.len() - cut])]).unwrap();
            assert_eq!((log.is_cut, log.last), (true, 2), "{cut}");
        }
        let mut zeros_between = bytes.clone();
        zeros_between.extend([0; 600]);
        zeros_between.push(1);
        assert!(read(&[(WAL_NAME, &zeros_between)]).unwrap().is_cut);
        let mut changed = bytes.clone();
        let data = changed.windows(4).position(|window| window == b"data").unwrap();
        changed[data] ^= 1;
        let error = read(&[(WAL_NAME, &changed)]).unwrap_err();
        assert_eq!(error.kind(), Kind::DatabaseDamaged);
        assert!(error.to_string().contains("does not match its checksum"), "{error}");
    }

    #[test]
    fn files_follow_one_another() {
        let bytes = log();
        let first = read(&[(WAL_NAME, &bytes)]).unwrap();
        let next = |index| {
            let mut log = Log::after(first.checksum);
            log.record(CRC, None);
            log.record(ENTRY, Some(&entry(index, b"")));
            log.into_bytes()
        };
        let (second, third) =
            ("0000000000000001-0000000000000004.wal", "0000000000000002-0000000000000004.wal");
        let log = read(&[(WAL_NAME, &bytes), (second, &next(4))]).unwrap();
        assert_eq!((log.last, log.committed), (4, 2));
        for (files, why) in [
            ([(WAL_NAME, &bytes[..]), (third, &next(4))], "is missing"),
            ([(WAL_NAME, &bytes[..]), (second, &next(6))], "between 3 and 6 are missing"),
            ([(WAL_NAME, &bytes[..bytes.len() - 3]), (second, &next(4))], "another file follows"),
        ] {
            let error = read(&files).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn a_key_of_the_v2_api_is_seen() {
        let request = |path: &[u8]| Message::default().number(1, 7).bytes(2, b"PUT").bytes(3, path).finish();
        assert!(writes_v2_key(&request(b"/1/a")));
        assert!(!writes_v2_key(&request(b"/0/members/x/attributes")));
        assert!(!writes_v2_key(b"\x1a\x02ab") && !writes_v2_key(b"\xff"));
    }
}
