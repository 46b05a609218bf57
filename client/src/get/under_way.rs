//! The local names that files get which are being fetched now. These names cannot be seen on the
//! disk yet, and two files of one name would write into one staging file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    paths: Mutex<HashSet<PathBuf>>,
    changed: Condvar,
}

/// A name that a file is to get. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Promised {
    path: PathBuf,
    shared: Arc<Shared>,
}

impl UnderWay {
    /// Waits until no file is on its way to that name: what is there then can be seen on the disk.
    /// A file comes to its end whatever happens, so the wait does too.
    pub(super) fn wait_for(&self, path: &Path) {
        let mut paths = self.0.lock();
        while paths.contains(path) {
            paths = self.0.changed.wait(paths).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A file is on its way to that name from now on. Nothing else may be.
    pub(super) fn promise(&self, path: PathBuf) -> Promised {
        self.0.lock().insert(path.clone());
        Promised { path, shared: Arc::clone(&self.0) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        self.shared.lock().remove(&self.path);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_waited_for_until_its_file_has_ended() {
        let (under_way, path) = (UnderWay::default(), Path::new("back/x"));
        let first = under_way.promise(path.to_owned());
        under_way.wait_for(Path::new("back/y"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| under_way.wait_for(path));
            assert!(!waiting.is_finished());
            drop(first);
            waiting.join().unwrap();
        });
        under_way.wait_for(path);
    }
}
