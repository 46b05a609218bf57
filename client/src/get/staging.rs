//! The bytes of a file that is being fetched: a file beside the one that it is to become.
//!
//! Beside the bytes lie the values of their blocks. A value is written after its block, so after
//! a client was killed each block with a value is whole: the fetching goes on behind the last of
//! them, and reads back that one block. After a power cut only those blocks count that were
//! synced before; which these are stands in the head of the values.

mod values;

use super::local_folder::LocalFolder;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::Errno;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use towline_types::block::{BLOCK_SIZE_BYTES, block_count, hash_block};
use towline_types::file_hash::hash_file;
use towline_types::{
    BlockIndex, ChainingValue, FileHash, FileSize, ModifiedTime, Name, PermissionBits,
};
use values::{Head, ValueFile};

/// Pieces of zeros of this length become holes.
const HOLE_BYTES: usize = 64 << 10;

/// After that number of bytes the system begins to write them to the disk, so that the sync at
/// the end has little left to do.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// How often what was fetched is made durable, so that it counts after a power cut.
const SYNC_BYTES: u64 = 1 << 30;

/// Whether bytes and names are made durable before a file counts as fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    Synced,
    Unsynced,
}

/// What a file is to be.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) filesize: FileSize,
    pub(crate) blake3: FileHash,
    pub(crate) mtime: Option<ModifiedTime>,
    pub(crate) mode: Option<PermissionBits>,
}

/// See the module's description. All its methods block.
#[derive(Debug)]
pub(crate) struct Staging {
    folder: LocalFolder,
    name: String,
    file: File,
    expected: Expected,
    durability: Durability,
    /// The values of the blocks that are here.
    values: Vec<Option<ChainingValue>>,
    /// Absent for a file of one block: it is fetched anew.
    value_file: Option<ValueFile>,
    /// The file has its name, or was deleted.
    is_over: Cell<bool>,
    /// Bytes written since the system was last told to write them to the disk.
    unwritten: std::ops::Range<u64>,
    unsynced_bytes: u64,
}

/// Why a staging file cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// Another process fetches the same file.
    Busy,
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Unusable {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl Staging {
    /// Opens the staging file for that name, with what an earlier run has fetched of the same
    /// bytes.
    pub(crate) fn open(
        folder: &LocalFolder,
        target: &Name,
        expected: Expected,
        durability: Durability,
    ) -> Result<Self, Unusable> {
        let name = staging_name(target);
        let file = open_locked(folder, &format!("{name}.part"))?;
        let count = usize::try_from(block_count(expected.filesize)).map_err(io::Error::other)?;
        let mut staging = Self {
            folder: folder.clone(),
            name,
            file,
            expected,
            durability,
            values: vec![None; count],
            value_file: None,
            is_over: Cell::new(false),
            unwritten: 0..0,
            unsynced_bytes: 0,
        };
        if count > 1 {
            staging.take_up()?;
        } else {
            staging.file.set_len(0)?;
        }
        staging.file.set_len(staging.expected.filesize.get())?;
        Ok(staging)
    }

    /// Takes up what an earlier run has left.
    fn take_up(&mut self) -> io::Result<()> {
        let head = Head::of(&self.expected);
        let (value_file, known) = ValueFile::open(self.folder.fd(), &self.value_name(), head)?;
        let known = known.min(self.values.len());
        for (index, value) in value_file.read(known)?.into_iter().enumerate() {
            self.values[index] = Some(value);
        }
        // The last block may have been written when the client was killed.
        if let Some(last) = known.checked_sub(1)
            && !self.is_whole(last)?
        {
            self.values[last] = None;
        }
        let kept = self.known_bytes();
        // What lies behind is no part of the file, and would fill its holes.
        if self.file.metadata()?.len() > kept {
            self.file.set_len(kept)?;
        }
        self.value_file = Some(value_file);
        Ok(())
    }

    fn is_whole(&self, place: usize) -> io::Result<bool> {
        let index = BlockIndex::try_from(place as u64).map_err(io::Error::other)?;
        let span = index.span(self.expected.filesize);
        let length = usize::try_from(span.end - span.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        match self.file.read_exact_at(&mut bytes, span.start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(self.values[place] == Some(hash_block(index, self.expected.filesize, &bytes)))
    }

    /// How many bytes from the beginning on are here.
    pub(crate) fn known_bytes(&self) -> u64 {
        let blocks = self.values.iter().take_while(|value| value.is_some()).count() as u64;
        (blocks * BLOCK_SIZE_BYTES).min(self.expected.filesize.get())
    }

    /// Writes a block whose value is known to be right.
    pub(crate) fn write(
        &mut self,
        index: BlockIndex,
        value: ChainingValue,
        bytes: &[u8],
    ) -> io::Result<()> {
        let start = index.start().get();
        let place = usize::try_from(index.get()).map_err(io::Error::other)?;
        let is_new = self.values.get(place).is_some_and(Option::is_none);
        for (number, piece) in bytes.chunks(HOLE_BYTES).enumerate() {
            // Where nothing was written the file reads as zeros.
            if !(is_new && is_zero(piece)) {
                self.file.write_all_at(piece, start + (number * HOLE_BYTES) as u64)?;
            }
        }
        if let Some(known) = self.values.get_mut(place) {
            *known = Some(value);
        }
        if let Some(value_file) = &self.value_file {
            value_file.write(place, value)?;
        }
        self.write_back(start, start + bytes.len() as u64)
    }

    fn write_back(&mut self, start: u64, end: u64) -> io::Result<()> {
        if self.durability == Durability::Unsynced {
            return Ok(());
        }
        if self.unwritten.end != start {
            self.unwritten = start..start;
        }
        self.unwritten.end = end;
        let length = self.unwritten.end - self.unwritten.start;
        if let Some(length) = std::num::NonZeroU64::new(length)
            && length.get() >= WRITE_BACK_BYTES
        {
            // A hint: where it is not followed, the sync takes longer.
            #[cfg(target_os = "linux")]
            let _ = rustix::fs::fadvise(
                &self.file,
                self.unwritten.start,
                Some(length),
                rustix::fs::Advice::DontNeed,
            );
            self.unwritten = end..end;
        }
        self.unsynced_bytes += end - start;
        if self.unsynced_bytes >= SYNC_BYTES && self.value_file.is_some() {
            self.unsynced_bytes = 0;
            self.file.sync_data()?;
            let blocks = self.known_bytes() / BLOCK_SIZE_BYTES;
            if let Some(value_file) = &self.value_file {
                value_file.blocks_are_durable(blocks)?;
            }
        }
        Ok(())
    }

    /// The hash of what is here; nothing while a block is missing.
    pub(crate) fn hash(&self) -> Option<FileHash> {
        let values = self.values.iter().copied().collect::<Option<Vec<_>>>()?;
        Some(hash_file(self.expected.filesize, values))
    }

    /// Gives the file its mode and its time, makes it durable, and gives it its name, where the
    /// name is free; the name of the staging file is gone then. `replaces`: also where another
    /// file has the name.
    ///
    /// # Errors
    /// `AlreadyExists` where something has the name.
    pub(crate) fn publish(&self, target: &Name, replaces: bool, umask: Mode) -> io::Result<()> {
        // The staging file is the person's own until it is whole.
        let mode = match self.expected.mode {
            Some(mode) => Mode::from_raw_mode(mode.bits()),
            None => Mode::from_raw_mode(0o666).difference(umask),
        };
        rustix::fs::fchmod(&self.file, mode)?;
        if let Some(mtime) = self.expected.mtime {
            let modified = timespec(mtime);
            let access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            let times = Timestamps { last_access: access, last_modification: modified };
            rustix::fs::futimens(&self.file, &times)?;
        }
        if self.durability == Durability::Synced {
            self.file.sync_all()?;
        }
        let (fd, from) = (self.folder.fd(), format!("{}.part", self.name));
        if replaces {
            rustix::fs::renameat(fd, &from, fd, target.as_str())?;
        } else {
            rename_no_replace(&self.folder, &from, target)?;
        }
        self.is_over.set(true);
        self.forget_values();
        Ok(())
    }

    /// Deletes what is here.
    pub(crate) fn discard(&self) {
        self.is_over.set(true);
        let name = format!("{}.part", self.name);
        // What is left is taken up, or overwritten, by the next run.
        let _ = rustix::fs::unlinkat(self.folder.fd(), name, AtFlags::empty());
        self.forget_values();
    }

    fn forget_values(&self) {
        if self.value_file.is_some() {
            let _ = rustix::fs::unlinkat(self.folder.fd(), self.value_name(), AtFlags::empty());
        }
    }

    fn value_name(&self) -> String {
        format!("{}.values", self.name)
    }
}

impl Drop for Staging {
    /// A run that ends before anything has come leaves nothing.
    fn drop(&mut self) {
        if !self.is_over.get() && self.known_bytes() == 0 {
            self.discard();
        }
    }
}

/// The same for all runs that fetch into that name.
fn staging_name(target: &Name) -> String {
    let hash = blake3::hash(target.as_str().as_bytes()).to_hex();
    format!(".towline-{}", &hash[..16])
}

/// Opens the file and locks it: two processes must not write one file.
fn open_locked(folder: &LocalFolder, name: &str) -> Result<File, Unusable> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(rustix::fs::openat(folder.fd(), name, flags, mode)?);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Unusable::Busy),
            // A file system without locks.
            Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => return Ok(file),
            Err(error) => return Err(error.into()),
        }
        // The process that held the lock may have given the file its name meanwhile.
        let here = rustix::fs::statat(folder.fd(), name, AtFlags::SYMLINK_NOFOLLOW);
        let open = rustix::fs::fstat(&file)?;
        if here.is_ok_and(|here| (here.st_dev, here.st_ino) == (open.st_dev, open.st_ino)) {
            return Ok(file);
        }
    }
}

fn rename_no_replace(folder: &LocalFolder, from: &str, target: &Name) -> io::Result<()> {
    let fd = folder.fd();
    #[cfg(target_os = "linux")]
    match rustix::fs::renameat_with(fd, from, fd, target.as_str(), RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        renamed => return Ok(renamed?),
    }
    // A file system without that: a link never replaces anything either.
    rustix::fs::linkat(fd, from, fd, target.as_str(), AtFlags::empty())?;
    Ok(rustix::fs::unlinkat(fd, from, AtFlags::empty())?)
}

fn timespec(time: ModifiedTime) -> Timespec {
    let ms = time.as_ms();
    Timespec { tv_sec: ms.div_euclid(1000), tv_nsec: ms.rem_euclid(1000) * 1_000_000 }
}

fn is_zero(bytes: &[u8]) -> bool {
    // The first bytes tell of almost all pieces.
    bytes.first() == Some(&0) && bytes[..bytes.len() - 1] == bytes[1..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::Path;
    use towline_types::ModifiedTime;

    const UMASK: u32 = 0o022;

    fn name() -> Name {
        Name::new("a.bin").unwrap()
    }

    fn blocks(bytes: &[u8]) -> Vec<(BlockIndex, ChainingValue, &[u8])> {
        let filesize = FileSize::try_from(bytes.len() as u64).unwrap();
        let blocks = bytes.chunks(1 << 20).zip(0u64..);
        blocks
            .map(|(bytes, index)| {
                let index = BlockIndex::try_from(index).unwrap();
                (index, hash_block(index, filesize, bytes), bytes)
            })
            .collect()
    }

    fn expected(bytes: &[u8]) -> Expected {
        let filesize = FileSize::try_from(bytes.len() as u64).unwrap();
        let blake3 = FileHash::from_bytes(*blake3::hash(bytes).as_bytes());
        let mode = Some(PermissionBits::of_mode(0o100_640));
        Expected { filesize, blake3, mtime: Some(ModifiedTime::from_ms(-1500)), mode }
    }

    fn open(folder: &Path, bytes: &[u8]) -> Result<Staging, Unusable> {
        let folder = LocalFolder::open(folder).unwrap();
        Staging::open(&folder, &name(), expected(bytes), Durability::Synced)
    }

    fn content() -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..(5u32 << 19) + 77).map(|n| (n % 251) as u8).collect();
        bytes[1 << 20..2 << 20].fill(0);
        bytes
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_whole_with_mode_time_and_holes() {
        let home = tempfile::tempdir().unwrap();
        let bytes = content();
        let mut staging = open(home.path(), &bytes).unwrap();
        for (index, value, bytes) in blocks(&bytes) {
            assert_eq!(staging.hash(), None);
            staging.write(index, value, bytes).unwrap();
        }
        assert_eq!(staging.hash(), Some(staging.expected.blake3));
        staging.publish(&name(), false, Mode::from_raw_mode(UMASK)).unwrap();
        let path = home.path().join("a.bin");
        assert!(std::fs::read(&path).unwrap() == bytes);
        let metadata = path.metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-2, 500_000_000));
        // A block of zeros has no room on the disk, where the file system has holes.
        assert!(metadata.blocks() * 512 < metadata.len(), "{}", metadata.blocks());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);

        // The name is taken now, and only `replaces` takes it over.
        let mut other = open(home.path(), b"other").unwrap();
        let (index, value, bytes) = blocks(b"other")[0];
        other.write(index, value, bytes).unwrap();
        let taken = other.publish(&name(), false, Mode::from_raw_mode(UMASK)).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        other.publish(&name(), true, Mode::from_raw_mode(UMASK)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"other");
    }

    #[test]
    fn an_interrupted_fetch_goes_on_behind_the_last_whole_block() {
        let home = tempfile::tempdir().unwrap();
        let bytes = content();
        let blocks = blocks(&bytes);
        let mut staging = open(home.path(), &bytes).unwrap();
        for (index, value, bytes) in &blocks[..2] {
            staging.write(*index, *value, bytes).unwrap();
        }
        drop(staging);
        let staging = open(home.path(), &bytes).unwrap();
        assert_eq!(staging.known_bytes(), 2 << 20);
        drop(staging);

        // The last block is damaged: it was being written when the client was killed.
        let path = std::fs::read_dir(home.path()).unwrap();
        let path = path.map(|entry| entry.unwrap().path());
        let path = path.into_iter().find(|path| path.extension().unwrap() == "part").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"x", (1 << 20) + 5).unwrap();
        let mut staging = open(home.path(), &bytes).unwrap();
        assert_eq!(staging.known_bytes(), 1 << 20);
        for (index, value, bytes) in &blocks[1..] {
            staging.write(*index, *value, bytes).unwrap();
        }
        assert_eq!(staging.hash(), Some(staging.expected.blake3));
        drop(staging);

        // Of another file nothing is taken up.
        let staging = open(home.path(), &bytes[1..]).unwrap();
        assert_eq!(staging.known_bytes(), 0);
    }

    #[test]
    fn one_process_at_a_time_fetches_into_a_name() {
        let home = tempfile::tempdir().unwrap();
        let first = open(home.path(), b"first").unwrap();
        assert!(matches!(open(home.path(), b"first"), Err(Unusable::Busy)));
        first.discard();
        drop(first);
        drop(open(home.path(), b"second").unwrap());
    }
}
