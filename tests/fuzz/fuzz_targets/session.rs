#![no_main]
use towline_tests::fuzz::session;
libfuzzer_sys::fuzz_target!(|data: &[u8]| session::body(data));
