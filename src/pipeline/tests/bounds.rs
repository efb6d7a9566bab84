//! The limits on what an archive can cost its reader, when its author knows only the recipient: memory and output stay
//! bounded whatever the archive says. Each test tries a bound at its limit and one step beyond.

use std::io::{Cursor, Write};

use sha2::{Digest as _, Sha256};
use zstd::stream::raw::CParameter;

use super::{Key, foreign, key, pieces, seal_options, seal_with};
use crate::archive::expansion::{UNPROMISED_RATIO, UNPROMISED_SIZE};
use crate::archive::frame::{
    FRAME_SIZE_MAX, FramePacker, MANIFEST_MAGIC, TRAILER_MAGIC, ZSTD_MAGIC, skippable,
};
use crate::archive::manifest::{Digest, Manifest, Source, Trailer, manifest_for_tests};
use crate::archive::seek_table::SeekTable;
use crate::database::bolt::meta::meta_page;
use crate::database::snapshot::snapshot_for_tests;
use crate::error::{Kind, Result};
use crate::interrupt::Interrupt;
use crate::keys::Identities;
use crate::pipeline::inspect::inspect;
use crate::pipeline::open::{self, Opened};
use crate::pipeline::seal::SealOptions;
use crate::watch::Watch;

const FRAME: u64 = FRAME_SIZE_MAX as u64;
const PAGE: u32 = 4096;

/// Frames that look like a database of zeros, and the claims of the layers around them.
struct Bomb {
    promised: Option<u64>,
    /// Whole frames of zeros after the first one, which begins with the meta pages.
    zeros: usize,
    /// Bytes of the last frame.
    last: u32,
}

/// The first frame of a database that claims a size of `size` bytes.
fn first_frame(size: u64) -> Vec<u8> {
    let pages = size / 4096;
    let mut content = [meta_page(4096, pages, 8), meta_page(4096, pages, 7)].concat();
    content.resize(FRAME_SIZE_MAX as usize, 0);
    content
}

fn pack(content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    FramePacker::new(1, FRAME_SIZE_MAX).unwrap().pack(content, &mut frame).unwrap();
    frame
}

impl Bomb {
    fn snapshot_size(&self) -> u64 {
        FRAME * (1 + self.zeros as u64) + u64::from(self.last)
    }

    /// Seals it for a recipient with stock age. Even the digest is no fault, as it is called absent.
    fn seal(&self, key: &Key) -> Vec<u8> {
        let size = self.snapshot_size();
        let (first, zeros) = (first_frame(size), vec![0; FRAME_SIZE_MAX as usize]);
        let last = &zeros[..self.last as usize];
        let mut sha256 = Sha256::new();
        sha256.update(&first);
        (0..self.zeros).for_each(|_| sha256.update(&zeros));
        sha256.update(last);

        let manifest = skippable(MANIFEST_MAGIC, &serde_json::to_vec(&self.manifest()).unwrap()).unwrap();
        let trailer = Trailer {
            contents: None,
            snapshot_size: size,
            database_sha256: hex::encode(sha256.finalize()),
            digest: Digest::Absent,
            status_after: None,
            stream_open_ms: None,
        };
        let trailer = skippable(TRAILER_MAGIC, &serde_json::to_vec(&trailer).unwrap()).unwrap();
        let packed_zeros = pack(&zeros);
        let mut frames = vec![(manifest, 0), (pack(&first), FRAME_SIZE_MAX)];
        frames.extend((0..self.zeros).map(|_| (packed_zeros.clone(), FRAME_SIZE_MAX)));
        frames.push((pack(last), self.last));
        frames.push((trailer, 0));
        let mut table = SeekTable::default();
        for (bytes, content) in &frames {
            table.push(bytes.len(), *content).unwrap();
        }
        let plaintext: Vec<u8> = frames.into_iter().flat_map(|(bytes, _)| bytes).collect();
        foreign(&[plaintext, table.to_frame().unwrap()].concat(), key, false)
    }

    fn manifest(&self) -> Manifest {
        let mut manifest = manifest_for_tests();
        manifest.description.frame_size = FRAME_SIZE_MAX;
        manifest.description.snapshot_size = self.promised;
        manifest
    }
}

/// How many bytes came out of an archive, and the result.
fn opened(mut archive: &[u8], key: &Key, allow_missing_digest: bool) -> (u64, Result<Opened>) {
    struct Counted(u64);
    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let options = open::Options { jobs: 1, allow_missing_digest, file_digest: false };
    let mut output = Counted(0);
    let (identities, interrupt) = (&key.identities, Interrupt::new());
    let opened = open::open(&mut archive, identities, &options, &mut output, &Watch::silent(&interrupt));
    (output.0, opened)
}

#[test]
fn without_a_promise_a_few_kilobytes_do_not_fill_a_disk() {
    let key = key();
    // Some hundred bytes for each 16 MiB; the rest of the archive is its documents, which do not count.
    let bomb = Bomb { promised: None, zeros: 20, last: PAGE };
    let archive = bomb.seal(&key);
    assert!(archive.len() < 64 * 1024, "{} bytes", archive.len());
    let (written, opened) = opened(&archive, &key, false);
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), Kind::StructureDamaged, "{error}");
    assert!(error.to_string().contains("names no size"), "{error}");
    // What a frame justifies is known only at its end.
    let limit = UNPROMISED_SIZE + UNPROMISED_RATIO * archive.len() as u64 + FRAME;
    assert!(written <= limit, "{written} bytes came out");
    assert!(written < bomb.snapshot_size() / 4, "{written} bytes came out");
    let error = inspect(&mut Cursor::new(&archive), Some(&key.identities)).unwrap_err();
    assert!(error.to_string().contains("names no size"), "{error}");
}

#[test]
fn without_a_promise_the_limit_itself_comes_out() {
    let key = key();
    // Four whole frames are the 64 MiB; the last frame holds what the frames themselves justify.
    let zeros = 3;
    let whole = pack(&first_frame(5 * FRAME)).len() + zeros * pack(&vec![0; FRAME_SIZE_MAX as usize]).len();
    let justified = |last: u32| UNPROMISED_RATIO * (whole + pack(&vec![0; last as usize]).len()) as u64;
    let mut last = u32::try_from(UNPROMISED_RATIO * whole as u64).unwrap() / PAGE * PAGE;
    while u64::from(last + PAGE) <= justified(last + PAGE) {
        last += PAGE;
    }
    let (written, opened_) = opened(&Bomb { promised: None, zeros, last }.seal(&key), &key, false);
    assert_eq!(written, opened_.unwrap().snapshot_size);
    let beyond = Bomb { promised: None, zeros, last: last + PAGE };
    let (written, opened_) = opened(&beyond.seal(&key), &key, false);
    assert_eq!(opened_.unwrap_err().kind(), Kind::StructureDamaged);
    assert!(written <= UNPROMISED_SIZE + FRAME, "{written} bytes came out");
}

#[test]
fn what_is_promised_comes_out_and_not_a_frame_more() {
    let key = key();
    let size = Bomb { promised: None, zeros: 4, last: PAGE }.snapshot_size();
    let (written, opened_) =
        opened(&Bomb { promised: Some(size), zeros: 4, last: PAGE }.seal(&key), &key, false);
    assert_eq!((written, opened_.unwrap().snapshot_size), (size, size));
    let (written, opened_) =
        opened(&Bomb { promised: Some(size - 1), zeros: 4, last: PAGE }.seal(&key), &key, false);
    let error = opened_.unwrap_err();
    assert!(error.to_string().contains("longer than the manifest says"), "{error}");
    assert_eq!(written, size - u64::from(PAGE), "the frame that is too much came out");
}

/// The promised size may be too much for the destination, which `admit` decides before the first byte.
#[test]
fn nothing_is_written_of_what_is_not_admitted() {
    let key = key();
    let bomb = Bomb { promised: Some(1 << 60), zeros: 4, last: PAGE };
    let archive = bomb.seal(&key);
    let options = open::Options { jobs: 1, allow_missing_digest: false, file_digest: false };
    let asked = std::sync::atomic::AtomicU64::new(0);
    let admit = |promised| {
        asked.store(promised, std::sync::atomic::Ordering::Relaxed);
        Err(crate::error::Error::new(Kind::NoSpace, "too much"))
    };
    let mut output = Vec::new();
    let (mut input, interrupt) = (&archive[..], Interrupt::new());
    let identities = &key.identities;
    let watch = Watch::silent(&interrupt);
    let opening = open::Opening { identities, options: &options, admit: &admit, watch: &watch };
    let opened = opening.open(&mut input, &mut output);
    assert_eq!(opened.unwrap_err().kind(), Kind::NoSpace);
    assert_eq!((asked.into_inner(), output.len()), (1 << 60, 0));
}

#[test]
fn what_no_reader_would_unpack_is_not_written() {
    let key = key();
    let mut manifest = manifest_for_tests();
    manifest.description.source = Source::Stdin;
    manifest.description.frame_size = FRAME_SIZE_MAX;
    let size = 8 * FRAME;
    let mut snapshot = first_frame(size);
    snapshot.resize(usize::try_from(size).unwrap(), 0);
    let options = SealOptions { allow_missing_digest: true, ..seal_options() };
    let (saved, archive) = seal_with(pieces(&snapshot, 1 << 20), manifest.clone(), &options, &key);
    let error = saved.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    assert!(opened(&archive, &key, false).1.is_err());
    // The size of a file is known, and the archive states it.
    manifest.description.source = Source::File;
    manifest.description.snapshot_size = Some(size);
    let (saved, archive) = seal_with(pieces(&snapshot, 1 << 20), manifest, &options, &key);
    saved.unwrap();
    assert_eq!(opened(&archive, &key, false).0, size);
}

#[test]
fn archives_of_another_make_cannot_promise_anything() {
    let key = key();
    let zeros = |frames| {
        let first = pack(&first_frame(FRAME * (1 + frames as u64)));
        let zeros = pack(&vec![0; FRAME_SIZE_MAX as usize]);
        foreign(&[first, zeros.repeat(frames)].concat(), &key, false)
    };
    let (written, opened_) = opened(&zeros(3), &key, true);
    assert_eq!(written, opened_.unwrap().snapshot_size);
    let bomb = zeros(30);
    let (written, opened_) = opened(&bomb, &key, true);
    let error = opened_.unwrap_err();
    assert!(error.to_string().contains("names no size"), "{error}");
    assert!(written <= UNPROMISED_SIZE + UNPROMISED_RATIO * bomb.len() as u64, "{written} bytes came out");
}

/// A frame's window costs memory.
#[test]
fn windows_of_archives_of_another_make_are_bounded() {
    let key = key();
    let snapshot = snapshot_for_tests(40, super::noise);
    for (window_log, opens) in [(25, true), (26, false), (31, false)] {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(CParameter::WindowLog(window_log)).unwrap();
        encoder.write_all(&snapshot).unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(u32::from(frame[5] >> 3) + 10, window_log, "the frame needs another window");
        let (_, opened_) = opened(&foreign(&frame, &key, false), &key, false);
        match opened_ {
            Ok(_) => assert!(opens, "{window_log}"),
            Err(error) => {
                assert!(!opens && error.kind() == Kind::StructureDamaged, "{window_log}: {error}");
                assert!(error.to_string().contains("32 MiB at most"), "{error}");
                assert!(error.hint().contains("--long=31"), "{}", error.hint());
            }
        }
    }
}

/// A run-length block is four bytes, whatever its content expands to.
#[test]
fn blocks_are_at_most_128_kib_whatever_they_are_made_of() {
    for (size, good) in [(128 * 1024, true), (128 * 1024 + 1, false), ((1 << 21) - 1, false)] {
        for block_type in [0_u32, 1] {
            let stored = if block_type == 1 { 1 } else { size };
            let block = (1 | block_type << 1 | u32::try_from(size).unwrap() << 3).to_le_bytes();
            // A single segment with a content size of four bytes, and without a checksum.
            let header = [&[0xA0_u8][..], &u32::try_from(size).unwrap().to_le_bytes()].concat();
            let frame = [&header[..], &block[..3], &vec![7; stored]].concat();
            let mut walked = Vec::new();
            let header = crate::archive::frame::walk_frame(&mut &frame[..], &mut walked, |_, _| Ok(()));
            assert_eq!(header.is_ok(), good, "type {block_type}, {size} bytes");
            assert!(walked.starts_with(&ZSTD_MAGIC.to_le_bytes()));
        }
    }
}

/// Each step doubles time and memory.
#[test]
fn the_work_factor_of_a_passphrase_is_bounded() {
    let archive = |work_factor| {
        let mut recipient = age::scrypt::Recipient::new("secret".to_owned().into());
        recipient.set_work_factor(work_factor);
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
        let mut writer = encryptor.unwrap().wrap_output(Vec::new()).unwrap();
        writer.write_all(&snapshot_for_tests(3, super::noise)).unwrap();
        writer.finish().unwrap()
    };
    let identities = Identities::passphrase("secret".to_owned().into(), 10);
    let inspected = |work_factor| inspect(&mut Cursor::new(archive(work_factor)), Some(&identities));
    assert!(inspected(10).is_ok());
    let error = inspected(11).unwrap_err();
    assert!(error.hint().contains("`max_work_factor` 11"), "{error}: {}", error.hint());
}
