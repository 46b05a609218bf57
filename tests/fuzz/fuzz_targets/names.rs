#![no_main]
use towline_tests::fuzz::names;
libfuzzer_sys::fuzz_target!(|data: &[u8]| names::body(data));
