#![no_main]
use towline_tests::fuzz::token;
libfuzzer_sys::fuzz_target!(|data: &[u8]| token::body(data));
