//! Damages every byte of an archive in turn; the expected result follows from the position of the byte alone.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{Key, forge, key, noise, seal};
use crate::archive::frame::{FramePacker, SKIPPABLE_HEADER_SIZE, ZSTD_MAGIC};
use crate::archive::header::Header;
use crate::archive::payload::{SEALED_CHUNK_SIZE, TAG_SIZE};
use crate::archive::seek_table::{FOOTER_SIZE, SeekTable};
use crate::cli::exit::Exit;
use crate::database::snapshot::snapshot_for_tests;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::pipeline::inspect::inspect;
use crate::pipeline::open;
use crate::store::sidecar::Sidecar;
use crate::watch::Watch;

/// An archive, and what is known of it.
struct Whole {
    key: Key,
    snapshot: Vec<u8>,
    archive: Vec<u8>,
    header: usize,
    sidecar: Sidecar,
}

impl Whole {
    fn of(snapshot: Vec<u8>) -> Self {
        let key = key();
        let archive = seal(&snapshot, &key);
        let header = usize::try_from(Header::parse(&archive).unwrap().size()).unwrap();
        let sidecar = Sidecar { sha256: Sha256::digest(&archive).into(), name: NAME.into() };
        Self { key, snapshot, archive, header, sidecar }
    }

    /// Three frames that compress to one chunk.
    fn small() -> Self {
        let whole = Self::of(snapshot_for_tests(40, |at| (at / 4096).to_le_bytes()[0]));
        assert!(whole.archive.len() < 8192, "{} bytes", whole.archive.len());
        whole
    }

    /// Three frames in three chunks.
    fn large() -> Self {
        let whole = Self::of(snapshot_for_tests(34, noise));
        assert_eq!(whole.chunks().count(), 3);
        whole
    }

    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.archive[self.header..].chunks(SEALED_CHUNK_SIZE)
    }

    /// The result of `verify` and `restore`, which succeed only with the original snapshot.
    fn opened(&self, bytes: &[u8]) -> Exit {
        self.open(bytes).0
    }

    fn open(&self, mut bytes: &[u8]) -> (Exit, Vec<u8>) {
        let mut output = Vec::new();
        let options = open::Options { jobs: 1, allow_missing_digest: true, file_digest: false };
        let (identities, interrupt) = (&self.key.identities, Interrupt::new());
        let opened = open::open(&mut bytes, identities, &options, &mut output, &Watch::silent(&interrupt));
        let exit = exit_of(opened.map(drop));
        assert!(exit != Exit::Done || output == self.snapshot, "another snapshot");
        (exit, output)
    }

    /// The result of `info` with the key.
    fn inspected(&self, bytes: &[u8]) -> Exit {
        exit_of(inspect(&mut std::io::Cursor::new(bytes), Some(&self.key.identities)).map(drop))
    }

    /// The result of `verify` with a sidecar and without a key.
    fn compared(&self, mut bytes: &[u8]) -> Exit {
        let seen = open::look(&mut bytes, &Watch::default());
        exit_of(
            seen.and_then(|seen| {
                self.sidecar.compare(Path::new(NAME), &seen.archive_sha256.unwrap()).map(drop)
            }),
        )
    }

    /// Judges all three; `info` reads only the ends and may find nothing wrong.
    fn judge(&self, bytes: &[u8], expected: Exit) -> Option<String> {
        self.judge_opened(self.opened(bytes), bytes, expected)
    }

    fn judge_opened(&self, opened: Exit, bytes: &[u8], expected: Exit) -> Option<String> {
        let (inspected, compared) = (self.inspected(bytes), self.compared(bytes));
        let without_key = if expected == Exit::Newer { Exit::Newer } else { Exit::Damaged };
        let good = opened == expected
            && (inspected == expected || inspected == Exit::Done)
            && compared == without_key;
        (!good).then(|| {
            format!(
                "expected {expected:?}: opened {opened:?}, inspected {inspected:?}, compared {compared:?}"
            )
        })
    }

    /// Judges damage made without the key: not even a wrong byte may come out before the error.
    fn judge_outside(&self, bytes: &[u8], expected: Exit) -> Option<String> {
        let (opened, output) = self.open(bytes);
        if !self.snapshot.starts_with(&output) {
            return Some(format!("{} bytes of another snapshot came out", output.len()));
        }
        self.judge_opened(opened, bytes, expected)
    }

    fn judge_flip(&self, at: usize, mask: u8) -> Option<String> {
        let mut bytes = self.archive.clone();
        bytes[at] ^= mask;
        let wrong = self.judge_outside(&bytes, self.expected(at, bytes[at]))?;
        Some(format!("byte {at} ^ {mask:#04x}: {wrong}"))
    }

    fn judge_cut(&self, length: usize) -> Option<String> {
        let wrong = self.judge_outside(&self.archive[..length], Exit::Damaged)?;
        Some(format!("cut to {length} bytes: {wrong}"))
    }

    /// The expected result where byte `at` has become `byte`. Any change is damage, except a recipient stanza that stays
    /// well-formed: it cannot be told from the stanza of another recipient. Nor can another version from a later one.
    fn expected(&self, at: usize, byte: u8) -> Exit {
        const TAG: &[u8] = b"X25519";
        // 32 bytes in Base64 without padding.
        const ENCODED: usize = 43;
        const VERSION: &[u8] = b"-> etcd-snapshot v";
        let version = self.archive.windows(VERSION.len()).position(|window| window == VERSION).unwrap();
        if at == version + VERSION.len() && matches!(byte, b'2'..=b'9') {
            return Exit::Newer;
        }
        let arrow = self.archive.windows(3).position(|window| window == b"-> ").unwrap();
        let (tag, share) = (arrow + 3, arrow + 3 + TAG.len() + 1);
        let body = share + ENCODED + 1;
        assert_eq!(&self.archive[tag..share - 1], TAG);
        // The lowest two bits of the last of those 43 characters are no data, and must be zero.
        let letter = |begin: usize| {
            let value = base64_value(byte);
            value.is_some_and(|value| at != begin + ENCODED - 1 || value.is_multiple_of(4))
        };
        let still_a_stanza = if (tag..share).contains(&at) {
            byte.is_ascii_graphic()
        } else if (share..share + ENCODED).contains(&at) {
            letter(share)
        } else {
            (body..body + ENCODED).contains(&at) && letter(body)
        };
        if still_a_stanza { Exit::NoIdentity } else { Exit::Damaged }
    }
}

const NAME: &str = "a.age";

fn base64_value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

fn exit_of(result: Result<()>) -> Exit {
    result.map_or_else(|error| Exit::of(error.kind()), |()| Exit::Done)
}

/// Judges every case, on all processors.
fn all<C: Copy + Sync>(cases: &[C], judge: impl Fn(C) -> Option<String> + Sync) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = cases.len().div_ceil(processors).max(1);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let judge = &judge;
        let threads: Vec<_> = cases
            .chunks(share)
            .map(|cases| {
                scope.spawn(move || cases.iter().filter_map(|case| judge(*case)).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let shown = &wrong[..wrong.len().min(20)];
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), shown.join("\n"));
}

/// Flips every bit of the `special` bytes, and one bit of every other: one is enough where only a tag is compared.
fn flips(length: usize, special: impl Fn(usize) -> bool) -> Vec<(usize, u8)> {
    let masks = |at: usize| if special(at) { (0..8).collect() } else { vec![at % 8] };
    (0..length).flat_map(|at| masks(at).into_iter().map(move |bit| (at, 1 << bit))).collect()
}

/// Positions in an archive of many chunks: all of them in optimized builds, in which ciphers are a hundred times as fast;
/// otherwise the header, the bytes around the ends of chunks, and some of the rest.
fn positions(whole: &Whole, end: usize) -> Vec<usize> {
    const AROUND: usize = 4;
    const STEP: usize = 4001;
    let within = |at: &usize| {
        let in_chunk = at.saturating_sub(whole.header) % SEALED_CHUNK_SIZE;
        *at < whole.header + AROUND
            || !(AROUND..SEALED_CHUNK_SIZE - TAG_SIZE - AROUND).contains(&in_chunk)
            || *at + TAG_SIZE + AROUND >= whole.archive.len()
            || at.is_multiple_of(STEP)
    };
    (0..end).filter(|at| !cfg!(debug_assertions) || within(at)).collect()
}

#[test]
fn every_byte_of_a_small_archive_counts_and_every_bit_of_its_header() {
    let whole = Whole::small();
    all(&flips(whole.archive.len(), |at| at < whole.header), |(at, mask)| whole.judge_flip(at, mask));
}

#[test]
fn every_byte_of_an_archive_of_several_chunks_counts() {
    let whole = Whole::large();
    let positions = positions(&whole, whole.archive.len());
    all(&positions, |at| whole.judge_flip(at, 1 << (at % 8)));
}

#[test]
fn every_cut_is_noticed() {
    let small = Whole::small();
    let lengths: Vec<usize> = (0..small.archive.len()).collect();
    all(&lengths, |length| small.judge_cut(length));
    let large = Whole::large();
    all(&positions(&large, large.archive.len()), |length| large.judge_cut(length));
}

#[test]
fn chunks_that_are_swapped_missing_or_there_twice_are_noticed() {
    let whole = Whole::large();
    let chunks: Vec<&[u8]> = whole.chunks().collect();
    for (what, order) in disorders(chunks.len()) {
        let payload: Vec<u8> = order.iter().flat_map(|number| chunks[*number].iter().copied()).collect();
        let bytes = [&whole.archive[..whole.header], &payload].concat();
        assert_eq!(whole.judge_outside(&bytes, Exit::Damaged), None, "{what}");
    }
}

/// Every way to swap two of `count` things, to omit one, and to repeat one.
fn disorders(count: usize) -> Vec<(String, Vec<usize>)> {
    let mut disorders = Vec::new();
    for one in 0..count {
        let mut less: Vec<usize> = (0..count).collect();
        less.remove(one);
        disorders.push((format!("without {one}"), less));
        for other in 0..=count {
            let mut twice: Vec<usize> = (0..count).collect();
            twice.insert(other, one);
            disorders.push((format!("{one} again at {other}"), twice));
        }
        for other in one + 1..count {
            let mut swapped: Vec<usize> = (0..count).collect();
            swapped.swap(one, other);
            disorders.push((format!("{one} and {other} swapped"), swapped));
        }
    }
    disorders
}

/// The plaintext of an archive, split into its frames.
struct Frames {
    /// Manifest, frames of the snapshot, trailer.
    frames: Vec<Vec<u8>>,
    table: SeekTable,
}

impl Frames {
    fn of(plaintext: &[u8]) -> Self {
        let size = SeekTable::frame_size(plaintext.last_chunk::<FOOTER_SIZE>().unwrap()).unwrap();
        let (mut rest, table) = plaintext.split_at(plaintext.len() - size);
        let table = SeekTable::parse(table).unwrap();
        let frames = table.entries.iter().map(|entry| {
            let (frame, behind) = rest.split_at(entry.compressed as usize);
            rest = behind;
            frame.to_vec()
        });
        let frames = frames.collect();
        Self { frames, table }
    }

    /// The frames in another order, with the original table or one that fits them.
    fn in_order(&self, order: &[usize], table_fits: bool) -> Vec<u8> {
        let mut plaintext: Vec<u8> =
            order.iter().flat_map(|number| self.frames[*number].iter().copied()).collect();
        let entries = order.iter().map(|number| self.table.entries[*number]).collect();
        let table = if table_fits { SeekTable { entries } } else { self.table.clone() };
        plaintext.extend(table.to_frame().unwrap());
        plaintext
    }
}

fn plaintext_of(whole: &Whole) -> Vec<u8> {
    let mut plaintext = Vec::new();
    forge(&whole.archive, &whole.key, |text| plaintext.clone_from(text));
    plaintext
}

fn forged(whole: &Whole, plaintext: Vec<u8>) -> Vec<u8> {
    forge(&whole.archive, &whole.key, |text| *text = plaintext)
}

#[test]
fn frames_that_are_swapped_missing_or_there_twice_are_noticed_even_under_the_right_key() {
    // The frames differ in content, or swapping them would change nothing.
    for whole in [Whole::small(), Whole::large()] {
        let frames = Frames::of(&plaintext_of(&whole));
        for (what, order) in disorders(frames.frames.len()) {
            for table_fits in [false, true] {
                let bytes = forged(&whole, frames.in_order(&order, table_fits));
                assert_eq!(whole.judge(&bytes, Exit::Damaged), None, "{what}, table fits: {table_fits}");
            }
        }
    }
}

#[test]
fn a_shorter_frame_in_the_middle_is_noticed_even_under_the_right_key() {
    const FRAME: usize = 65_536;
    let whole = Whole::small();
    let mut frames = Frames::of(&plaintext_of(&whole));
    let (first, second, third) =
        (&whole.snapshot[..FRAME], &whole.snapshot[FRAME..2 * FRAME - 1], &whole.snapshot[2 * FRAME - 1..]);
    assert!(third.len() < FRAME);
    for (number, content) in (1..).zip([first, second, third]) {
        let mut frame = Vec::new();
        FramePacker::new(1, 65_536).unwrap().pack(content, &mut frame).unwrap();
        frames.table.entries[number].compressed = u32::try_from(frame.len()).unwrap();
        frames.table.entries[number].decompressed = u32::try_from(content.len()).unwrap();
        frames.frames[number] = frame;
    }
    let bytes = forged(&whole, frames.in_order(&[0, 1, 2, 3, 4], true));
    assert_eq!(whole.judge(&bytes, Exit::Damaged), None);
}

/// RFC 8878, 3.1.1.1.1.3: the bit of the frame header descriptor that no decoder may interpret.
const UNUSED_BIT: u8 = 1 << 4;

/// Changes that take the key. No reader can check much of manifest and trailer; but another snapshot must never come out,
/// and every bit counts in the frames of the snapshot, the seek table and the headers of the documents.
#[test]
fn every_bit_of_the_plaintext_counts_or_changes_nothing() {
    let whole = Whole::small();
    let plaintext = plaintext_of(&whole);
    let frames = Frames::of(&plaintext);
    let manifest = frames.frames[0].len();
    let trailer: usize = frames.frames[..frames.frames.len() - 1].iter().map(Vec::len).sum();
    let table = trailer + frames.frames.last().unwrap().len();
    let mut at = manifest;
    let descriptors: Vec<usize> = frames.frames[1..frames.frames.len() - 1]
        .iter()
        .map(|frame| {
            let begin = at;
            at += frame.len();
            begin + size_of_val(&ZSTD_MAGIC)
        })
        .collect();
    let counts = |at: usize| {
        let in_documents = (SKIPPABLE_HEADER_SIZE..manifest).contains(&at)
            || (trailer + SKIPPABLE_HEADER_SIZE..table).contains(&at);
        !in_documents
    };
    // Every third byte of the documents is enough to see that no other snapshot comes out.
    let mut cases = flips(plaintext.len(), counts);
    cases.retain(|(at, _)| counts(*at) || at.is_multiple_of(3));
    all(&cases, |(at, mask)| {
        let mut changed = plaintext.clone();
        changed[at] ^= mask;
        let exit = whole.opened(&forged(&whole, changed));
        let may_pass = !counts(at) || (mask == UNUSED_BIT && descriptors.contains(&at));
        let good = exit == Exit::Damaged || (exit == Exit::Done && may_pass);
        (!good).then(|| format!("byte {at} ^ {mask:#04x} of the plaintext: {exit:?}"))
    });
}
