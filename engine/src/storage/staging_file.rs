//! The staging file: where the bytes of an upload wait until it is complete.

use super::directory::{is_plain_file, stamp};
use super::error::{Loss, StorageError};
use super::file::{
    FILE_MODE, MAKE, drop_cached, length_bytes, read_exact_at, start_writeback, write_all_at,
};
use super::group_sync::Ticket;
use super::reserved_space::ReservedSpace;
use super::volume::Volume;
use super::{NewName, Publishable, Staging, paths, rename, space};
use crate::failpoint;
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use towline_state::catalog::FileStamp;
use towline_types::{DocumentId, DocumentPath, FileSize, Offset, UserId};

/// Without these the owner cannot go on with the upload.
const NEEDED_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The staging file of one upload, held open.
#[derive(Debug)]
pub(super) struct StagingFile {
    volume: Arc<Volume>,
    file: OwnedFd,
    name: String,
    /// What `name` has to be to be this file.
    device: u64,
    inode: u64,
    /// The name's in the [`StagingFolder`].
    ticket: Ticket,
    /// Held during a sync: the kernel reports an error of write-back once per descriptor, so a
    /// second sync at the same time as a failing one would return OK (P5).
    syncing: Mutex<()>,
    space: ReservedSpace,
}

impl StagingFile {
    /// Makes the staging file of a new upload for which there is room; or leaves nothing behind.
    pub(super) fn create(
        volume: &Arc<Volume>,
        id: DocumentId,
        filesize: FileSize,
    ) -> Result<Self, StorageError> {
        Self::make(volume, paths::staging_file(id), filesize, |_| Ok(()))
    }

    /// Makes the staging file of an upload that is here whole; or leaves nothing behind.
    pub(super) fn create_whole(
        volume: &Arc<Volume>,
        id: DocumentId,
        bytes: &[u8],
    ) -> Result<Self, StorageError> {
        let filesize = FileSize::try_from(bytes.len() as u64)
            .map_err(|_| StorageError::new(MAKE, Errno::FBIG))?;
        let write = |file: &Self| file.write_all_at(bytes, Offset::ZERO);
        Self::make(volume, paths::whole_file(id), filesize, write)
    }

    /// Makes the staging file of an upload that is here whole, empty; or leaves nothing
    /// behind. `fill` asks for the room that it needs.
    pub(super) fn create_to_fill(
        volume: &Arc<Volume>,
        id: DocumentId,
        fill: impl FnOnce(&Self) -> Result<(), StorageError>,
    ) -> Result<Self, StorageError> {
        Self::make(volume, paths::whole_file(id), FileSize::MIN, fill)
    }

    fn make(
        volume: &Arc<Volume>,
        name: String,
        filesize: FileSize,
        fill: impl FnOnce(&Self) -> Result<(), StorageError>,
    ) -> Result<Self, StorageError> {
        volume.latch.refuse_if_closed()?;
        space::require_new(&volume.staging.directory, volume.reserve_bytes, filesize)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file =
            volume.staging.directory.file(&name, flags, FILE_MODE).map_err(
                |errno| match errno {
                    Errno::EXIST => StorageError::Occupied,
                    _ => StorageError::opening(MAKE, errno),
                },
            )?;
        let made = Self::new(volume, file, name.clone(), MAKE).and_then(|file| {
            // What fills it at once has room: it was looked for just now.
            fill(&file)?;
            file.space.expect(filesize);
            Ok(file)
        });
        if made.is_err() {
            // Where even this fails, recovery finds a file without a row: what came whole
            // it removes, all else it sets aside.
            let _ = volume.staging.directory.remove(&name);
        }
        made
    }

    /// Opens the staging file that an earlier run left.
    pub(super) fn open(volume: &Arc<Volume>, id: DocumentId) -> Result<Self, StorageError> {
        const WHAT: &str = "open the staging file";
        let name = paths::staging_file(id);
        let flags = OFlags::RDWR | OFlags::NONBLOCK;
        let open = || volume.staging.directory.file(&name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) if volume.adopt_whole(id)? => open(),
            answer => answer,
        };
        let file = opened.map_err(|errno| match errno {
            Errno::NOENT => StorageError::Lost(Loss::Missing),
            Errno::LOOP | Errno::ISDIR | Errno::NXIO => StorageError::Lost(Loss::NotAFile),
            _ => StorageError::new(WHAT, errno),
        })?;
        let opened = Self::new(volume, file, name, WHAT)?;
        Ok(Self { space: ReservedSpace::of_earlier_run(), ..opened })
    }

    fn new(
        volume: &Arc<Volume>,
        file: OwnedFd,
        name: String,
        what: &'static str,
    ) -> Result<Self, StorageError> {
        let stat = rustix::fs::fstat(&file).map_err(|errno| StorageError::new(what, errno))?;
        if !is_plain_file(&stat) {
            return Err(StorageError::Lost(Loss::NotAFile));
        }
        Ok(Self {
            ticket: volume.staging.names.ticket(),
            volume: Arc::clone(volume),
            file,
            name,
            device: stat.st_dev,
            inode: stat.st_ino,
            syncing: Mutex::default(),
            space: ReservedSpace::default(),
        })
    }

    /// With what an operator has to know of it.
    fn explain(&self, error: StorageError) -> StorageError {
        self.volume.explain(error, || paths::staged_place(OsStr::new(&self.name)))
    }

    /// Cuts the file, with the space that is reserved behind.
    fn cut(&self, end: Offset) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::ftruncate(&self.file, end.get()))?;
        self.space.cut(end);
        Ok(())
    }

    fn stat(&self) -> Result<Stat, StorageError> {
        rustix::fs::fstat(&self.file)
            .map_err(|errno| StorageError::new("read the staging file's length", errno))
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.file
    }

    /// Whether our name still leads to the file we hold. Tells its length.
    fn check_identity(&self) -> Result<u64, StorageError> {
        let stat = match self.volume.staging.directory.stat(&self.name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Err(StorageError::Lost(Loss::Missing)),
            Err(errno) => return Err(StorageError::new("check the staging file", errno)),
        };
        if !is_plain_file(&stat) {
            return Err(StorageError::Lost(Loss::NotAFile));
        }
        if (stat.st_dev, stat.st_ino) != (self.device, self.inode) {
            return Err(StorageError::Lost(Loss::Replaced));
        }
        if !Mode::from_raw_mode(stat.st_mode).contains(NEEDED_MODE) {
            return Err(StorageError::Lost(Loss::Permissions));
        }
        Ok(length_bytes(&stat))
    }
}

impl Publishable for StagingFile {
    fn start_writeback(&self, from: Offset, length_bytes: u64) {
        if self.volume.is_paced {
            start_writeback(&self.file, from, length_bytes);
        }
    }

    fn file_number(&self) -> u64 {
        self.inode
    }

    fn stamp(&self) -> Option<FileStamp> {
        self.stat().ok().as_ref().map(stamp)
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.volume.latch.sync(|| {
            if failpoint::is_faked("sync.data") {
                return Ok(());
            }
            rustix::fs::fdatasync(&self.file)
        })
    }

    fn rename(
        &self,
        user: UserId,
        path: &DocumentPath,
    ) -> Result<Option<Box<dyn NewName>>, StorageError> {
        // What moves must be this file: a link under a final name would lead readers out.
        self.check_identity()?;
        let renamed = rename::rename(&self.volume, &self.name, user, path);
        renamed.map_err(|error| self.volume.explain_final(error, user, path))
    }
}

impl Staging for StagingFile {
    fn write_all_at(&self, bytes: &[u8], at: Offset) -> Result<(), StorageError> {
        self.volume.latch.refuse_if_closed()?;
        let disk = (&*self.volume.staging.directory, self.volume.reserve_bytes);
        self.space
            .cover(&self.file, disk, at, bytes.len() as u64)
            .and_then(|()| write_all_at(&self.file, bytes, at))
            .map_err(|error| self.explain(error))
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: Offset) -> Result<(), StorageError> {
        read_exact_at(&self.file, buffer, at, "read the staging file")
    }

    fn drop_cached(&self) {
        drop_cached(&self.file);
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.sync_data()?;
        self.volume.staging.sync_name(self.ticket, &self.volume.latch)
    }

    fn length_bytes(&self) -> Result<u64, StorageError> {
        Ok(length_bytes(&self.stat()?))
    }

    fn truncate(&self, end: Offset) -> Result<(), StorageError> {
        self.volume.latch.refuse_if_closed()?;
        // To cut a file to the very length it has would give up its reserved space.
        if self.length_bytes()? <= end.get() {
            return Ok(());
        }
        self.cut(end).map_err(|errno| StorageError::new("cut the staging file", errno))
    }

    fn require_room(&self, filesize: FileSize) -> Result<(), StorageError> {
        let volume = &self.volume;
        volume.latch.refuse_if_closed()?;
        space::refuse_beyond_limit(filesize)?;
        let more_bytes = filesize.get().saturating_sub(space::held_bytes(&self.stat()?));
        space::require(&volume.staging.directory, volume.reserve_bytes, more_bytes)?;
        self.space.expect(filesize);
        Ok(())
    }

    fn give_back_room(&self) {
        // What is not given back is used by the next bytes, or goes with the file.
        if let Ok(length) = self.length_bytes()
            && let Ok(end) = Offset::try_from(length)
            && self.space.may_reach_beyond(end)
        {
            let _ = self.cut(end);
        }
    }

    fn find_again(&self) -> Result<u64, StorageError> {
        self.check_identity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::directory::Directory;
    use crate::storage::latch::Latch;
    use crate::storage::staging_folder::StagingFolder;
    use crate::storage::unnamed::UnnamedFiles;
    use crate::storage::user_folders::UserFolders;
    use crate::storage::volume_sync::VolumeSync;
    use std::fs::File;
    use tempfile::TempDir;
    use towline_testkit::{id, size};

    /// A staging file over a device of our choice, beside others in that folder.
    fn over(device: &str, folder: &TempDir) -> StagingFile {
        let file = File::options().read(true).write(true).open(device).unwrap().into();
        let directory = Arc::new(Directory::at_path(folder.path()).unwrap());
        let volume = Arc::new(Volume {
            staging: StagingFolder::new(Arc::clone(&directory)),
            sync: VolumeSync::over(Arc::clone(&directory)),
            user_folders: UserFolders::new(directory),
            latch: Latch::default(),
            reserve_bytes: 0,
            is_paced: true,
            unnamed: UnnamedFiles::none(),
        });
        StagingFile {
            ticket: volume.staging.names.ticket(),
            volume,
            file,
            name: "1.tmp".to_owned(),
            device: 0,
            inode: 0,
            syncing: Mutex::default(),
            space: ReservedSpace::default(),
        }
    }

    #[test]
    fn a_full_device_is_told_with_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let staging = over("/dev/full", &folder);
        let full = staging.write_all_at(b"12345", Offset::ZERO);
        assert!(
            matches!(full, Err(StorageError::NoSpace { missing_bytes: Some(5), .. })),
            "{full:?}"
        );
        assert!(!staging.volume.latch.is_closed());
    }

    #[test]
    fn a_failed_sync_closes_the_volume_for_all_its_staging_files() {
        // A character device takes the bytes but refuses to sync them.
        let folder = tempfile::tempdir().unwrap();
        let broken = over("/dev/null", &folder);
        broken.write_all_at(b"12345", Offset::ZERO).unwrap();
        let healthy = StagingFile::create(&broken.volume, id(2), size(5)).unwrap();
        healthy.sync().unwrap();

        let failed = broken.sync();
        assert!(matches!(failed, Err(StorageError::SyncFailed(_))), "{failed:?}");
        for refused in [
            broken.sync(),
            broken.write_all_at(b"x", Offset::ZERO),
            healthy.sync(),
            healthy.sync_data(),
            healthy.write_all_at(b"x", Offset::ZERO),
        ] {
            assert!(matches!(refused, Err(StorageError::ReadOnly)), "{refused:?}");
        }
    }
}
