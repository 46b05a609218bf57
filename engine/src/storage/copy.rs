//! The bytes of a file that lies here already, for another document.
//!
//! Nothing is believed of the source: what counts is what lies in the copy, which is read
//! and hashed block by block. Where the file system can, both files share their place on
//! the disk; else the kernel copies; else this does.

use super::error::StorageError;
use super::file::{DiskFile, write_all_at};
use super::staging_file::StagingFile;
use super::volume::Volume;
use super::{
    Copied, GoesOn, Publishable as _, Published, Staging as _, paths, reserved_space, space,
};
use crate::{failpoint, read_and_hash};
use rustix::io::Errno;
use std::cell::Cell;
use std::sync::Arc;
use towline_types::{DocumentId, FileHash, FileSize, Offset};

/// Write-back is started whenever that much has been copied, as it is for received bytes.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// How the bytes get from one file to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CopyMethod {
    /// They have got there: the file system has them once, for both files.
    Shared,
    /// The kernel copies them.
    Kernel,
    /// They are read and written here.
    Memory,
}

/// How it ended, where the system had no objection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Whole,
    OtherBytes,
    Stopped,
}

/// See [`CopyStorage::create_copy`](super::CopyStorage::create_copy).
pub(super) fn create(
    volume: &Arc<Volume>,
    id: DocumentId,
    source: &Published,
    (filesize, blake3): (FileSize, FileHash),
    goes_on: GoesOn<'_>,
) -> Result<Copied, StorageError> {
    let mut filled = Filled::Stopped;
    let copy = StagingFile::create_to_fill(volume, id, |copy| {
        filled = fill(volume, copy, source, (filesize, blake3), goes_on)?;
        Ok(())
    })?;
    if filled == Filled::Whole {
        return Ok(Copied::Whole(Arc::new(copy)));
    }
    volume.remove_staged(&paths::whole_file(id))?;
    Ok(if filled == Filled::Stopped { Copied::Stopped } else { Copied::OtherBytes })
}

fn fill(
    volume: &Volume,
    copy: &StagingFile,
    source: &Published,
    (filesize, blake3): (FileSize, FileHash),
    goes_on: GoesOn<'_>,
) -> Result<Filled, StorageError> {
    let on_disk = source.content::<DiskFile>();
    let shared =
        on_disk.is_some_and(|file| rustix::fs::ioctl_ficlone(copy.descriptor(), file).is_ok());
    let method = if shared {
        CopyMethod::Shared
    } else {
        // Only what shares no place needs one of its own.
        space::require_new(&volume.staging.directory, volume.reserve_bytes, filesize)?;
        reserved_space::reserve_whole(copy.descriptor(), filesize)?;
        CopyMethod::Kernel
    };
    failpoint::reach("copy.begun");
    let method = Cell::new(method);
    let read = |buffer: &mut [u8], start: Offset| {
        let length = buffer.len() as u64;
        if method.get() == CopyMethod::Kernel && !copy_in_kernel(on_disk, copy, start, length)? {
            method.set(CopyMethod::Memory);
        }
        match method.get() {
            CopyMethod::Shared | CopyMethod::Kernel => {
                Ok(copy.read_exact_at(buffer, start).map_err(of_the_source)?)
            }
            CopyMethod::Memory => {
                source.read_exact_at(buffer, start).map_err(of_the_source)?;
                Ok(write_all_at(copy.descriptor(), buffer, start)?)
            }
        }
    };
    let mut written_back = Offset::ZERO;
    let hash = read_and_hash::of_blocks(filesize, read, |_, index| {
        let end = index.end(filesize);
        let since_bytes = end.get() - written_back.get();
        if method.get() != CopyMethod::Shared && since_bytes >= WRITEBACK_BYTES {
            copy.start_writeback(written_back, since_bytes);
            written_back = end;
        }
        failpoint::reach("copy.block");
        Ok(goes_on(end))
    });
    match hash {
        Ok(None) => Ok(Filled::Stopped),
        Ok(Some(hash)) if hash == blake3 && copy.length_bytes()? == filesize.get() => {
            Ok(Filled::Whole)
        }
        Ok(Some(_)) | Err(NotFilled::OtherBytes) => Ok(Filled::OtherBytes),
        Err(NotFilled::Error(error)) => Err(error),
    }
}

/// Why a block was not copied.
enum NotFilled {
    OtherBytes,
    Error(StorageError),
}

impl From<StorageError> for NotFilled {
    fn from(error: StorageError) -> Self {
        Self::Error(error)
    }
}

/// A source that ends too early, or that the disk does not give out, is no source of a copy:
/// the client has the bytes.
fn of_the_source(error: StorageError) -> NotFilled {
    match error {
        StorageError::Lost(_) => NotFilled::OtherBytes,
        error if error.is_damage() => NotFilled::OtherBytes,
        error => NotFilled::Error(error),
    }
}

/// Has the kernel copy one block, and says whether it could. Where it could not, it may have
/// copied a part: the caller copies the whole block in another way, over that part.
fn copy_in_kernel(
    source: Option<&DiskFile>,
    copy: &StagingFile,
    start: Offset,
    length: u64,
) -> Result<bool, StorageError> {
    let Some(source) = source else { return Ok(false) };
    let (mut from, mut to) = (start.get(), start.get());
    let end = start.get() + length;
    while to < end {
        let rest = usize::try_from(end - to).expect("a block fits in memory");
        let copied = rustix::fs::copy_file_range(
            source,
            Some(&mut from),
            copy.descriptor(),
            Some(&mut to),
            rest,
        );
        match copied {
            Ok(1..) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::NOSPC) => return Err(StorageError::no_room(end - to)),
            Err(errno @ Errno::DQUOT) => return Err(StorageError::new("copy the file", errno)),
            // The source ends here, its file system cannot, or it cannot be read: to
            // read it says which.
            Ok(0) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use crate::storage::file::DiskFile;
    use crate::storage::{
        Copied, CopyStorage as _, DataFolder, DiskStorage, FolderLock, Published,
    };
    use std::fs::{self, File};
    use tempfile::TempDir;
    use towline_state::catalog::FileStamp;
    use towline_types::block::hash_block;
    use towline_types::file_hash::hash_file;
    use towline_types::{BlockIndex, DocumentId, FileHash, FileSize, Offset};

    struct Disk {
        storage: DiskStorage,
        _lock: FolderLock,
        folder: TempDir,
    }

    impl Disk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let lock = DataFolder::open(folder.path()).unwrap().lock().unwrap();
            Self { storage: DiskStorage::new(&lock, 0), _lock: lock, folder }
        }

        fn copy(
            &self,
            bytes: &[u8],
            content: (FileSize, FileHash),
            goes_on: &mut dyn FnMut(Offset) -> bool,
        ) -> Copied {
            let path = self.folder.path().join("source");
            fs::write(&path, bytes).unwrap();
            let source = DiskFile(File::open(path).unwrap());
            let stamp = FileStamp { inode: 0, modified_ns: 0, mount_depth: None };
            let source = Published::new(content.0, stamp, Box::new(source));
            self.storage.create_copy(DocumentId::MIN, &source, content, goes_on).unwrap()
        }

        fn copied(&self) -> Option<Vec<u8>> {
            fs::read(self.folder.path().join("uploads/.staging/1.new")).ok()
        }
    }

    const BLOCK: usize = 1 << 20;

    fn bytes(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    fn content(bytes: &[u8]) -> (FileSize, FileHash) {
        let filesize = FileSize::try_from(bytes.len() as u64).unwrap();
        let blocks = (0..).map_while(BlockIndex::new).zip(bytes.chunks(BLOCK));
        let values = blocks.map(|(index, block)| hash_block(index, filesize, block));
        (filesize, hash_file(filesize, values))
    }

    #[test]
    fn a_copy_is_whole_and_told_block_by_block() {
        for length in [0, 1, BLOCK, 9 * BLOCK + 5] {
            let disk = Disk::new();
            let bytes = bytes(length);
            let mut told = Vec::new();
            let copied = disk.copy(&bytes, content(&bytes), &mut |end| {
                told.push(usize::try_from(end.get()).unwrap());
                true
            });
            let Copied::Whole(copy) = copied else { panic!("{length} bytes are copied") };
            copy.sync_data().unwrap();
            assert!(disk.copied().unwrap() == bytes);
            assert_eq!(told.len(), length.div_ceil(BLOCK));
            assert_eq!(told.last().copied().unwrap_or(0), length);
        }
    }

    #[test]
    fn a_source_that_is_not_what_it_should_be_leaves_nothing() {
        let good = bytes(3 * BLOCK);
        let content = content(&good);
        let mut flipped = good.clone();
        flipped[BLOCK + 7] ^= 1;
        let longer = [good.as_slice(), b"x"].concat();
        let shorter = &good[..good.len() - 1];
        for source in [&flipped, &longer, shorter, b""] {
            let disk = Disk::new();
            // What a longer source begins with is what was asked for: a copy of just that
            // is as good as any.
            match disk.copy(source, content, &mut |_| true) {
                Copied::OtherBytes => assert_eq!(disk.copied(), None),
                Copied::Whole(_) => assert!(disk.copied().unwrap() == good),
                Copied::Stopped => panic!("it goes on"),
            }
        }
    }

    #[test]
    fn a_copy_that_is_stopped_leaves_nothing() {
        let disk = Disk::new();
        let bytes = bytes(3 * BLOCK);
        let stopped = disk.copy(&bytes, content(&bytes), &mut |end| end.get() < 2 << 20);
        assert!(matches!(stopped, Copied::Stopped));
        assert_eq!(disk.copied(), None);
    }
}
