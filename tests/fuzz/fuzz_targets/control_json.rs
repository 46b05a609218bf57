#![no_main]
use towline_tests::fuzz::control_json;
libfuzzer_sys::fuzz_target!(|data: &[u8]| control_json::body(data));
