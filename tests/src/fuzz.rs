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

use std::path::{Path, PathBuf};

/// More than any body ever fills.
const ROOM_BYTES: u64 = 2 << 30;

/// A folder in memory where there is one with room: every sync is waited for.
fn fast_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |about| about.f_bavail * about.f_frsize);
    if free > ROOM_BYTES { memory.to_owned() } else { std::env::temp_dir() }
}
