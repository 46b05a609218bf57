//! The bodies of the fuzz targets in `tests/fuzz/`: here, because an ordinary test
//! replays their corpora on stable Rust, without libFuzzer.
//!
//! A body takes any bytes and panics where the code breaks one of its promises.

pub mod control_json;
pub mod frame_decoder;
mod input;
pub mod names;
pub mod session;
pub mod state_file;
pub mod token;

use std::path::PathBuf;

/// A folder in memory where there is one: every sync is waited for.
fn fast_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}
