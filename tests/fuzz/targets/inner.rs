//! libFuzzer's entrance to `bodies/inner.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| etcd_seal_fuzz::inner::run(input));
