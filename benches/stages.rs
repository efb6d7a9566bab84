//! Each stage of the pipeline alone, on one core: `cargo bench --bench stages`.

mod memory;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use etcd_seal::archive::frame::{FramePacker, FrameUnpacker, PackedFrame};
use etcd_seal::archive::payload::{CHUNK_SIZE, ChunkCipher, PayloadKey, Position, SEALED_CHUNK_SIZE};
use etcd_seal::database::snapshot::SnapshotCheck;

const MIB: usize = 1 << 20;
const FRAME_SIZES: [usize; 3] = [MIB, 4 * MIB, 8 * MIB];
/// Chunks that are sealed or opened by one thread at a time.
const BATCH_CHUNKS: usize = 16;

/// Something from the middle of a snapshot.
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
            group.throughput(Throughput::Bytes(frame_size as u64));
            let name = BenchmarkId::new(format!("level {level}"), format!("{} MiB", frame_size / MIB));
            group.bench_function(name, |bencher| bencher.iter(|| packer.pack(black_box(&content))));
        }
    }
}

fn pack_random(criterion: &mut Criterion) {
    let sealed = seal(&cipher(), &content(4 * MIB));
    let (random, mut packer) = (&sealed[..4 * MIB], packer(1, 4 * MIB));
    let mut group = criterion.benchmark_group("frame pack, incompressible");
    group.throughput(Throughput::Bytes(random.len() as u64));
    group.bench_function("level 1/4 MiB", |bencher| bencher.iter(|| packer.pack(black_box(random))));
}

fn unpack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame unpack");
    for frame_size in FRAME_SIZES {
        let bytes = packer(1, frame_size).pack(&content(frame_size)).expect("zstd");
        let frame = PackedFrame { bytes, content_size: u32::try_from(frame_size).expect("a frame size") };
        let mut unpacker = FrameUnpacker::new().expect("zstd");
        group.throughput(Throughput::Bytes(frame_size as u64));
        group.bench_function(format!("{} MiB", frame_size / MIB), |bencher| {
            bencher.iter(|| unpacker.unpack(black_box(&frame)));
        });
    }
}

fn cipher() -> ChunkCipher {
    PayloadKey::derive(&[7; 16], &[9; 16]).cipher()
}

fn seal(cipher: &ChunkCipher, content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(content.len().div_ceil(CHUNK_SIZE) * SEALED_CHUNK_SIZE);
    for (counter, chunk) in (0..).zip(content.chunks(CHUNK_SIZE)) {
        cipher.seal(counter, Position::NotLast, chunk, &mut sealed).expect("a chunk");
    }
    sealed
}

fn chunks(criterion: &mut Criterion) {
    let (content, cipher) = (content(BATCH_CHUNKS * CHUNK_SIZE), cipher());
    let sealed = seal(&cipher, &content);
    let mut group = criterion.benchmark_group("chunks");
    group.throughput(Throughput::Bytes(content.len() as u64));
    group.bench_function("seal", |bencher| bencher.iter(|| seal(&cipher, black_box(&content))));
    group.bench_function("open", |bencher| {
        let copies = || sealed.chunks(SEALED_CHUNK_SIZE).map(<[u8]>::to_vec).collect::<Vec<_>>();
        bencher.iter_batched(copies, |mut copies| open(&cipher, &mut copies), BatchSize::LargeInput);
    });
}

fn open(cipher: &ChunkCipher, chunks: &mut [Vec<u8>]) {
    for (counter, chunk) in (0..).zip(chunks) {
        assert!(cipher.open(counter, Position::NotLast, chunk));
    }
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
}

criterion_group! {
    name = stages;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = pack, pack_random, unpack, chunks, digest
}
criterion_main!(stages);
