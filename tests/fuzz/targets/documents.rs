//! libFuzzer's entrance to `bodies/documents.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| etcd_seal_fuzz::documents::run(input));
