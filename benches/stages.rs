//! Each stage of the pipeline alone, on one core: `cargo bench --bench stages`.

mod memory;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use etcd_seal::low_level::archive::frame::{FramePacker, FrameUnpacker};
use etcd_seal::low_level::archive::payload::{
    CHUNK_SIZE, ChunkCipher, PayloadKey, Position, SEALED_CHUNK_SIZE, TAG_SIZE,
};
use etcd_seal::low_level::database::snapshot::SnapshotCheck;
use etcd_seal::low_level::database::stream_check::StreamCheck;

const MIB: usize = 1 << 20;
const FRAME_SIZES: [usize; 3] = [MIB, 4 * MIB, 8 * MIB];
/// Chunks that are sealed or opened by one thread at a time.
const BATCH_CHUNKS: usize = 16;

/// A piece from the middle of a snapshot.
fn content(size: usize) -> Vec<u8> {
    memory::snapshot(2 * size)[size..2 * size].to_vec()
}

fn packer(level: i32, frame_size: usize) -> FramePacker {
    FramePacker::new(level, u32::try_from(frame_size).expect("a frame size")).expect("zstd")
}

fn pack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame pack");
    for level in [1, 3] {
        for frame_size in FRAME_SIZES {
            let (content, mut packer) = (content(frame_size), packer(level, frame_size));
            let mut frame = Vec::new();
            group.throughput(Throughput::Bytes(frame_size as u64));
            let name = BenchmarkId::new(format!("level {level}"), format!("{} MiB", frame_size / MIB));
            group.bench_function(name, |bencher| {
                bencher.iter(|| packer.pack(black_box(&content), &mut frame));
            });
        }
    }
}

fn pack_random(criterion: &mut Criterion) {
    let mut random = room_for_tags(&content(4 * MIB));
    seal(&cipher(), &mut random);
    random.truncate(4 * MIB);
    let mut group = criterion.benchmark_group("frame pack, incompressible");
    group.throughput(Throughput::Bytes(random.len() as u64));
    for level in [1, 3, 9, 19] {
        let (mut packer, mut frame) = (packer(level, random.len()), Vec::new());
        group.bench_function(format!("level {level}/4 MiB"), |bencher| {
            bencher.iter(|| packer.pack(black_box(&random), &mut frame));
        });
    }
}

fn unpack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame unpack");
    for frame_size in FRAME_SIZES {
        let (mut frame, mut unpacked) = (Vec::new(), Vec::new());
        packer(1, frame_size).pack(&content(frame_size), &mut frame).expect("zstd");
        let content_size = u32::try_from(frame_size).expect("a frame size");
        let mut frames = FrameUnpacker::new().expect("zstd");
        group.throughput(Throughput::Bytes(frame_size as u64));
        group.bench_function(format!("{} MiB", frame_size / MIB), |bencher| {
            bencher.iter(|| frames.unpack(black_box(&frame), content_size, &mut unpacked));
        });
    }
}

fn cipher() -> ChunkCipher {
    PayloadKey::derive(&[7; 16], &[9; 16]).cipher()
}

fn room_for_tags(content: &[u8]) -> Vec<u8> {
    content.chunks(CHUNK_SIZE).flat_map(|chunk| [chunk, &[0; TAG_SIZE]].concat()).collect()
}

fn seal(cipher: &ChunkCipher, chunks: &mut [u8]) {
    for (counter, chunk) in (0..).zip(chunks.chunks_mut(SEALED_CHUNK_SIZE)) {
        cipher.seal(counter, Position::NotLast, chunk).expect("a chunk");
    }
}

fn open(cipher: &ChunkCipher, chunks: &mut [u8]) {
    for (counter, chunk) in (0..).zip(chunks.chunks_mut(SEALED_CHUNK_SIZE)) {
        assert!(cipher.open(counter, Position::NotLast, chunk));
    }
}

fn chunks(criterion: &mut Criterion) {
    let (content, cipher) = (room_for_tags(&content(BATCH_CHUNKS * CHUNK_SIZE)), cipher());
    let mut sealed = content.clone();
    seal(&cipher, &mut sealed);
    let mut group = criterion.benchmark_group("chunks");
    group.throughput(Throughput::Bytes((BATCH_CHUNKS * CHUNK_SIZE) as u64));
    group.bench_function("seal", |bencher| {
        bencher.iter_batched_ref(
            || content.clone(),
            |chunks| seal(&cipher, black_box(chunks)),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("open", |bencher| {
        bencher.iter_batched_ref(
            || sealed.clone(),
            |chunks| open(&cipher, black_box(chunks)),
            BatchSize::LargeInput,
        );
    });
}

fn digest(criterion: &mut Criterion) {
    let snapshot = memory::snapshot(16 * MIB);
    let mut group = criterion.benchmark_group("digest");
    group.throughput(Throughput::Bytes(snapshot.len() as u64));
    group.bench_function("SHA-256 and length of a snapshot", |bencher| {
        bencher.iter(|| {
            let mut check = SnapshotCheck::new(false);
            for piece in black_box(&snapshot).chunks(4 * MIB) {
                check.update(piece)?;
            }
            check.finish()
        });
    });
    group.bench_function("facts of a database", |bencher| {
        bencher.iter(|| {
            let mut check = StreamCheck::default();
            for piece in black_box(&snapshot).chunks(4 * MIB) {
                check.update(piece);
            }
            check.finish()
        });
    });
}

criterion_group! {
    name = stages;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = pack, pack_random, unpack, chunks, digest
}
criterion_main!(stages);
