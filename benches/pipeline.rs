//! Everything between source and output, from memory to memory: `cargo bench --bench pipeline`.

mod memory;

use std::hint::black_box;
use std::io::Read;
use std::time::{Duration, SystemTime};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use etcd_seal::low_level::pipeline::open;
use etcd_seal::{Identities, Input, Recipients, Seal, Watch, generate_identity};
use secrecy::ExposeSecret;

const SNAPSHOT_SIZE: usize = 128 << 20;
/// etcd sends pieces of this size.
const PIECE_SIZE: usize = 32 * 1024;

/// Hands out a snapshot in the pieces that etcd would send.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer.len().min(PIECE_SIZE);
        self.0.read(&mut buffer[..wanted])
    }
}

fn keys() -> (Recipients, Identities) {
    let (identity, recipient) = generate_identity("2026-01-01T00:00:00Z");
    (
        Recipients::of([recipient]).expect("a recipient"),
        Identities::of(identity.expose_secret()).expect("an identity"),
    )
}

fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn seal(snapshot: &[u8], recipients: &Recipients, level: i32, frame_size: u32) -> Vec<u8> {
    let mut archive = Vec::with_capacity(snapshot.len() / 2);
    Seal::new(recipients, SystemTime::UNIX_EPOCH)
        .level(level)
        .frame_size(frame_size)
        .jobs(jobs())
        .to_writer(Input::reader(Pieces(snapshot)), &mut archive)
        .expect("a snapshot is sealed");
    archive
}

fn unseal(mut archive: &[u8], identities: &Identities, file_digest: bool) -> open::Opened {
    let options = open::Options { jobs: jobs(), allow_missing_digest: false, file_digest };
    open::open(&mut archive, identities, &options, &mut std::io::sink(), &Watch::default())
        .expect("an archive is opened")
}

fn pipeline(criterion: &mut Criterion) {
    let snapshot = memory::snapshot(SNAPSHOT_SIZE);
    let (recipients, identities) = keys();
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Bytes(snapshot.len() as u64));
    for (level, mebibytes) in [(1, 1), (1, 4), (1, 8), (3, 4)] {
        let name = BenchmarkId::new("save", format!("level {level}, frames of {mebibytes} MiB"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| seal(black_box(&snapshot), &recipients, level, mebibytes << 20));
        });
        let archive = seal(&snapshot, &recipients, level, mebibytes << 20);
        let name = BenchmarkId::new("open", format!("level {level}, frames of {mebibytes} MiB"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| unseal(black_box(&archive), &identities, false));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5));
    targets = pipeline
}
criterion_main!(benches);
