//! Files that have no name before their final one: of a crash nothing is left of them,
//! and to give one a name takes no lock but that folder's. For whoever needs nothing to be
//! durable before it is published: on a file system without a journal the file that a
//! durable name leads to may not know of it.

use super::directory::{Directory, is_plain_file};
use super::disk::Volume;
use super::error::{Loss, StorageError};
use super::staging::{FILE_MODE, MAKE, write_all_at};
use super::{NewName, Publishable, paths, publish, space};
use rustix::fs::{AtFlags, CWD, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use towline_protocol::{DocumentId, DocumentPath, FileSize, Offset, UserId};

/// How a file without a name gets one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By its descriptor. Takes a privilege, or a kernel that asks for none.
    Descriptor,
    /// By what `/proc` calls the descriptor.
    Proc,
}

/// A whole file without a name, held open.
#[derive(Debug)]
pub(super) struct NamelessFile {
    volume: Arc<Volume>,
    way: Way,
    file: OwnedFd,
    inode: u64,
}

/// Which way there is in that folder, if any: found out by going it.
pub(super) fn way(staging: &Directory) -> Option<Way> {
    let file = make(staging).ok()?;
    // A name of which nobody is promised anything.
    let name = paths::whole_file(DocumentId::MIN);
    let name = OsStr::new(&name);
    [Way::Descriptor, Way::Proc].into_iter().find(|way| match link(&file, *way, staging, name) {
        Ok(()) => staging.remove(name).is_ok(),
        Err(errno) => errno == Errno::EXIST,
    })
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

    fn sync_data(&self) -> Result<(), StorageError> {
        // Its only one.
        self.volume.latch.sync(|| rustix::fs::fdatasync(&self.file))
    }

    fn rename(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Box<dyn NewName>>, StorageError> {
        let give_name = |to: &Directory, new: &OsStr| link(&self.file, self.way, to, new);
        publish::name(&self.volume, give_name, user, path).map(Some)
    }
}
