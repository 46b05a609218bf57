//! Files that have no name before their final one. A crash leaves nothing of them, and
//! giving one a name takes the lock of its folder alone. They are used only where durability
//! is relaxed: on a file system without a journal, a durable name could lead to a file whose
//! own record is not durable.

use super::directory::{Directory, is_plain_file, stamp};
use super::error::{Loss, StorageError};
use super::file::{MAKE, write_all_at};
use super::unnamed::{LinkMethod, link, make};
use super::volume::Volume;
use super::{NewName, Publishable, rename, space};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use towline_state::catalog::FileStamp;
use towline_types::{DocumentPath, FileSize, Offset, UserId};

/// A whole file without a name, held open.
#[derive(Debug)]
pub(super) struct UnnamedFile {
    volume: Arc<Volume>,
    method: LinkMethod,
    file: OwnedFd,
    inode: u64,
}

impl UnnamedFile {
    pub(super) fn create(
        volume: &Arc<Volume>,
        method: LinkMethod,
        bytes: &[u8],
    ) -> Result<Self, StorageError> {
        volume.latch.refuse_if_closed()?;
        let staging = &volume.staging.directory;
        let filesize = FileSize::try_from(bytes.len() as u64)
            .map_err(|_| StorageError::new(MAKE, Errno::FBIG))?;
        space::require_new(staging, volume.reserve_bytes, filesize)?;
        let file = make(staging).map_err(|errno| StorageError::opening(MAKE, errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| StorageError::new(MAKE, errno))?;
        if !is_plain_file(&stat) {
            return Err(StorageError::Lost(Loss::NotAFile));
        }
        write_all_at(&file, bytes, Offset::ZERO)?;
        Ok(Self { volume: Arc::clone(volume), method, file, inode: stat.st_ino })
    }
}

impl Publishable for UnnamedFile {
    fn start_writeback(&self, _: Offset, _: u64) {}

    fn file_number(&self) -> u64 {
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
            let linked = link(&self.file, self.method, to, new);
            if let Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) = linked {
                self.volume.unnamed.refuse();
            }
            linked
        };
        let named = rename::name(&self.volume, give_name, user, path);
        named.map(Some).map_err(|error| self.volume.explain_final(error, user, path))
    }
}
