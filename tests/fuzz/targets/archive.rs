//! libFuzzer's entrance to `bodies/archive.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| etcd_seal_fuzz::archive::run(input));
