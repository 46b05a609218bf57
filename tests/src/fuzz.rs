//! The bodies of the fuzz targets in `tests/fuzz/`. They are in this crate so that an ordinary test
//! can replay their corpora on stable Rust, without libFuzzer.
//!
//! A body accepts any bytes and panics where the code breaks one of its promises.

pub mod control_json;
pub mod frame_decoder;
mod input;
pub mod names;
pub mod session;
pub mod state_file;
pub mod token;

use std::path::{Path, PathBuf};

/// The number of free bytes that a folder needs: more than any body writes.
const ROOM_BYTES: u64 = 2 << 30;

/// A folder in memory where there is one with room: each body waits for its syncs, and memory makes
/// them fast.
fn fast_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |about| about.f_bavail * about.f_frsize);
    if free > ROOM_BYTES { memory.to_owned() } else { std::env::temp_dir() }
}
