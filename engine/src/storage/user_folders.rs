//! The folders of users: made as files need them, and made durable once.
//!
//! A folder's name is durable when the folder *above* it was synced. Whether that
//! has happened cannot be told from the disk: a run that was killed, or another
//! publish at this very moment, may have made a folder and not synced it yet. So
//! this process remembers which folders it has made durable itself, and syncs above
//! all others, whichever process made them (P3).

use super::directory::{Directory, is_plain_file, stamp};
use super::durable_folders::{DurableFolders, Moves, REMEMBERED};
use super::group_sync::GroupSync;
use super::latch::Latch;
use super::mount_points::{self, MountPoints};
use super::recent_folders::RecentFolders;
use super::user_folder::{Parents, UnsyncedParent, UserFolder};
use super::{StorageError, paths};
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentPath, FileSize, UserId};

/// Readable to the service's group, like the files in it.
const FOLDER_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);

/// What to do where a folder is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Refuse,
}

/// All users' folders, and those of what they have removed or replaced.
#[derive(Debug)]
pub(super) struct UserFolders {
    uploads: Arc<Directory>,
    /// The file system that they are on, unless another one is mounted there.
    device: Option<u64>,
    /// Whether those others are still to be believed.
    others: Mutex<HashMap<u64, Arc<Latch>>>,
    durable: DurableFolders,
    /// Of folders that were synced lately, by device and inode.
    groups: Mutex<HashMap<(u64, u64), Arc<GroupSync>>>,
    recent: RecentFolders,
    pub(super) mount_points: MountPoints,
}

impl UserFolders {
    /// Whether the folder of all users' folders was removed.
    pub(super) fn were_removed(&self) -> bool {
        self.uploads.was_removed()
    }

    pub(super) fn new(uploads: Arc<Directory>) -> Self {
        Self {
            device: rustix::fs::fstat(&*uploads).ok().map(|stat| stat.st_dev),
            mount_points: MountPoints::new(Arc::clone(&uploads)),
            others: Mutex::default(),
            uploads,
            durable: DurableFolders::default(),
            groups: Mutex::default(),
            recent: RecentFolders::default(),
        }
    }

    /// Opens the folder of a final file.
    pub(super) fn open(
        &self,
        user: UserId,
        path: &DocumentPath,
        missing: Missing,
    ) -> Result<UserFolder, Errno> {
        self.open_folder(&paths::final_folder(user, path), missing)
    }

    /// Opens the folder with that path, seen from `uploads`.
    pub(super) fn open_folder(&self, folder: &Path, missing: Missing) -> Result<UserFolder, Errno> {
        if missing == Missing::Make {
            self.mount_points.refuse_if_away(folder)?;
        }
        let since = self.durable.moves();
        if !self.durable.contains(folder) {
            return self.walk(folder, missing);
        }
        match self.uploads.folder(folder) {
            // Asked again: it may have been made anew or moved in between, and is not durable then.
            Ok(directory) if self.durable.contains(folder) && self.durable.moves() == since => {
                self.held(Arc::new(directory), (folder, since), Vec::new())
            }
            Err(errno) if errno != Errno::NOENT => Err(errno),
            _ => self.walk(folder, missing),
        }
    }

    /// What has that name in that folder, seen from `uploads`.
    pub(super) fn look(&self, folder: &Path, name: &OsStr) -> Result<Option<Stat>, Errno> {
        match self.uploads.folder(folder).and_then(|folder| folder.stat(name)) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
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
        let is_usual = |_: &UserFolder| !self.mount_points.is_noted_on(&place);
        if let Some(kept) = self.recent.get(&place).filter(is_usual) {
            match work(&kept.directory) {
                // It may have been removed meanwhile.
                Err(Errno::NOENT) => {}
                done => return Ok((kept, done)),
            }
        }
        let folder = self.open(user, path, Missing::Make)?;
        self.recent.keep(place, &folder, || self.durable.moves() == folder.opened);
        let done = work(&folder.directory);
        Ok((folder, done))
    }

    /// Frees a name for something that is to get it: removes a folder of that name in which nothing
    /// but folders is. No row knows these folders, or the catalog would not have given the name.
    /// They have no bytes that could be lost (P1), and no user can see or remove them. Returns
    /// whether the name is free now.
    ///
    /// The mount point of a disk that is not mounted stays: it is empty only as long as the disk is
    /// away.
    pub(super) fn make_way(&self, folder: &UserFolder, name: &OsStr) -> bool {
        let path = folder.path.join(name);
        let mut looks = EMPTY_FOLDERS_MAX;
        let is_empty = self.holds_only_folders(&folder.directory, name, &path, &mut looks);
        if !is_empty.unwrap_or(false) {
            return false;
        }
        self.forget(&path);
        let is_gone = remove_empty_folders(&folder.directory, name).is_ok();
        self.forget(&path);
        is_gone
    }

    /// Whether that is a folder below which there are only folders, at most `looks` of them, and
    /// none of them is the mount point of a disk, also not of a disk that is away.
    fn holds_only_folders(
        &self,
        above: &Directory,
        name: &OsStr,
        path: &Path,
        looks: &mut usize,
    ) -> Result<bool, Errno> {
        if *looks == 0 || self.mount_points.refuse_if_away(path).is_err() {
            return Ok(false);
        }
        *looks -= 1;
        let folder = match above.folder(name) {
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            folder => folder?,
        };
        if rustix::fs::fstat(&folder)?.st_dev != rustix::fs::fstat(above)?.st_dev {
            return Ok(false);
        }
        for below in folder.entries()? {
            let below = below?;
            if !self.holds_only_folders(&folder, &below, &path.join(&below), looks)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens a final file for reading, and says how long it is and what it is known by; `None`
    /// where there is none.
    pub(super) fn published(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<(File, FileSize, FileStamp)>, StorageError> {
        self.open_file(&paths::final_file(user, path))
    }

    /// The same for the file with that path, seen from `uploads`.
    pub(super) fn open_file(
        &self,
        path: &Path,
    ) -> Result<Option<(File, FileSize, FileStamp)>, StorageError> {
        const WHAT: &str = "open the published file";
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.uploads.file(path, flags, Mode::empty()) {
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
        if !self.mount_points.is_usual(&file).map_err(looking)? {
            let folder = path.parent().unwrap_or(path);
            stamp.mount_depth = self.mount_points.depth(folder).map_err(looking)?;
            if let Some(depth) = stamp.mount_depth {
                self.mount_points.note(mount_points::point(folder, depth));
            }
        }
        Ok(Some((File::from(file), filesize, stamp)))
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
        let folder = paths::final_folder(user, path);
        let depth = self.mount_points.depth(&folder).map_err(io)?;
        if let Some(known) = known {
            return Ok(depth != known.mount_depth);
        }
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
        self.mount_points.note(mount_points::point(&paths::final_folder(user, path), depth));
    }

    /// Whether nothing stands in the way of the folder of a final file.
    pub(super) fn check(&self, user: UserId, path: &DocumentPath) -> Result<(), StorageError> {
        const WHAT: &str = "look at the document's folder";
        let folder = paths::final_folder(user, path);
        let mounted = self.mount_points.refuse_if_away(&folder);
        mounted.map_err(|errno| StorageError::opening(WHAT, errno))?;
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
        (path, opened): (&Path, Moves),
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
        Ok(UserFolder { directory, path: path.into(), opened, parents, group, other })
    }

    /// Makes the names of all folders on the way durable, after the file's own.
    pub(super) fn sync_parents(
        &self,
        folder: &UserFolder,
        latch: &Latch,
    ) -> Result<(), StorageError> {
        let again;
        let (unsynced, opened) = match &folder.parents {
            Parents::Unsynced(unsynced) => (unsynced, folder.opened),
            Parents::Unknown if self.durable.contains(&folder.path) => return Ok(()),
            Parents::Unknown => {
                const WHAT: &str = "look at the folders above";
                again = self
                    .walk(&folder.path, Missing::Refuse)
                    .map_err(|errno| StorageError::opening(WHAT, errno))?;
                let Parents::Unsynced(unsynced) = &again.parents else { return Ok(()) };
                (unsynced, again.opened)
            }
        };
        for UnsyncedParent { above, path } in &**unsynced {
            // Another file's may have been quicker.
            if self.durable.contains(path) && self.durable.moves() == opened {
                continue;
            }
            let device = rustix::fs::fstat(&**above).ok().map(|stat| stat.st_dev);
            let other = device.and_then(|device| self.other(device));
            other.as_deref().unwrap_or(latch).sync_names(|| above.sync())?;
            self.durable.remember(path.clone(), opened);
        }
        Ok(())
    }

    /// To be asked before a sync of the whole file system: what that sync will make durable of
    /// these folders, into which files were moved. Where nothing has been moved in this process,
    /// the folders are there without a look: they were made before the files got there.
    pub(super) fn before_sync(&self, folders: impl IntoIterator<Item = PathBuf>) -> BeforeSync {
        let since = self.durable.moves();
        let folders = folders.into_iter();
        let folders = folders.filter(|path| since.is_none() || self.uploads.folder(path).is_ok());
        BeforeSync { folders: folders.collect(), since }
    }

    /// The whole file system was synced since: the names of these folders are durable, and those
    /// of all folders above them.
    pub(super) fn all_synced(&self, BeforeSync { folders, since }: BeforeSync) {
        for folder in folders {
            let above = folder.ancestors().take_while(|path| *path != Path::new(""));
            above.for_each(|path| self.durable.remember(path.to_owned(), since));
        }
    }

    /// Something is moved to that path or away from it, seen from `uploads`: whatever was
    /// remembered of it by its path, and of what lies below, is forgotten. The syncs of folders
    /// stay, because those are found by device and inode, which a move does not change.
    pub(super) fn forget(&self, moved: &Path) {
        // In this order: what is kept meanwhile sees that there was a move, or is forgotten.
        self.durable.forget(moved);
        self.recent.forget(moved);
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

    /// Opens one folder after the other, to hold those above which a sync is due.
    fn walk(&self, folder: &Path, missing: Missing) -> Result<UserFolder, Errno> {
        let since = self.durable.moves();
        let mut above = Arc::clone(&self.uploads);
        let mut path = PathBuf::new();
        let mut unsynced = Vec::new();
        for name in folder {
            path.push(name);
            let next = match above.folder(name) {
                Err(Errno::NOENT) if missing == Missing::Make => {
                    let mode = if paths::is_private(&path) { Mode::RWXU } else { FOLDER_MODE };
                    self.durable.make((&above, name), &path, mode)?;
                    above.folder(name)?
                }
                answer => answer?,
            };
            if !self.durable.contains(&path) {
                unsynced.push(UnsyncedParent { above, path: path.clone() });
            }
            above = Arc::new(next);
        }
        self.held(above, (folder, since), unsynced)
    }
}

/// The most folders that are removed to free a name: a crash leaves as many as there are names in a
/// path.
const EMPTY_FOLDERS_MAX: usize = 64;

/// Removes a folder, with those in it. Whatever else was put there meanwhile stays, with the
/// folders above it.
fn remove_empty_folders(above: &Directory, name: &OsStr) -> Result<(), Errno> {
    let folder = above.folder(name)?;
    for below in folder.names()? {
        remove_empty_folders(&folder, &below)?;
    }
    above.remove_empty_folder(name)
}

/// Folders that a sync of the whole file system makes durable.
pub(super) struct BeforeSync {
    folders: Vec<PathBuf>,
    since: Moves,
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
