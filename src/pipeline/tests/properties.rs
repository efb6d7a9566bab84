//! Saving and opening changes nothing, and reading at an offset is slicing, for any snapshot, frame size, number of jobs and
//! size of pieces.

use std::io::Cursor;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{Key, Pieces, key, noise, open_with, seal_options, seal_with};
use crate::archive::frame::{FRAME_SIZE_MAX, FRAME_SIZE_MIN};
use crate::archive::header::Header;
use crate::archive::manifest::{Source, manifest_for_tests};
use crate::archive::read_at::{ArchiveAt, PayloadAt};
use crate::database::snapshot::{DIGEST_SIZE, snapshot_for_tests};
use crate::pipeline::seal::SealOptions;

/// A snapshot, and how to save it and read it again.
#[derive(Clone, Debug)]
struct Case {
    snapshot: Vec<u8>,
    digest: bool,
    frame_size: u32,
    level: i32,
    jobs: (usize, usize),
    /// Lengths of the pieces of the source, used cyclically.
    pieces: Vec<usize>,
    /// Ranges to read at an offset: two positions each, as parts of the whole.
    ranges: Vec<(prop::sample::Index, prop::sample::Index)>,
}

/// Compressible pages, incompressible ones, and random bytes; with etcd's digest, or a copied file without it.
fn snapshots() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let contents = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::collection::vec(any::<u8>(), 1..5000),
        Just((0..100_000).map(noise).collect::<Vec<u8>>()),
    ];
    (2_u64..90, contents, any::<bool>(), 0_usize..3).prop_map(|(pages, content, digest, blocks)| {
        let mut snapshot = snapshot_for_tests(pages, |at| content[at % content.len()]);
        if !digest {
            let size = snapshot.len() - usize::try_from(DIGEST_SIZE).unwrap();
            snapshot.truncate(size);
            snapshot.resize(size + 512 * blocks, 7);
        }
        (snapshot, digest)
    })
}

prop_compose! {
    fn cases()(
        (snapshot, digest) in snapshots(),
        frame_size in prop_oneof![
            4 => (1..6_u32).prop_map(|units| units * FRAME_SIZE_MIN),
            1 => Just(FRAME_SIZE_MAX),
        ],
        level in prop_oneof![Just(1), Just(3), Just(9)],
        jobs in (1_usize..9, 1_usize..9),
        pieces in prop::collection::vec(prop_oneof![1..100_usize, 1000..200_000_usize], 1..6),
        ranges in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 1..6),
    ) -> Case {
        Case { snapshot, digest, frame_size, level, jobs, pieces, ranges }
    }
}

fn split(snapshot: &[u8], lengths: &[usize]) -> Pieces {
    let mut rest = snapshot;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(rest.len().min(*length));
        pieces.push(piece.to_vec());
        rest = behind;
    }
    Pieces { pieces, broken: false }
}

fn seal(case: &Case, key: &Key) -> Vec<u8> {
    let mut manifest = manifest_for_tests();
    manifest.description.source = Source::Stdin;
    manifest.description.snapshot_size = None;
    let options = SealOptions {
        level: case.level,
        frame_size: case.frame_size,
        jobs: case.jobs.0,
        allow_missing_digest: !case.digest,
        ..seal_options()
    };
    let (saved, archive) = seal_with(split(&case.snapshot, &case.pieces), manifest, &options, key);
    saved.unwrap();
    archive
}

proptest! {
    // Bounds the search for the smallest failing case, which takes far too long byte by byte.
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn there_and_back_changes_nothing_and_reading_at_an_offset_is_slicing(case in cases()) {
        let key = key();
        let archive = seal(&case, &key);
        let (opened, again) = open_with(&archive, &key, case.jobs.1).unwrap();
        prop_assert!(again == case.snapshot, "another snapshot");
        prop_assert_eq!(opened.frames, (again.len() as u64).div_ceil(u64::from(case.frame_size)));
        let database = &again[..again.len() - if case.digest { 32 } else { 0 }];
        prop_assert_eq!(&opened.database_sha256[..], &Sha256::digest(database)[..]);

        let header = Header::parse(&archive).unwrap();
        let payload_key = header.unlock(&key.identities).unwrap();
        let payload = PayloadAt::new(Cursor::new(&archive), &payload_key, header.size()).unwrap();
        let mut at = ArchiveAt::new(payload, header.description()).unwrap();
        for (one, other) in &case.ranges {
            let (one, other) = (one.index(again.len() + 1), other.index(again.len() + 1));
            let range = one.min(other)..one.max(other);
            let mut buffer = vec![0; range.len()];
            at.read_at(range.start as u64, &mut buffer).unwrap();
            prop_assert!(buffer == again[range.clone()], "{:?}", range);
            let beyond = (again.len() - range.len()) as u64 + 1;
            prop_assert!(at.read_at(beyond, &mut buffer).is_err() || range.is_empty());
        }
    }
}
