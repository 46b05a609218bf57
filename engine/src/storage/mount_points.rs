//! Disks that are mounted at the folders of users, or below them.
//!
//! A mount point is known where a document on its disk has told of it, and where the kernel lists
//! it. The first stays known while the disk is away; the second is known before there is a document.

use super::StorageError;
use super::directory::{Directory, mount};
use super::mount_list;
use super::paths;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_types::UserId;

/// See the module's description. All paths are seen from `uploads`.
#[derive(Debug)]
pub(super) struct MountPoints {
    uploads: Arc<Directory>,
    /// The mount that the users' folders are on.
    usual: Option<u64>,
    /// Where documents have told that a disk belongs.
    noted: Mutex<BTreeSet<PathBuf>>,
}

impl MountPoints {
    pub(super) fn new(uploads: Arc<Directory>) -> Self {
        Self { usual: mount(&*uploads).ok(), uploads, noted: Mutex::default() }
    }

    /// Whether that file or folder, held open, is on the usual mount.
    pub(super) fn is_usual(&self, held: impl std::os::fd::AsFd) -> Result<bool, Errno> {
        Ok(Some(mount(held)?) == self.usual)
    }

    /// From now on nothing is written to that folder where it is empty and no disk is mounted
    /// there.
    pub(super) fn note(&self, point: PathBuf) {
        self.noted().insert(point);
    }

    /// Where the innermost disk is mounted on the way to that folder: how many folders below the
    /// user's own lead to the mount point. Nothing where there is none, as far as the folders are
    /// there.
    pub(super) fn depth(&self, folder: &Path) -> Result<Option<u16>, Errno> {
        let (mut above, mut on) = (None::<Directory>, self.usual);
        let mut found = None;
        for (depth, name) in (0..).zip(folder) {
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

    /// The innermost mount point on the way to that folder; empty where the folder is on the usual
    /// mount.
    pub(super) fn innermost(&self, folder: &Path) -> Result<PathBuf, Errno> {
        let depth = self.depth(folder)?;
        Ok(depth.map_or_else(PathBuf::new, |depth| point(folder, depth)))
    }

    /// Whether a noted mount point is on the way to that folder, or the folder itself.
    pub(super) fn is_noted_on(&self, folder: &Path) -> bool {
        let noted = self.noted();
        !noted.is_empty() && folder.ancestors().any(|above| noted.contains(above))
    }

    /// All mount points in the folder of a user, the folder itself among them: those that are
    /// noted, and those that the kernel lists.
    pub(super) fn of(&self, user: UserId) -> BTreeSet<PathBuf> {
        let top = paths::user_folder(user);
        let mut points = self.noted().clone();
        points.extend(mount_list::below(&self.uploads));
        points.retain(|point| point.starts_with(&top));
        points
    }

    /// Refuses where the disk of a noted mount point of that user is away: what is looked for may
    /// be on it.
    pub(super) fn refuse_if_any_is_away(&self, user: UserId) -> Result<(), Errno> {
        let top = paths::user_folder(user);
        let noted = self.noted().clone();
        noted.iter().filter(|point| point.starts_with(&top)).try_for_each(|point| self.check(point))
    }

    /// Refuses a folder on whose way a mount point lacks its disk: it is missing, or is empty
    /// and on the same mount as the folder above. A file there would be hidden as soon as the
    /// disk is mounted (P3), and the documents on the disk would seem to be removed. Where
    /// something lies there, the operator has moved the documents off their disk.
    pub(super) fn refuse_if_away(&self, folder: &Path) -> Result<(), Errno> {
        if !self.is_noted_on(folder) {
            return Ok(());
        }
        let noted = self.noted().clone();
        folder
            .ancestors()
            .filter(|above| noted.contains(*above))
            .try_for_each(|point| self.check(point))
    }

    fn check(&self, point: &Path) -> Result<(), Errno> {
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
        if is_mounted_or_used {
            return Ok(());
        }
        tracing::error!(
            folder = %Path::new(paths::UPLOADS).join(point).display(),
            "the disk of this folder is not mounted: nothing is written there; mount it again"
        );
        Err(Errno::NOMEDIUM)
    }

    /// Refuses to move a folder at which a disk is mounted, or below which one is: the disk would
    /// come along now, and be mounted at the old path after the next start of the system.
    pub(super) fn refuse_to_move(&self, user: UserId, folder: &Path) -> Result<(), StorageError> {
        if self.of(user).iter().any(|point| point.starts_with(folder)) {
            return Err(StorageError::other_file_system("move a folder"));
        }
        Ok(())
    }

    fn noted(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder to which that many of a document's folders lead, on the way to `folder`.
pub(super) fn point(folder: &Path, depth: u16) -> PathBuf {
    folder.iter().take(1 + usize::from(depth)).collect()
}
