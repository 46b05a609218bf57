//! Which folders of users this process has made durable itself, by their paths.
//!
//! A path says something about a folder only as long as the folder stays there. So each move is
//! counted, and what a thread has found out before a move is not remembered after it.

use super::directory::Directory;
use rustix::fs::Mode;
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many folders are remembered. A path has at most 2 KiB, so this is at most
/// 2 MiB (P6); to forget one costs a sync and nothing else.
pub(super) const REMEMBERED: usize = 1024;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct DurableFolders(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    paths: HashSet<PathBuf>,
    moves: u64,
}

/// How many moves there had been when a path was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moves(u64);

impl Moves {
    /// Whether every path leads where it has always led in this process.
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl DurableFolders {
    /// To be taken before a path is opened.
    pub(super) fn moves(&self) -> Moves {
        Moves(self.known().moves)
    }

    /// Whether the folder with that path is known to be durable.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.known().paths.contains(path)
    }

    /// The folder that was opened by that path, after `since`, is durable. Nothing is remembered
    /// where something was moved meanwhile.
    pub(super) fn remember(&self, path: PathBuf, since: Moves) {
        let mut known = self.known();
        if known.moves != since.0 {
            return;
        }
        if known.paths.len() >= REMEMBERED {
            known.paths.clear();
        }
        known.paths.insert(path);
    }

    /// Makes a folder and forgets any earlier one of its name, as one step: a thread that
    /// finds the new folder must not take it for the old one, which was durable.
    pub(super) fn make(
        &self,
        (above, name): (&Directory, &OsStr),
        path: &Path,
        mode: Mode,
    ) -> Result<(), Errno> {
        let mut known = self.known();
        if above.make_folder(name, mode)? {
            known.paths.remove(path);
        }
        Ok(())
    }

    /// Something is moved to that path or away from it: nothing is known of it and of what lies
    /// below.
    pub(super) fn forget(&self, moved: &Path) {
        let mut known = self.known();
        known.moves += 1;
        known.paths.retain(|path| !path.starts_with(moved));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_before_a_move_is_not_remembered_behind_it() {
        let folders = DurableFolders::default();
        let paths = ["5", "5/a", "5/a/b", "5/ab"].map(PathBuf::from);
        let before = folders.moves();
        assert!(before.is_none());
        paths.iter().for_each(|path| folders.remember(path.clone(), before));
        folders.forget(Path::new("5/a"));
        let known = paths.each_ref().map(|path| folders.contains(path));
        assert_eq!(known, [true, false, false, true]);
        folders.remember(paths[1].clone(), before);
        assert!(!folders.contains(&paths[1]));
        folders.remember(paths[1].clone(), folders.moves());
        assert!(folders.contains(&paths[1]) && !folders.moves().is_none());
    }
}
