//! Files that have no name before their final one: of a crash nothing is left of them,
//! and to give one a name takes no lock but that folder's. For whoever needs nothing to be
//! durable before it is published: on a file system without a journal the file that a
//! durable name leads to may not know of it.

use super::directory::{Directory, is_plain_file, stamp};
use super::disk::Volume;
use super::error::{Loss, StorageError};
use super::staging::{FILE_MODE, MAKE, write_all_at};
use super::{NewName, Publishable, paths, publish, space};
use rustix::fs::{AtFlags, CWD, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentPath, FileSize, Offset, UserId};

/// How a file without a name gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By its descriptor. Takes a privilege, or a kernel that asks for none.
    Descriptor,
    /// By what `/proc` calls the descriptor.
    Proc,
}

/// Whether files without a name can be had on a volume.
#[derive(Debug)]
pub(super) struct Nameless {
    /// Found out when the first is wanted.
    way: OnceLock<Option<Way>>,
    /// Somebody's rules keep them from getting names after all.
    refused: AtomicBool,
}

/// A whole file without a name, held open.
#[derive(Debug)]
pub(super) struct NamelessFile {
    volume: Arc<Volume>,
    way: Way,
    file: OwnedFd,
    inode: u64,
}

impl Nameless {
    /// Where they are not wanted.
    pub(super) fn none() -> Self {
        Self { way: OnceLock::from(None), refused: AtomicBool::default() }
    }

    /// Where they are, if it is possible.
    pub(super) fn wanted() -> Self {
        Self { way: OnceLock::new(), refused: AtomicBool::default() }
    }

    pub(super) fn way(&self, staging: &Directory) -> Option<Way> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(found) = self.way.get() {
            return *found;
        }
        match make(staging) {
            Ok(file) => *self.way.get_or_init(|| find_way(staging, &file)),
            // What is short now need not be short the next time.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOSPC | Errno::DQUOT) => None,
            Err(_) => *self.way.get_or_init(|| None),
        }
    }
}

/// Which way there is in that folder, if any: found out by going it.
fn find_way(staging: &Directory, file: &OwnedFd) -> Option<Way> {
    // What has that name is what a kill left here.
    let name = OsStr::new(paths::PROBE);
    let _ = staging.remove(name);
    let works = |way: &Way| link(file, *way, staging, name).is_ok();
    let way = [Way::Descriptor, Way::Proc].into_iter().find(works)?;
    staging.remove(name).is_ok().then_some(way)
}

fn make(staging: &Directory) -> Result<OwnedFd, Errno> {
    staging.file(".", OFlags::TMPFILE | OFlags::RDWR, FILE_MODE)
}

fn link(file: &OwnedFd, way: Way, to: &Directory, new: &OsStr) -> Result<(), Errno> {
    match way {
        Way::Descriptor => rustix::fs::linkat(file, "", to, new, AtFlags::EMPTY_PATH),
        Way::Proc => {
            let old = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, old, to, new, AtFlags::SYMLINK_FOLLOW)
        }
    }
}

impl NamelessFile {
    pub(super) fn create(
        volume: &Arc<Volume>,
        way: Way,
        bytes: &[u8],
    ) -> Result<Self, StorageError> {
        volume.latch.refuse_if_closed()?;
        let staging = &volume.staging.directory;
        let filesize = FileSize::try_from(bytes.len() as u64)
            .map_err(|_| StorageError::new(MAKE, Errno::FBIG))?;
        space::require(staging, volume.reserve_bytes, filesize, 0)?;
        let file = make(staging).map_err(|errno| StorageError::opening(MAKE, errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| StorageError::new(MAKE, errno))?;
        if !is_plain_file(&stat) {
            return Err(StorageError::Lost(Loss::NotAFile));
        }
        write_all_at(&file, bytes, Offset::ZERO)?;
        Ok(Self { volume: Arc::clone(volume), way, file, inode: stat.st_ino })
    }
}

impl Publishable for NamelessFile {
    fn start_writeback(&self, _: Offset, _: u64) {}

    fn inode(&self) -> u64 {
        self.inode
    }

    fn stamp(&self) -> Option<FileStamp> {
        rustix::fs::fstat(&self.file).ok().as_ref().map(stamp)
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        // Its only one.
        self.volume.latch.sync(|| rustix::fs::fdatasync(&self.file))
    }

    fn rename(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Box<dyn NewName>>, StorageError> {
        let give_name = |to: &Directory, new: &OsStr| {
            let linked = link(&self.file, self.way, to, new);
            if let Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) = linked {
                self.volume.nameless.refused.store(true, Ordering::Relaxed);
            }
            linked
        };
        let named = publish::name(&self.volume, give_name, user, path);
        named.map(Some).map_err(|error| self.volume.explain_final(error, user, path))
    }
}
