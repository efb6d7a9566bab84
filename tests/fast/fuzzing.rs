//! The fuzz targets on every machine: each seed as it is, and a fixed number of mutations of it.
//!
//! What is run, and with which inputs, is the same every time, so that a failure can be had again; `scripts/fuzz` looks for
//! new ones with libFuzzer, which takes a while and a C++ compiler. An input that ever failed stays among the seeds.
//! `ETCD_SEAL_FUZZ_ROUNDS` is how many times more mutations are tried than otherwise.

#[expect(unreachable_pub, reason = "tests/fuzz has it as a library")]
#[expect(clippy::duplicate_mod, reason = "and so it brings what it needs of the vectors' maker itself")]
#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use harness::again;

use self::bodies::{TARGETS, Target};

/// Mutations of one target, spread over its seeds.
const MUTATIONS: usize = 1000;
/// A seed that is larger is tried as it is, and not mutated: most of it is noise.
const MUTATED_SIZE_MAX: usize = 20_000;
/// All seeds together.
const SEEDS_SIZE_MAX: usize = 200_000;
/// What all of this may take of memory: scripts/fuzz allows as much.
const MEMORY_MAX_KIB: u64 = 256 * 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Name and content, in the order of the names.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let mut seeds = files(&root().join("fuzz/seeds").join(target.name));
    if target.vectors {
        let archives = files(&root().join("vectors")).into_iter();
        seeds.extend(archives.filter(|(name, _)| Path::new(name).extension() == Some("age".as_ref())));
    }
    seeds
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

/// Runs one input; one that fails is kept where it can be looked at.
fn run(target: &Target, what: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}-failure", target.name));
        std::fs::write(&path, input).unwrap();
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        panic!("{}: {what}: {text}\nthe input is in {}", target.name, path.display());
    }
}

/// `SplitMix64`: the same numbers every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A few changes of the kinds that libFuzzer makes.
    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let length = self.below((input.len() - at).min(64) + 1);
            match self.below(8) {
                0 => drop(input.drain(at..at + length)),
                1 => drop(input.splice(at..at, input[at..at + length].to_vec())),
                2 => input.truncate(at),
                3 => drop(input.splice(at..at, other.iter().copied().skip(at).take(length))),
                4 => input.insert(at, self.byte()),
                5 => {
                    let interesting =
                        [0, 1, 0x7F, 0xFF, 0xFFFF, 0xFFFF_FFFF, 1 << 31, u64::MAX, u64::MAX >> 1];
                    let number = interesting[self.below(interesting.len())].to_le_bytes();
                    input.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
                }
                6 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.byte()),
                _ => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
            }
        }
    }
}

/// Set in the second run of a test, which has a process, and so a peak of memory, of its own.
const ALONE: &str = "ETCD_SEAL_FUZZ_ALONE";

fn fuzz<T: Fn()>(test: T, name: &str) {
    if std::env::var_os(ALONE).is_none() {
        // It may take longer than a program may.
        let output = again::program(test).env(ALONE, "1").command(&[]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let target = target(name);
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for (seed, input) in &seeds {
        run(target, seed, input);
    }
    let rounds = std::env::var("ETCD_SEAL_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let small: Vec<&(String, Vec<u8>)> =
        seeds.iter().filter(|(_, input)| input.len() <= MUTATED_SIZE_MAX).collect();
    let mut chance = Chance(1);
    for number in 0..MUTATIONS * rounds {
        let (seed, input) = small[number % small.len()];
        let (_, other) = small[chance.below(small.len())];
        let mut input = input.clone();
        chance.mutate(&mut input, other);
        run(target, &format!("mutation {number}, of {seed}"), &input);
    }
    let peak = peak_memory_kib();
    assert!(peak < MEMORY_MAX_KIB, "{name}: it took {peak} KiB of memory");
}

fn peak_memory_kib() -> u64 {
    let mut status = String::new();
    std::fs::File::open("/proc/self/status").unwrap().read_to_string(&mut status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn header() {
    fuzz(header, "header");
}

#[test]
fn archive() {
    fuzz(archive, "archive");
}

#[test]
fn frames() {
    fuzz(frames, "frames");
}

#[test]
fn names() {
    fuzz(names, "names");
}

#[test]
fn documents() {
    fuzz(documents, "documents");
}

#[test]
fn read_at() {
    fuzz(read_at, "read_at");
}

#[test]
fn inner() {
    fuzz(inner, "inner");
}

#[test]
fn seeds_are_few_and_belong_to_a_target() {
    let directories = std::fs::read_dir(root().join("fuzz/seeds")).unwrap();
    let mut total = 0;
    for directory in directories.map(|entry| entry.unwrap().path()) {
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        assert!(TARGETS.iter().any(|target| target.name == name), "{name} is no target");
        total += files(&directory).iter().map(|(_, input)| input.len()).sum::<usize>();
    }
    assert!(total <= SEEDS_SIZE_MAX, "{total} bytes of seeds");
}
