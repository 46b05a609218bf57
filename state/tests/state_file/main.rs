//! What the state file promises, a file per behaviour.
#![allow(clippy::unwrap_used, reason = "tests say so by panicking")]

mod damage;
mod jobs;
mod keys;
mod place;
mod schema;
mod sharing;

use tempfile::TempDir;
use towline_state::StateFile;
use towline_state::state_file::{EntryStatus, UploadEntry};

/// A folder and a state file in it that does not exist yet.
fn fresh() -> (TempDir, StateFile) {
    let folder = TempDir::new().unwrap();
    let file = StateFile::at(folder.path().join("state/uploads_state.json"));
    (folder, file)
}

/// Puts a text where the state file is.
fn put(file: &StateFile, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(file.path().parent().unwrap()).unwrap();
    std::fs::write(file.path(), content).unwrap();
}

fn entry(filename: &str) -> UploadEntry {
    UploadEntry::new(
        filename.to_owned().try_into().unwrap(),
        5_242_880.try_into().unwrap(),
        3_932_160.try_into().unwrap(),
        EntryStatus::Paused,
    )
}
