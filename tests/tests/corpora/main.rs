//! Runs every input again that fuzzing has found and that was kept: see `tests/fuzz/README.md`.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use towline_tests::fuzz;

/// Runs the corpus of a target. The name of an input that fails is printed.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no corpus at {}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        let data = fs::read(&input).expect("the input can be read");
        let passed = catch_unwind(|| body(&data)).is_ok();
        assert!(passed, "{} fails; what it says stands above", input.display());
    }
    for data in [&[][..], &[0], &[0xff; 64]] {
        body(data);
    }
}

#[test]
fn frame_decoder() {
    replay("frame_decoder", fuzz::frame_decoder::body);
}

#[test]
fn control_json() {
    replay("control_json", fuzz::control_json::body);
}

#[test]
fn names() {
    replay("names", fuzz::names::body);
}

#[test]
fn token() {
    replay("token", fuzz::token::body);
}

#[test]
fn state_file() {
    replay("state_file", fuzz::state_file::body);
}

#[test]
fn session() {
    replay("session", fuzz::session::body);
    fuzz::session::stop();
}
