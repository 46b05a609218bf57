#![no_main]
use towline_tests::fuzz::state_file;
libfuzzer_sys::fuzz_target!(|data: &[u8]| state_file::body(data));
