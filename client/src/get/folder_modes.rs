//! The permission bits that folders get when everything is in them: a folder may be read-only.
//!
//! A folder gets them as soon as the listing has left it and no file is on its way to a place in it
//! or below it. So the folders that are remembered are those that the listing is in, and those
//! around the files that are being fetched, however many folders are listed.

use super::local_folder::LocalFolder;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_types::{Name, PermissionBits};

/// See the module's description.
#[derive(Debug, Clone)]
pub(crate) struct FolderModes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    base: LocalFolder,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The folders that have yet to get their permissions.
    waiting: BTreeMap<Vec<Name>, Waiting>,
    failed: Vec<FailedMode>,
}

#[derive(Debug)]
struct Waiting {
    mode: PermissionBits,
    /// How many [`Filling`]s hold the folder: more than one where two sources of a command fill it.
    holders: usize,
}

/// A folder whose permissions cannot be set, and why.
pub(crate) type FailedMode = (PathBuf, io::Error);

/// A folder into which things come. When the last one of a folder is dropped, everything is there,
/// and the folder gets its permissions.
#[derive(Debug)]
pub(super) struct Filling {
    shared: Arc<Shared>,
    names: Vec<Name>,
    /// It is one of the holders of the folder.
    is_holder: bool,
    /// The folder around it, which gets its permissions later.
    _around: Option<Arc<Self>>,
}

impl FolderModes {
    pub(super) fn below(base: LocalFolder) -> Self {
        Self(Arc::new(Shared { base, state: Mutex::default() }))
    }

    /// Things come into a folder, which lies in the folder `around` and gets these permissions
    /// afterwards, where they are known.
    pub(super) fn fill(
        &self,
        names: Vec<Name>,
        mode: Option<PermissionBits>,
        around: Option<Arc<Filling>>,
    ) -> Arc<Filling> {
        let mut state = self.0.state();
        let is_holder = match (state.waiting.get_mut(&names), mode) {
            (Some(waiting), mode) => {
                waiting.holders += 1;
                waiting.mode = mode.unwrap_or(waiting.mode);
                true
            }
            (None, Some(mode)) => {
                state.waiting.insert(names.clone(), Waiting { mode, holders: 1 });
                true
            }
            // The folder keeps the permissions that it has. The folders around it wait all the
            // same.
            (None, None) => false,
        };
        drop(state);
        Arc::new(Filling { shared: Arc::clone(&self.0), names, is_holder, _around: around })
    }

    /// Whether the folder has yet to get its permissions.
    pub(super) fn waits(&self, names: &[Name]) -> bool {
        self.0.state().waiting.contains_key(names)
    }

    /// The folders whose permissions could not be set since the last call.
    pub(super) fn failed(&self) -> Vec<FailedMode> {
        std::mem::take(&mut self.0.state().failed)
    }

    /// Nothing comes any more: all folders that wait get their permissions, the innermost first.
    /// Blocks. Returns those whose permissions could not be set.
    pub(crate) fn end(&self) -> Vec<FailedMode> {
        let mut state = self.0.state();
        // Each folder comes after the one that it lies in, so the innermost are first in reverse.
        for (names, Waiting { mode, .. }) in std::mem::take(&mut state.waiting).into_iter().rev() {
            state.failed.extend(self.0.set(&names, mode).err());
        }
        std::mem::take(&mut state.failed)
    }
}

impl Filling {
    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if !self.is_holder {
            return;
        }
        let mut state = self.shared.state();
        let Some(waiting) = state.waiting.get_mut(&self.names) else { return };
        waiting.holders -= 1;
        if waiting.holders > 0 {
            return;
        }
        let mode = waiting.mode;
        state.waiting.remove(&self.names);
        // The lock is held: another source may fill the folder anew from here on.
        state.failed.extend(self.shared.set(&self.names, mode).err());
    }
}

impl Shared {
    /// Sets the permissions of a folder. It is opened anew: to keep all folders open would take a
    /// descriptor for each.
    fn set(&self, names: &[Name], mode: PermissionBits) -> Result<(), FailedMode> {
        let folder =
            names.iter().try_fold(self.base.clone(), |folder, name| folder.subfolder(name));
        folder.and_then(|folder| folder.set_mode(mode)).map_err(|error| {
            let base = self.base.path().to_owned();
            (names.iter().fold(base, |path, name| path.join(name.as_str())), error)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn names(path: &str) -> Vec<Name> {
        path.split('/').map(|name| Name::new(name).unwrap()).collect()
    }

    #[test]
    fn a_folder_gets_its_permissions_when_nothing_comes_into_it_or_below_it() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("a/b")).unwrap();
        let mode =
            |path: &str| home.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        let modes = FolderModes::below(LocalFolder::open(home.path()).unwrap());
        let some = |mode| Some(PermissionBits::of_mode(mode));
        let outer = modes.fill(names("a"), some(0o500), None);
        let inner = modes.fill(names("a/b"), some(0o510), Some(Arc::clone(&outer)));
        drop(outer);
        assert!(modes.waits(&names("a")) && mode("a") != 0o500);
        // Another source of the command has the same folder, and says other permissions.
        let again = modes.fill(names("a/b"), some(0o511), None);
        drop(inner);
        assert!(!modes.waits(&names("a")) && modes.waits(&names("a/b")));
        assert_eq!(mode("a"), 0o500);
        drop(again);
        assert_eq!(mode("a/b"), 0o511);
        // At the end none waits any longer, and what is dropped later changes nothing.
        let late = modes.fill(names("a"), some(0o700), None);
        let gone = modes.fill(names("c"), some(0o700), None);
        let failed = modes.end();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].0, home.path().join("c"));
        assert_eq!(mode("a"), 0o700);
        let other = std::fs::Permissions::from_mode(0o750);
        std::fs::set_permissions(home.path().join("a"), other).unwrap();
        drop((late, gone));
        assert_eq!(mode("a"), 0o750);
        assert!(modes.failed().is_empty());
    }
}
