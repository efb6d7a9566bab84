//! libFuzzer's entrance to `bodies/header.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| etcd_seal_fuzz::header::run(input));
