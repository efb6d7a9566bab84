//! libFuzzer's entrance to `bodies/names.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| etcd_seal_fuzz::names::run(input));
