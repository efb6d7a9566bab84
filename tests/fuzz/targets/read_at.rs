//! libFuzzer's entrance to `bodies/read_at.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| etcd_seal_fuzz::read_at::run(input));
