//! Tests save and open against each other; the integration tests read the same archives with stock tools.

mod age_vectors;
mod bounds;
#[cfg(feature = "cli")]
mod damage;
mod properties;
mod sizes;

use std::io::Cursor;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::engine::seal::Sealer;
use super::inspect::{Inside, inspect};
use super::open::{self, Opened, Visible};
use super::seal::{AfterStream, SealOptions, Sealed, SnapshotSource};
use crate::archive::frame::FRAME_SIZE_MIN;
use crate::archive::header::{Header, SealedHeader};
use crate::archive::manifest::{Description, Digest, Manifest, Source, manifest_for_tests};
use crate::archive::payload::{Chunks, PayloadKey, Position, SEALED_CHUNK_SIZE, TAG_SIZE};
use crate::database::snapshot::snapshot_for_tests;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::keys::{Identities, KeyFile, NoPrompt, Recipients, SharedPrompt, generate_identity};
use crate::watch::Watch;

struct Pieces {
    pieces: Vec<Vec<u8>>,
    /// Whether the source fails instead of ending.
    broken: bool,
}

impl SnapshotSource for Pieces {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.pieces.is_empty() {
            return if self.broken { Err(Error::new(Kind::EtcdIncomplete, "cut off")) } else { Ok(None) };
        }
        Ok(Some(self.pieces.remove(0)))
    }

    fn finish(&mut self) -> Result<AfterStream> {
        Ok(AfterStream { status_after: None, stream_open_ms: Some(7) })
    }
}

fn pieces(snapshot: &[u8], size: usize) -> Pieces {
    Pieces { pieces: snapshot.chunks(size).map(<[u8]>::to_vec).collect(), broken: false }
}

/// One identity and its recipient.
struct Key {
    recipients: Recipients,
    identities: Identities,
    /// The identity as a file holds it.
    text: Zeroizing<Vec<u8>>,
}

fn key() -> Key {
    let prompt: SharedPrompt = Arc::new(NoPrompt);
    let (file, recipient) = generate_identity("2026-01-01T00:00:00Z");
    let text = Zeroizing::new(file.expose_secret().as_bytes().to_vec());
    let files = vec![KeyFile { name: "key.txt".to_owned(), text: text.clone() }];
    Key {
        recipients: Recipients::parse(&[recipient], &[], &prompt).unwrap(),
        identities: Identities::parse(files, &prompt, 20).unwrap(),
        text,
    }
}

/// As [`manifest_for_tests`] says.
fn seal_options() -> SealOptions {
    let Description { level, frame_size, .. } = manifest_for_tests().description;
    SealOptions { level, frame_size, jobs: 3, describe: true, allow_missing_digest: false }
}

fn sealer<'a>(recipients: &'a Recipients, options: &'a SealOptions, watch: &'a Watch) -> Sealer<'a> {
    Sealer { recipients, options, watch }
}

fn seal_with(
    source: impl SnapshotSource,
    manifest: Manifest,
    options: &SealOptions,
    key: &Key,
) -> (Result<Sealed>, Vec<u8>) {
    let mut archive = Vec::new();
    let saved = sealer(&key.recipients, options, &Watch::silent(&Interrupt::new())).seal(
        source,
        manifest,
        &mut archive,
    );
    (saved, archive)
}

fn seal(snapshot: &[u8], key: &Key) -> Vec<u8> {
    let (saved, archive) = seal_with(pieces(snapshot, 32_768), manifest_for_tests(), &seal_options(), key);
    saved.unwrap();
    archive
}

fn open(archive: &[u8], key: &Key) -> Result<(Opened, Vec<u8>)> {
    open_with(archive, key, 3)
}

fn open_with(mut archive: &[u8], key: &Key, jobs: usize) -> Result<(Opened, Vec<u8>)> {
    let options = open::Options { jobs, allow_missing_digest: false, file_digest: true };
    let mut snapshot = Vec::new();
    let opened = open::open(
        &mut archive,
        &key.identities,
        &options,
        &mut snapshot,
        &Watch::silent(&Interrupt::new()),
    )?;
    Ok((opened, snapshot))
}

fn look(mut archive: &[u8]) -> Result<Visible> {
    open::look(&mut archive, &Watch::silent(&Interrupt::new()))
}

#[test]
fn what_no_reader_would_open_is_not_written() {
    let prompt: SharedPrompt = Arc::new(NoPrompt);
    let sealed_to = |count: usize| {
        let names: Vec<String> = (0..count).map(|_| generate_identity("").1).collect();
        let recipients = Recipients::parse(&names, &[], &prompt).unwrap();
        let mut archive = Vec::new();
        let source = pieces(&snapshot_for_tests(2, noise), 4096);
        let manifest = manifest_for_tests();
        let (options, interrupt) = (seal_options(), Interrupt::new());
        let saved =
            sealer(&recipients, &options, &Watch::silent(&interrupt)).seal(source, manifest, &mut archive);
        saved.map(|_| archive)
    };
    assert!(look(&sealed_to(250).unwrap()).is_ok());
    assert_eq!(sealed_to(256).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn a_failed_output_stops_a_source_that_waits() {
    struct Waiting(Interrupt, Vec<Vec<u8>>);
    impl SnapshotSource for Waiting {
        fn next(&mut self) -> Result<Option<Vec<u8>>> {
            match self.1.pop() {
                Some(piece) => Ok(Some(piece)),
                None => loop {
                    self.0.check()?;
                    std::thread::yield_now();
                },
            }
        }
    }
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let key = key();
    let interrupt = Interrupt::new();
    let source = Waiting(interrupt.clone(), vec![snapshot_for_tests(30, noise)[..100_000].to_vec()]);
    let saved = sealer(&key.recipients, &seal_options(), &Watch::silent(&interrupt)).seal(
        source,
        manifest_for_tests(),
        &mut Full,
    );
    assert_eq!(saved.unwrap_err().kind(), Kind::NoSpace);
    interrupt.check().unwrap();
}

/// Bytes so incompressible that an archive of them has several chunks.
fn noise(at: usize) -> u8 {
    let mut x = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 29;
    (x.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as u8
}

#[test]
fn what_is_sealed_is_opened_again() {
    let key = key();
    for pages in [2, 3, 16, 17, 70, 600] {
        let snapshot = snapshot_for_tests(pages, noise);
        let archive = seal(&snapshot, &key);
        let (opened, again) = open(&archive, &key).unwrap();
        assert_eq!(again, snapshot);
        assert_eq!(opened.digest, Digest::Verified);
        assert_eq!(opened.frames, (snapshot.len() as u64).div_ceil(u64::from(FRAME_SIZE_MIN)));
        assert_eq!(opened.visible.archive_size, archive.len() as u64);
        assert_eq!(opened.trailer.unwrap().stream_open_ms, Some(7));
        assert_eq!(opened.manifest.unwrap().description.snapshot_size, Some(snapshot.len() as u64));
    }
}

#[test]
fn the_pieces_a_snapshot_arrives_in_do_not_matter() {
    let key = key();
    let snapshot = snapshot_for_tests(40, noise);
    for size in [1000, 4096, 32_768, 65_536, 65_537, usize::MAX] {
        let (saved, archive) =
            seal_with(pieces(&snapshot, size), manifest_for_tests(), &seal_options(), &key);
        let saved = saved.unwrap();
        assert_eq!(saved.archive_size, archive.len() as u64);
        let (opened, again) = open(&archive, &key).unwrap();
        assert_eq!(again, snapshot);
        assert_eq!(opened.visible.archive_sha256, Some(saved.archive_sha256));
    }
}

#[test]
fn all_readers_see_the_description_and_only_the_key_shows_the_rest() {
    let key = key();
    let archive = seal(&snapshot_for_tests(20, noise), &key);
    let seen = look(&archive).unwrap();
    assert_eq!(seen.stanzas, ["X25519"]);
    assert_eq!(seen.description.as_ref().unwrap().cluster_name.as_deref(), Some("prod"));
    assert_eq!(seen.archive_size, archive.len() as u64);
    let inspected = inspect(&mut Cursor::new(&archive), None).unwrap();
    assert!(inspected.inside.is_none());
    assert_eq!(inspected.visible.description, seen.description);
    let inspected = inspect(&mut Cursor::new(&archive), Some(&key.identities)).unwrap();
    let Some(Inside::Ours { manifest, trailer, frames }) = inspected.inside else { panic!("not ours") };
    let (opened, _) = open(&archive, &key).unwrap();
    assert_eq!((Some(*manifest), Some(*trailer), frames), (opened.manifest, opened.trailer, opened.frames));
}

#[test]
fn without_a_description_it_still_opens() {
    let key = key();
    let snapshot = snapshot_for_tests(20, noise);
    let options = SealOptions { describe: false, ..seal_options() };
    let (saved, archive) = seal_with(pieces(&snapshot, 5000), manifest_for_tests(), &options, &key);
    saved.unwrap();
    assert_eq!(look(&archive).unwrap().description, None);
    assert_eq!(open(&archive, &key).unwrap().1, snapshot);
}

#[test]
fn a_bad_snapshot_leaves_nothing_that_opens() {
    let key = key();
    let good = snapshot_for_tests(40, noise);
    let mut flipped = good.clone();
    flipped[100_000] ^= 1;
    let mut long = good.clone();
    long.extend([0; 512]);
    let broken = Pieces { broken: true, ..pieces(&good, 4096) };
    for (source, kind) in [
        (pieces(&flipped, 4096), Kind::EtcdBadSnapshot),
        (pieces(&good[..good.len() - 1], 4096), Kind::EtcdBadSnapshot),
        (pieces(&good[..good.len() - 32], 4096), Kind::EtcdBadSnapshot),
        (pieces(&long, 4096), Kind::EtcdBadSnapshot),
        (pieces(&[], 1), Kind::EtcdBadSnapshot),
        (pieces(b"hello", 1), Kind::EtcdBadSnapshot),
        (broken, Kind::EtcdIncomplete),
    ] {
        let (saved, archive) = seal_with(source, manifest_for_tests(), &seal_options(), &key);
        assert_eq!(saved.unwrap_err().kind(), kind);
        assert!(open(&archive, &key).is_err());
    }
}

#[test]
fn a_file_is_blamed_for_itself_and_may_lack_the_digest_where_allowed() {
    let key = key();
    let mut manifest = manifest_for_tests();
    manifest.description.source = Source::Stdin;
    let snapshot = snapshot_for_tests(20, noise);
    let bare = &snapshot[..snapshot.len() - 32];
    let (saved, _) = seal_with(pieces(bare, 4096), manifest.clone(), &seal_options(), &key);
    assert_eq!(saved.unwrap_err().kind(), Kind::DigestAbsent);
    let options = SealOptions { allow_missing_digest: true, ..seal_options() };
    let (saved, archive) = seal_with(pieces(bare, 4096), manifest, &options, &key);
    assert_eq!(saved.unwrap().trailer.digest, Digest::Absent);
    let (opened, again) = open(&archive, &key).unwrap();
    assert_eq!((opened.digest, &again[..]), (Digest::Absent, bare));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let key = key();
    let mut manifest = manifest_for_tests();
    manifest.description.source = Source::File;
    let snapshot = snapshot_for_tests(20, noise);
    manifest.description.snapshot_size = Some(snapshot.len() as u64);
    let (saved, _) =
        seal_with(pieces(&snapshot[..snapshot.len() - 4096], 4096), manifest, &seal_options(), &key);
    assert_eq!(saved.unwrap_err().kind(), Kind::SnapshotLength);
}

#[test]
fn an_output_that_fails_ends_the_save() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let key = key();
    let snapshot = snapshot_for_tests(1000, noise);
    for room in [0, 1000, 1_500_000] {
        let saved = sealer(&key.recipients, &seal_options(), &Watch::silent(&Interrupt::new())).seal(
            pieces(&snapshot, 32_768),
            manifest_for_tests(),
            &mut Full(room),
        );
        assert_eq!(saved.unwrap_err().kind(), Kind::NoSpace);
    }
}

#[test]
fn a_stop_ends_both_ways() {
    let key = key();
    let snapshot = snapshot_for_tests(100, noise);
    let archive = seal(&snapshot, &key);
    let interrupt = Interrupt::new();
    assert!(interrupt.raise());
    let mut sink = std::io::sink();
    let saved = sealer(&key.recipients, &seal_options(), &Watch::silent(&interrupt)).seal(
        pieces(&snapshot, 4096),
        manifest_for_tests(),
        &mut sink,
    );
    assert_eq!(saved.unwrap_err().kind(), Kind::Interrupted);
    let options = open::Options { jobs: 1, allow_missing_digest: false, file_digest: false };
    let opened =
        open::open(&mut &archive[..], &key.identities, &options, &mut sink, &Watch::silent(&interrupt));
    assert_eq!(opened.unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(
        open::look(&mut &archive[..], &Watch::silent(&interrupt)).unwrap_err().kind(),
        Kind::Interrupted
    );
}

#[test]
fn a_cut_is_noticed_without_key_where_no_chunk_can_end_and_called_one_where_one_can() {
    let key = key();
    let archive = seal(&snapshot_for_tests(60, noise), &key);
    let header = Header::parse(&archive).unwrap().size() as usize;
    let cuts = (0..header + 50).chain((header + 50..archive.len()).step_by(4001));
    let chunk_ends = (1..3).map(|number| header + number * SEALED_CHUNK_SIZE);
    for length in cuts.chain(chunk_ends.clone()) {
        let possible = length.checked_sub(header).and_then(|size| Chunks::of_payload(size as u64));
        // age allows an empty payload, which holds no snapshot.
        let possible = possible.is_some_and(|chunks| chunks.plaintext > 0);
        assert_eq!(look(&archive[..length]).is_ok(), possible, "cut to {length}");
    }
    for length in chunk_ends {
        let error = open(&archive[..length], &key).unwrap_err();
        assert!(error.to_string().contains("is cut"), "{error}");
    }
}

/// The specification requires a last line of less than 64 characters in a stanza, even an empty one.
#[test]
fn a_stanza_without_its_last_line_is_malformed() {
    let archive = seal(&snapshot_for_tests(3, noise), &key());
    let mac = archive.windows(4).position(|window| window == b"\n---").unwrap() + 1;
    let with = |stanza: String| [&archive[..mac], stanza.as_bytes(), &archive[mac..]].concat();
    let full = "A".repeat(64);
    for (stanza, good) in [
        ("-> a\n\n".to_owned(), true),
        (format!("-> a\n{full}\n\n"), true),
        (format!("-> a\n{full}\nAAAA\n-> b\n\n"), true),
        ("-> a\n".to_owned(), false),
        (format!("-> a\n{full}\n"), false),
        ("-> a\n-> b\n\n".to_owned(), false),
        (format!("-> a\n{full}\n-> b\n\n"), false),
    ] {
        let parsed = Header::parse(&with(stanza.clone()));
        assert_eq!(
            parsed.map(drop).map_err(|error| error.kind()).err(),
            (!good).then_some(Kind::HeaderDamaged),
            "{stanza}"
        );
    }
}

#[test]
fn a_malformed_header_of_version_1_is_not_called_one_of_another() {
    let archive = seal(&snapshot_for_tests(3, noise), &key());
    let mut changed = archive.clone();
    let arrow = archive.windows(3).position(|window| window == b"-> ").unwrap();
    changed[arrow] = b'+';
    assert_eq!(look(&changed).unwrap_err().kind(), Kind::HeaderDamaged);
    let mut changed = archive;
    changed[b"age-encryption.org/v".len()] = b'2';
    assert_eq!(look(&changed).unwrap_err().kind(), Kind::NotAnArchive);
}

#[test]
fn armour_may_stand_behind_empty_lines_and_nothing_else() {
    let key = key();
    let snapshot = snapshot_for_tests(90, noise);
    let armored = foreign(&snapshot, &key, true);
    for (before, good) in
        [(&b""[..], true), (b"\n", true), (b" \t\r\n\n", true), (b" ", false), (b"x\n", false)]
    {
        let archive = [before, &armored].concat();
        let opened = open(&archive, &key).map(|(_, again)| assert!(again == snapshot));
        let inspected = inspect(&mut Cursor::new(&archive), Some(&key.identities)).map(drop);
        for result in [opened, inspected] {
            assert_eq!(result.err().map(|error| error.kind()), (!good).then_some(Kind::NotAnArchive));
        }
    }
}

#[test]
fn other_files_are_not_archives() {
    let key = key();
    for bytes in [&b""[..], b"hello, world", &snapshot_for_tests(3, noise), &[0x28, 0xB5, 0x2F, 0xFD, 0]] {
        assert_eq!(open(bytes, &key).unwrap_err().kind(), Kind::NotAnArchive);
        assert_eq!(look(bytes).unwrap_err().kind(), Kind::NotAnArchive);
    }
}

#[test]
fn the_payload_is_the_same_whatever_the_jobs_and_the_pieces() {
    let (key, snapshot) = (key(), snapshot_for_tests(160, noise));
    let seal = |jobs, piece_size| {
        let options = SealOptions { jobs, frame_size: FRAME_SIZE_MIN, ..seal_options() };
        // A test is the only place that may use a key and nonce twice.
        let header = SealedHeader { bytes: b"header".to_vec(), key: PayloadKey::derive(&[7; 16], &[9; 16]) };
        let mut archive = Vec::new();
        let mut manifest = manifest_for_tests();
        manifest.description.snapshot_size = None;
        sealer(&key.recipients, &options, &Watch::default())
            .seal_under(header, pieces(&snapshot, piece_size), manifest, &mut archive)
            .unwrap();
        archive
    };
    let archive = seal(1, 32 * 1024);
    assert!(archive.len() > 5 * SEALED_CHUNK_SIZE, "{}", archive.len());
    let sealed = [(2, 32 * 1024), (3, FRAME_SIZE_MIN as usize), (8, 100_001), (32, usize::MAX)];
    for (jobs, piece_size) in sealed {
        assert!(seal(jobs, piece_size) == archive, "{jobs} jobs, pieces of {piece_size} bytes");
    }
}

/// Re-seals a changed plaintext under the same key: the forgery that an owner of the file key could make.
fn forge(archive: &[u8], key: &Key, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let header = Header::parse(archive).unwrap();
    let cipher = header.unlock(&key.identities).unwrap().cipher();
    let (head, payload) = archive.split_at(header.size() as usize);
    let mut plaintext = Vec::new();
    let count = payload.len().div_ceil(SEALED_CHUNK_SIZE);
    for (number, chunk) in payload.chunks(SEALED_CHUNK_SIZE).enumerate() {
        let mut chunk = chunk.to_vec();
        let position = if number + 1 == count { Position::Last } else { Position::NotLast };
        assert!(cipher.open(number as u64, position, &mut chunk));
        plaintext.extend(&chunk[..chunk.len() - TAG_SIZE]);
    }
    change(&mut plaintext);
    let mut forged = head.to_vec();
    let count = plaintext.len().div_ceil(65_536);
    for (number, chunk) in plaintext.chunks(65_536).enumerate() {
        let position = if number + 1 == count { Position::Last } else { Position::NotLast };
        let mut chunk = [chunk, &[0; TAG_SIZE]].concat();
        cipher.seal(number as u64, position, &mut chunk).unwrap();
        forged.extend(chunk);
    }
    forged
}

#[test]
fn a_manifest_of_another_version_than_the_description_is_damage_even_under_the_right_key() {
    let key = key();
    let archive = seal(&snapshot_for_tests(40, noise), &key);
    assert!(open(&forge(&archive, &key, |_| ()), &key).is_ok());
    let version = b"\"format_version\":1";
    let forged = forge(&archive, &key, |text| {
        let at = text.windows(version.len()).position(|window| window == version).unwrap();
        text[at + version.len() - 1] = b'2';
    });
    assert_eq!(open(&forged, &key).unwrap_err().kind(), Kind::StructureDamaged);
}

/// An age file that any other tool could write.
fn foreign(content: &[u8], key: &Key, armored: bool) -> Vec<u8> {
    use age::armor::{ArmoredWriter, Format};
    use std::io::Write;
    let format = if armored { Format::AsciiArmor } else { Format::Binary };
    let encryptor = age::Encryptor::with_recipients(key.recipients.iter()).unwrap();
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), format).unwrap()).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap().finish().unwrap()
}

#[test]
fn what_others_make_opens_too() {
    let key = key();
    let snapshot = snapshot_for_tests(90, noise);
    let zstd = zstd::encode_all(&snapshot[..], 3).unwrap();
    let two_frames = [
        zstd::encode_all(&snapshot[..70_000], 1).unwrap(),
        zstd::encode_all(&snapshot[70_000..], 1).unwrap(),
    ]
    .concat();
    // pzstd puts a skippable frame with the size of the next frame before each frame.
    let pzstd = [&[0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 9, 9, 9, 9], &zstd[..]].concat();
    for (content, compressed) in [(&snapshot, false), (&zstd, true), (&two_frames, true), (&pzstd, true)] {
        for armored in [false, true] {
            let archive = foreign(content, &key, armored);
            let (opened, again) = open(&archive, &key).unwrap();
            assert_eq!(again, snapshot);
            assert_eq!(opened.foreign, Some(open::Foreign { armored, zstd: compressed }));
            assert_eq!(opened.digest, Digest::Verified);
            assert!(look(&archive).is_ok());
            let inspected = inspect(&mut Cursor::new(&archive), Some(&key.identities)).unwrap();
            let Some(Inside::Foreign(foreign)) = inspected.inside else { panic!("{inspected:?}") };
            assert_eq!(Some(foreign), opened.foreign);
            assert_eq!(inspected.visible.archive_size, opened.visible.archive_size);
        }
    }
}

#[test]
fn damage_in_what_others_make_is_noticed() {
    let key = key();
    let snapshot = snapshot_for_tests(90, noise);
    let zstd = zstd::encode_all(&snapshot[..], 3).unwrap();
    let mut wrong = zstd.clone();
    wrong[50_000] ^= 1;
    for (content, kind) in [
        (&snapshot[..snapshot.len() - 32], Kind::DigestAbsent),
        (&snapshot[..snapshot.len() - 33], Kind::SnapshotLength),
        (&zstd[..zstd.len() - 1], Kind::StructureDamaged),
        (&zstd[..2], Kind::NotASnapshot),
        (&[&zstd[..], b"tail"].concat(), Kind::StructureDamaged),
        (b"a letter to a friend", Kind::NotASnapshot),
        (b"", Kind::NotASnapshot),
    ] {
        let error = open(&foreign(content, &key, false), &key).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert!(open(&foreign(&wrong, &key, false), &key).is_err());
    let mut armored = foreign(&zstd, &key, true);
    let middle = armored.len() / 2;
    armored[middle] = b'!';
    for damaged in
        [&armored[..], &armored[..middle - 1], &armored[..middle / 65 * 65], &armored[..armored.len() - 9]]
    {
        assert_eq!(open(damaged, &key).unwrap_err().kind(), Kind::PayloadDamaged);
        assert_eq!(look(damaged).unwrap_err().kind(), Kind::PayloadDamaged);
        for identities in [None, Some(&key.identities)] {
            let error = inspect(&mut Cursor::new(damaged), identities).unwrap_err();
            assert_eq!(error.kind(), Kind::PayloadDamaged, "{error}");
        }
    }
}

#[test]
fn ours_without_its_manifest_or_in_armour_does_not_pass_as_foreign() {
    let key = key();
    let snapshot = snapshot_for_tests(20, noise);
    let options = SealOptions { describe: false, ..seal_options() };
    let (saved, archive) = seal_with(pieces(&snapshot, 5000), manifest_for_tests(), &options, &key);
    saved.unwrap();
    let mut inside = Vec::new();
    forge(&archive, &key, |text| inside.clone_from(text));
    let manifest = 8 + u32::from_le_bytes(inside[4..8].try_into().unwrap()) as usize;
    for (content, armored) in [(&inside[manifest..], false), (&inside[manifest..], true), (&inside[..], true)]
    {
        let archive = foreign(content, &key, armored);
        let error = open(&archive, &key).unwrap_err();
        assert_eq!(error.kind(), Kind::StructureDamaged, "{error}");
        let error = inspect(&mut Cursor::new(&archive), Some(&key.identities)).unwrap_err();
        assert_eq!(error.kind(), Kind::StructureDamaged, "{error}");
    }
}
