//! The folders of users: made as files need them, and made durable once.
//!
//! A folder's name is durable when the folder *above* it was synced. Whether that
//! has happened cannot be told from the disk: a run that was killed, or another
//! publish at this very moment, may have made a folder and not synced it yet. So
//! this process remembers which folders it has made durable itself, and syncs above
//! all others, whichever process made them (P3).

use super::directory::{Directory, is_plain_file, mount, stamp};
use super::group_sync::GroupSync;
use super::latch::Latch;
use super::recent_folders::RecentFolders;
use super::user_folder::{Parents, UnsyncedParent, UserFolder};
use super::{StorageError, paths};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentPath, FileSize, UserId};

/// How many folders are remembered. A path has at most 2 KiB, so this is at most
/// 2 MiB (P6); to forget one costs a sync and nothing else.
const REMEMBERED: usize = 1024;

/// Readable to the service's group, like the files in it.
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);

/// What to do where a folder is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Refuse,
}

/// All users' folders.
#[derive(Debug)]
pub(super) struct UserFolders {
    uploads: Arc<Directory>,
    /// The file system that they are on, unless another one is mounted there.
    device: Option<u64>,
    /// Whether those others are still to be believed.
    others: Mutex<HashMap<u64, Arc<Latch>>>,
    durable: Mutex<HashSet<PathBuf>>,
    /// Of folders that were synced lately, by device and inode.
    groups: Mutex<HashMap<(u64, u64), Arc<GroupSync>>>,
    recent: RecentFolders,
    /// The mount that they are on.
    mount: Option<u64>,
    /// Where disks are mounted, as far as a document there has told; seen from `uploads`.
    mount_points: Mutex<BTreeSet<PathBuf>>,
}

impl UserFolders {
    /// Whether the folder of all users' folders was removed.
    pub(super) fn were_removed(&self) -> bool {
        self.uploads.was_removed()
    }

    pub(super) fn new(uploads: Arc<Directory>) -> Self {
        Self {
            device: rustix::fs::fstat(&*uploads).ok().map(|stat| stat.st_dev),
            mount: mount(&*uploads).ok(),
            others: Mutex::default(),
            uploads,
            durable: Mutex::default(),
            groups: Mutex::default(),
            recent: RecentFolders::default(),
            mount_points: Mutex::default(),
        }
    }

    /// Opens the folder of a final file.
    pub(super) fn open(
        &self,
        user: UserId,
        path: &DocumentPath,
        missing: Missing,
    ) -> Result<UserFolder, Errno> {
        let folder = paths::final_folder(user, path);
        if missing == Missing::Make {
            self.refuse_if_unmounted(&folder)?;
        }
        if !self.remembered().contains(&folder) {
            return self.walk(&folder, missing);
        }
        match self.uploads.folder(&folder) {
            // Asked again: it may have been made anew in between, and is not durable then.
            Ok(directory) if self.remembered().contains(&folder) => {
                self.held(Arc::new(directory), &folder, Vec::new())
            }
            Err(errno) if errno != Errno::NOENT => Err(errno),
            _ => self.walk(&folder, missing),
        }
    }

    /// Does something in the folder of a final file, which is made where it is missing.
    /// Where many are published at once it is opened once.
    ///
    /// # Errors
    /// Why it could not be opened. What comes of the work is the answer.
    pub(super) fn within(
        &self,
        user: UserId,
        path: &DocumentPath,
        work: impl Fn(&Directory) -> Result<(), Errno>,
    ) -> Result<(UserFolder, Result<(), Errno>), Errno> {
        let place = paths::final_folder(user, path);
        if let Some(kept) = self.recent.get(&place).filter(|_| !self.has_mount_point_on(&place)) {
            match work(&kept.directory) {
                // It may have been removed meanwhile.
                Err(Errno::NOENT) => {}
                done => return Ok((kept, done)),
            }
        }
        let folder = self.open(user, path, Missing::Make)?;
        self.recent.keep(place, &folder);
        let done = work(&folder.directory);
        Ok((folder, done))
    }

    /// Opens a final file for reading, and says how long it is and what it is known by; `None`
    /// where there is none.
    pub(super) fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<(File, FileSize, FileStamp)>, StorageError> {
        const WHAT: &str = "open the published file";
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.uploads.file(paths::final_file(user, path), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NXIO) => return Err(StorageError::in_the_way(WHAT)),
            Err(errno) => return Err(StorageError::opening(WHAT, errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| StorageError::new(WHAT, errno))?;
        if !is_plain_file(&stat) {
            return Err(StorageError::in_the_way(WHAT));
        }
        let filesize = FileSize::from_i64(stat.st_size)
            .map_err(|_| StorageError::new(WHAT, Errno::OVERFLOW))?;
        let mut stamp = stamp(&stat);
        let looking = |errno| StorageError::new("look at the folders of the file", errno);
        if Some(mount(&file).map_err(looking)?) != self.mount {
            stamp.mount_depth = self.mount_depth(user, path).map_err(looking)?;
            if let Some(depth) = stamp.mount_depth {
                self.note_mount_point(user, path, depth);
            }
        }
        Ok(Some((File::from(file), filesize, stamp)))
    }

    /// Where the innermost disk is mounted on the way to a file: how many of its document's
    /// folders lead to the mount point. Nothing where there is none, as far as the folders
    /// are there.
    fn mount_depth(&self, user: UserId, path: &DocumentPath) -> Result<Option<u16>, Errno> {
        let (mut above, mut on) = (None::<Directory>, self.mount);
        let mut found = None;
        for (depth, name) in (0..).zip(&paths::final_folder(user, path)) {
            let next = match above.as_ref().unwrap_or(&self.uploads).folder(name) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => break,
                next => next?,
            };
            let mount = Some(mount(&next)?);
            if mount != on {
                (found, on) = (Some(depth), mount);
            }
            above = Some(next);
        }
        Ok(found)
    }

    /// Whether a file that is not there may be on a disk that is not mounted, or below one
    /// that is mounted over it. `known` is what the file was known by when it was last there.
    ///
    /// A file whose folders are on the same mounts as then was removed, also where its folder
    /// is empty or missing: only the user's own folder must be there. Of a file of which
    /// nothing is known that is said only where its nearest folder is on the usual file
    /// system and holds something, for a mount point without its disk is empty.
    pub(super) fn may_be_unmounted(
        &self,
        user: UserId,
        path: &DocumentPath,
        known: Option<FileStamp>,
    ) -> Result<bool, StorageError> {
        let io = |errno| StorageError::opening("look at the folders of the file", errno);
        match self.uploads.folder(paths::user_folder(user)) {
            Ok(_) => {}
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(true),
            Err(errno) => return Err(io(errno)),
        }
        let depth = self.mount_depth(user, path).map_err(io)?;
        if let Some(known) = known {
            return Ok(depth != known.mount_depth);
        }
        let folder = paths::final_folder(user, path);
        Ok(depth.is_some() || self.is_nearest_empty(&folder).map_err(io)?)
    }

    /// Whether nothing lies in that folder, or in the nearest above it that is there.
    fn is_nearest_empty(&self, folder: &Path) -> Result<bool, Errno> {
        for path in folder.ancestors().take_while(|path| *path != Path::new("")) {
            match self.uploads.folder(path) {
                Err(Errno::NOENT) => {}
                nearest => return Ok(nearest?.entries()?.next().is_none()),
            }
        }
        Ok(true)
    }

    /// From now on nothing is written to that folder where it is empty and no disk is
    /// mounted there.
    pub(super) fn note_mount_point(&self, user: UserId, path: &DocumentPath, depth: u16) {
        let folder = paths::final_folder(user, path);
        let point = folder.iter().take(1 + usize::from(depth)).collect();
        self.mount_points.lock().unwrap_or_else(PoisonError::into_inner).insert(point);
    }

    fn has_mount_point_on(&self, folder: &Path) -> bool {
        let points = self.mount_points.lock().unwrap_or_else(PoisonError::into_inner);
        !points.is_empty() && folder.ancestors().any(|above| points.contains(above))
    }

    /// Refuses a folder on whose way a mount point lacks its disk: it is missing, or is empty
    /// and on the same mount as the folder above. A file there would be hidden as soon as the
    /// disk is mounted (P3), and the documents on the disk would seem to be removed. Where
    /// something lies there, the operator has moved the documents off their disk.
    fn refuse_if_unmounted(&self, folder: &Path) -> Result<(), Errno> {
        if !self.has_mount_point_on(folder) {
            return Ok(());
        }
        let points = self.mount_points.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let above = folder.ancestors().filter(|above| points.contains(*above));
        for point in above {
            let is_mounted_or_used = match self.uploads.folder(point) {
                Err(Errno::NOENT) => false,
                held => {
                    let held = held?;
                    let parent = point.parent().filter(|parent| *parent != Path::new(""));
                    let outside = match parent {
                        Some(parent) => mount(self.uploads.folder(parent)?)?,
                        None => mount(&*self.uploads)?,
                    };
                    mount(&held)? != outside || held.entries()?.next().is_some()
                }
            };
            if !is_mounted_or_used {
                tracing::error!(
                    folder = %Path::new(paths::UPLOADS).join(point).display(),
                    "the disk of this folder is not mounted: nothing is written there; mount it again"
                );
                return Err(Errno::NOMEDIUM);
            }
        }
        Ok(())
    }

    /// Whether nothing stands in the way of the folder of a final file.
    pub(super) fn check(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        const WHAT: &str = "look at the document's folder";
        let folder = paths::final_folder(user, path);
        self.refuse_if_unmounted(&folder).map_err(|errno| StorageError::opening(WHAT, errno))?;
        if path.folder().is_empty() {
            return Ok(());
        }
        match self.uploads.folder(folder) {
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(StorageError::opening(WHAT, errno)),
        }
    }

    /// The highest number that has a folder.
    pub(super) fn highest(&self) -> Result<Option<UserId>, StorageError> {
        let io = |errno| StorageError::new("list the users' folders", errno);
        let mut highest = None;
        for name in self.uploads.entries().map_err(io)? {
            highest = highest.max(paths::folder_owner(&name.map_err(io)?));
        }
        Ok(highest)
    }

    /// A folder with the syncs of its names. Those are found by device and inode and not by its
    /// path, for a folder that was made anew under an old name has nothing to do with what was
    /// synced before.
    fn held(
        &self,
        directory: Arc<Directory>,
        path: &Path,
        unsynced: Vec<UnsyncedParent>,
    ) -> Result<UserFolder, Errno> {
        let stat = rustix::fs::fstat(&*directory)?;
        let mut all = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            // A thread that holds one goes on with it: each is right by itself.
            all.clear();
        }
        let group = Arc::clone(all.entry((stat.st_dev, stat.st_ino)).or_default());
        let parents = Parents::Unsynced(unsynced.into());
        let other = self.other(stat.st_dev);
        Ok(UserFolder { directory, path: path.into(), parents, group, other })
    }

    /// Makes the names of all folders on the way durable, after the file's own.
    pub(super) fn sync_parents(
        &self,
        folder: &UserFolder,
        latch: &Latch,
    ) -> Result<(), StorageError> {
        let again;
        let unsynced = match &folder.parents {
            Parents::Unsynced(unsynced) => unsynced,
            Parents::Unknown if self.remembered().contains(&*folder.path) => return Ok(()),
            Parents::Unknown => {
                const WHAT: &str = "look at the folders above";
                again = self
                    .walk(&folder.path, Missing::Refuse)
                    .map_err(|errno| StorageError::opening(WHAT, errno))?;
                let Parents::Unsynced(unsynced) = &again.parents else { return Ok(()) };
                unsynced
            }
        };
        for UnsyncedParent { above, path } in &**unsynced {
            // Another file's may have been quicker.
            if self.remembered().contains(path) {
                continue;
            }
            let device = rustix::fs::fstat(&**above).ok().map(|stat| stat.st_dev);
            let other = device.and_then(|device| self.other(device));
            other.as_deref().unwrap_or(latch).sync_names(|| above.sync())?;
            self.remember(path.clone());
        }
        Ok(())
    }

    /// The whole file system was synced since files were moved into these folders: so
    /// their names are durable, and those of all folders above them.
    pub(super) fn all_synced(&self, folders: impl IntoIterator<Item = PathBuf>) {
        for folder in folders {
            let above = folder.ancestors().take_while(|path| *path != Path::new(""));
            above.for_each(|path| self.remember(path.to_owned()));
        }
    }

    /// Whether the folder of a document, or the nearest above it that is there, is on
    /// another file system than the usual one.
    pub(super) fn is_elsewhere(&self, user: UserId, path: &DocumentPath) -> bool {
        let folder = paths::final_folder(user, path);
        let above = folder.ancestors().take_while(|path| *path != Path::new(""));
        let nearest = above.into_iter().find_map(|path| self.uploads.folder(path).ok());
        let device = nearest.and_then(|nearest| rustix::fs::fstat(&nearest).ok());
        device.is_some_and(|stat| self.other(stat.st_dev).is_some())
    }

    /// The latch of another file system than the usual one.
    fn other(&self, device: u64) -> Option<Arc<Latch>> {
        if self.device.is_none_or(|usual| usual == device) {
            return None;
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(others.entry(device).or_default()))
    }

    fn remember(&self, path: PathBuf) {
        let mut durable = self.remembered();
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(path);
    }

    /// Opens one folder after the other, to hold those above which a sync is due.
    fn walk(&self, folder: &Path, missing: Missing) -> Result<UserFolder, Errno> {
        let mut above = Arc::clone(&self.uploads);
        let mut path = PathBuf::new();
        let mut unsynced = Vec::new();
        for name in folder {
            path.push(name);
            let next = match above.folder(name) {
                Err(Errno::NOENT) if missing == Missing::Make => {
                    self.make(&above, name, &path)?;
                    above.folder(name)?
                }
                answer => answer?,
            };
            if !self.remembered().contains(&path) {
                unsynced.push(UnsyncedParent { above, path: path.clone() });
            }
            above = Arc::new(next);
        }
        self.held(above, folder, unsynced)
    }

    /// Makes a folder and forgets any earlier one of its name, as one step: a thread that
    /// finds the new folder must not take it for the old one, which was durable.
    fn make(&self, above: &Directory, name: &OsStr, path: &Path) -> Result<(), Errno> {
        let mut durable = self.remembered();
        if above.make_folder(name, FOLDER_MODE)? {
            durable.remove(path);
        }
        Ok(())
    }

    fn remembered(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsynced(folder: &UserFolder) -> Vec<&Path> {
        let Parents::Unsynced(unsynced) = &folder.parents else { panic!("the parents are known") };
        unsynced.iter().map(|unsynced| unsynced.path.as_path()).collect()
    }

    #[test]
    fn a_folder_is_synced_above_until_this_process_did_so_itself() {
        let uploads = tempfile::tempdir().unwrap();
        let folders = UserFolders::new(Arc::new(Directory::at_path(uploads.path()).unwrap()));
        let user = UserId::try_from(5).unwrap();
        let path = DocumentPath::parse("a/b/doc").unwrap();
        let all = [Path::new("5"), Path::new("5/a"), Path::new("5/a/b")];

        // An earlier run was killed after it made this one.
        std::fs::create_dir(uploads.path().join("5")).unwrap();
        let refused = folders.open(user, &path, Missing::Refuse).unwrap_err();
        assert_eq!(refused, Errno::NOENT);
        let first = folders.open(user, &path, Missing::Make).unwrap();
        assert_eq!(unsynced(&first), all);

        // A publish at the same time finds the folders there, yet not durable.
        let second = folders.open(user, &path, Missing::Make).unwrap();
        assert_eq!(unsynced(&second), all);

        folders.sync_parents(&first, &Latch::default()).unwrap();
        let third = folders.open(user, &path, Missing::Make).unwrap();
        assert!(unsynced(&third).is_empty());

        // Removed by another program and made anew: durable no longer.
        std::fs::remove_dir(uploads.path().join("5/a/b")).unwrap();
        let fourth = folders.open(user, &path, Missing::Make).unwrap();
        assert_eq!(unsynced(&fourth), all[2..]);
    }

    #[test]
    fn a_folder_that_is_kept_is_durable_as_well() {
        let uploads = tempfile::tempdir().unwrap();
        let folders = UserFolders::new(Arc::new(Directory::at_path(uploads.path()).unwrap()));
        let user = UserId::try_from(5).unwrap();
        let path = DocumentPath::parse("a/b/doc").unwrap();
        let within = || folders.within(user, &path, |_| Ok(())).unwrap().0;
        let (first, second) = (within(), within());
        assert!(matches!(
            (&first.parents, &second.parents),
            (Parents::Unsynced(_), Parents::Unknown)
        ));
        assert!(!second.is_durable());
        folders.sync_parents(&second, &Latch::default()).unwrap();
        assert!(folders.open(user, &path, Missing::Refuse).unwrap().is_durable());
        // A folder that was made anew since is synced above again.
        std::fs::remove_dir_all(uploads.path().join("5")).unwrap();
        folders.open(user, &path, Missing::Make).unwrap();
        folders.sync_parents(&second, &Latch::default()).unwrap();
        assert!(folders.open(user, &path, Missing::Refuse).unwrap().is_durable());
    }
}
