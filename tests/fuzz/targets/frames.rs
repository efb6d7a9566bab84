//! libFuzzer's entrance to `bodies/frames.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| etcd_seal_fuzz::frames::run(input));
