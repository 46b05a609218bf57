//! Folders that were opened a moment ago: of many files that come into one folder
//! together, only the first opens it.

use super::user_folder::UserFolder;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct KeptFolders(Mutex<HashMap<PathBuf, Kept>>);

#[derive(Debug)]
struct Kept {
    folder: UserFolder,
    opened: Instant,
}

/// Whoever moves a folder away moves what comes into it within this time along, as if it
/// had come right before.
const MOMENT: Duration = Duration::from_millis(100);

/// Folders, and descriptors, that are held at most.
const MOST: usize = 64;

impl KeptFolders {
    /// What that path led to a moment ago.
    pub(super) fn get(&self, path: &Path) -> Option<UserFolder> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(path)?;
        if kept.opened.elapsed() > MOMENT {
            all.remove(path);
            return None;
        }
        Some(kept.folder.clone())
    }

    /// That path leads to this folder now.
    pub(super) fn keep(&self, path: PathBuf, folder: &UserFolder) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, kept| kept.opened.elapsed() <= MOMENT);
        if all.len() < MOST {
            all.insert(path, Kept { folder: folder.alone(), opened: Instant::now() });
        }
    }
}
