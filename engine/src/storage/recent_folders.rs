//! Folders that were opened less than 100 ms ago: of many files that come into one folder
//! together, only the first opens it.

use super::user_folder::UserFolder;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct RecentFolders(Mutex<HashMap<PathBuf, RecentFolder>>);

#[derive(Debug)]
struct RecentFolder {
    folder: UserFolder,
    opened: Instant,
}

/// How long an open folder is used without a look at its path. Another program that moves the
/// folder away moves files that come into it within this time along, as if they had come right
/// before. What this process moves is forgotten at once.
const OPEN_FOR: Duration = Duration::from_millis(100);

/// The most folders, and descriptors, that are held.
const FOLDERS_MAX: usize = 64;

impl RecentFolders {
    /// What that path led to a moment ago.
    pub(super) fn get(&self, path: &Path) -> Option<UserFolder> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(path)?;
        if kept.opened.elapsed() > OPEN_FOR {
            all.remove(path);
            return None;
        }
        Some(kept.folder.clone())
    }

    /// That path leads to this folder now, if `is_so` still says that when no other thread can
    /// [forget](Self::forget) it.
    pub(super) fn keep(&self, path: PathBuf, folder: &UserFolder, is_so: impl FnOnce() -> bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, kept| kept.opened.elapsed() <= OPEN_FOR);
        if all.len() < FOLDERS_MAX && is_so() {
            all.insert(path, RecentFolder { folder: folder.alone(), opened: Instant::now() });
        }
    }

    /// Something is moved to that path or away from it, with all that lies below.
    pub(super) fn forget(&self, moved: &Path) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|path, _| !path.starts_with(moved));
    }
}
