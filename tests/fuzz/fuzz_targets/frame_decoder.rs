#![no_main]
use towline_tests::fuzz::frame_decoder;
libfuzzer_sys::fuzz_target!(|data: &[u8]| frame_decoder::body(data));
