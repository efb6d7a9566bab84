//! Stock age and zstd open what we seal, whatever its size: payloads of any bytes, through the batches that a save uses, and
//! whole archives.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::age_vectors::delivered;
use super::{Key, key, noise, pieces, seal_options, seal_with};
use crate::archive::header::{self, SealedHeader};
use crate::archive::manifest::{Source, manifest_for_tests};
use crate::archive::payload::{CHUNK_SIZE, SEALED_CHUNK_SIZE, TAG_SIZE};
use crate::database::snapshot::snapshot_for_tests;
use crate::error::{Kind, Result};
use crate::pipeline::engine::batch::{BATCH_SIZE, Batch, Batcher};
use crate::pipeline::engine::stage::ordered;
use crate::pipeline::seal::SealOptions;
use harness::can;
use harness::program::tools;

/// Plaintext bytes of a batch.
const BATCH: usize = BATCH_SIZE / SEALED_CHUNK_SIZE * CHUNK_SIZE;

/// An age file of `plaintext`, pushed in pieces of `piece` bytes.
fn seal(plaintext: &[u8], piece: usize, jobs: usize, key: &Key) -> Vec<u8> {
    let SealedHeader { bytes: mut file, key } = header::seal(&key.recipients, None).unwrap();
    std::thread::scope(|scope| {
        let (batches, sealed) = ordered(scope, "seal", jobs, || {
            let cipher = key.cipher();
            Ok(move |batch: Batch| batch.seal(&cipher))
        })
        .unwrap();
        scope.spawn(move || {
            let mut cutter = Batcher::new(batches);
            plaintext.chunks(piece).for_each(|piece| cutter.push(piece).unwrap());
            cutter.finish().unwrap();
        });
        let sealed: Result<Vec<_>> = sealed.collect();
        sealed.unwrap().iter().for_each(|batch| file.extend_from_slice(batch));
    });
    file
}

/// The output of a program for `input`.
fn through(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?}: {}", output.status);
    output.stdout
}

fn decrypted(age: &Path, identity: &Path, file: &[u8]) -> Vec<u8> {
    through(Command::new(age).arg("-d").arg("-i").arg(identity), file)
}

/// A key, and its file in a directory of its own.
fn key_and_file() -> (Key, tempfile::TempDir, PathBuf) {
    let (key, directory) = (key(), tempfile::tempdir().unwrap());
    let file = directory.path().join("key.txt");
    std::fs::write(&file, &key.text).unwrap();
    (key, directory, file)
}

#[test]
fn a_payload_of_any_size_opens_with_stock_age() {
    let ages = tools("age");
    let (key, _directory, identity) = key_and_file();
    let around = |size: usize| [size - 1, size, size + 1];
    let boundaries = [CHUNK_SIZE, 2 * CHUNK_SIZE, BATCH, BATCH + CHUNK_SIZE, 2 * BATCH];
    let sizes = [0, 1, 257 * CHUNK_SIZE].into_iter().chain(boundaries.into_iter().flat_map(around));
    for (size, number) in sizes.zip(0..) {
        let plaintext: Vec<u8> = (0..size).map(noise).collect();
        let piece = [1_000_003, CHUNK_SIZE, BATCH, usize::MAX][number % 4];
        let file = seal(&plaintext, piece, 1 + number % 3, &key);
        for age in &ages {
            assert!(decrypted(age, &identity, &file) == plaintext, "{}: {size} bytes", age.display());
        }
    }
}

/// Batches are no part of the format: a payload may be cut or extended at the end of a batch as anywhere else.
#[test]
fn what_is_cut_or_goes_on_at_the_end_of_a_batch_is_noticed() {
    let key = key();
    for size in [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH] {
        let plaintext: Vec<u8> = (0..size).map(noise).collect();
        let file = seal(&plaintext, usize::MAX, 2, &key);
        let (output, result) = delivered(&file, &key.identities, 2);
        assert!(result.is_ok() && output == plaintext, "{size} bytes");
        let surplus = [1, TAG_SIZE - 1, TAG_SIZE, TAG_SIZE + 1, SEALED_CHUNK_SIZE, BATCH_SIZE];
        let longer = surplus.map(|more| [&file[..], &vec![7; more]].concat());
        let shorter = [1, 2, TAG_SIZE, TAG_SIZE + 1, TAG_SIZE + 2, SEALED_CHUNK_SIZE, BATCH_SIZE];
        let shorter = shorter.map(|less| file[..file.len() - less].to_vec());
        for damaged in longer.iter().chain(&shorter) {
            let (output, result) = delivered(damaged, &key.identities, 2);
            let kind = result.map_err(|error| error.kind()).unwrap_err();
            let told = (size, damaged.len(), file.len());
            // A file shorter than a batch may end inside the header.
            assert!(matches!(kind, Kind::PayloadDamaged | Kind::HeaderDamaged), "{told:?}: {kind:?}");
            assert!(plaintext.starts_with(&output), "{told:?}");
        }
    }
}

/// Sizes as near to the ends of frames and chunks as a snapshot can be: with etcd's digest, and copied files without it.
#[test]
fn an_archive_of_a_snapshot_of_any_size_opens_with_stock_age_and_zstd() {
    const PAGE: u64 = 4096;
    const PAGES: u64 = CHUNK_SIZE as u64 / PAGE;
    let ages = tools("age");
    if !can("zstd", &["--version"]) {
        return;
    }
    let (key, _directory, identity) = key_and_file();
    let pages = [2, PAGES - 1, PAGES, PAGES + 1, 2 * PAGES, 16 * PAGES - 1, 16 * PAGES];
    let each_way = pages.into_iter().flat_map(|pages| [(pages, true), (pages, false)]);
    for (pages, digest) in each_way.chain([(257 * PAGES, true)]) {
        let mut snapshot = snapshot_for_tests(pages, noise);
        if !digest {
            snapshot.truncate(usize::try_from(pages * PAGE).unwrap());
        }
        let mut manifest = manifest_for_tests();
        manifest.description.source = Source::File;
        manifest.description.snapshot_size = Some(snapshot.len() as u64);
        let options = SealOptions { allow_missing_digest: true, ..seal_options() };
        let (saved, archive) = seal_with(pieces(&snapshot, 1_000_003), manifest, &options, &key);
        saved.unwrap();
        for age in &ages {
            let stream = decrypted(age, &identity, &archive);
            let opened = through(Command::new("zstd").args(["-d", "-q", "-c"]), &stream);
            assert!(opened == snapshot, "{}: {} bytes", age.display(), snapshot.len());
        }
    }
}
