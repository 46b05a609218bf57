//! The bytes of a file that is being fetched: a file beside the one that it is to become.
//!
//! Beside the bytes lie the values of their blocks. A value is written after its block, so after
//! a client was killed each block with a value is whole, and the fetching goes on with the others.
//! Of each run of blocks the last one is read back: it may have been written at that moment. Over
//! one connection there is one run. After a power cut only those blocks count that were synced
//! before; which these are stands in the head of the values.

#[cfg(test)]
mod tests;
mod values;

use super::attributes;
use super::local_folder::LocalFolder;
use crate::staging_name;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
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

/// How many ranges of bytes are remembered that the system was not told to write: as many as there
/// may be connections.
const RANGES_MAX: usize = 16;

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
    /// The number of blocks of the file.
    blocks: usize,
    /// The values of the blocks that are here, up to the last one: a server can name any length,
    /// and memory is taken only for what has come.
    values: Vec<Option<ChainingValue>>,
    /// Absent for a file of one block: it is fetched anew.
    value_file: Option<ValueFile>,
    /// The file has its name, or was deleted.
    is_over: Cell<bool>,
    /// From there on the file reads as zeros where nothing was written by this run.
    zeros_from: u64,
    /// Bytes written since the system was last told to write them to the disk: a range for each
    /// connection, the latest one last.
    unwritten: Vec<Range<u64>>,
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
        let name = staging_name::stem(target);
        let file = open_locked(folder, &format!("{name}.part"))?;
        let count = usize::try_from(block_count(expected.filesize)).map_err(io::Error::other)?;
        let mut staging = Self {
            folder: folder.clone(),
            name,
            file,
            expected,
            durability,
            blocks: count,
            values: Vec::new(),
            value_file: None,
            is_over: Cell::new(false),
            zeros_from: 0,
            unwritten: Vec::new(),
            unsynced_bytes: 0,
        };
        if count > 1 {
            staging.take_up()?;
        } else {
            // An earlier run may have left the values of a longer file.
            if staging.file.metadata()?.len() > 0 {
                staging.forget_values();
            }
            staging.file.set_len(0)?;
        }
        staging.file.set_len(staging.expected.filesize.get())?;
        Ok(staging)
    }

    /// Takes up what an earlier run has left.
    fn take_up(&mut self) -> io::Result<()> {
        let head = Head::of(&self.expected);
        let (value_file, known) = ValueFile::open(self.folder.fd(), &self.value_name(), head)?;
        self.values = value_file.read(known.min(self.blocks))?;
        let known = self.values.len();
        let is_end = |values: &[Option<ChainingValue>], place: usize| {
            values[place].is_some() && values.get(place + 1).is_none_or(Option::is_none)
        };
        for place in (0..known).rev() {
            if is_end(&self.values, place) && !self.is_whole(place)? {
                self.values[place] = None;
            }
        }
        let last = self.values.iter().rposition(Option::is_some);
        let kept = (last.map_or(0, |last| last as u64 + 1) * BLOCK_SIZE_BYTES)
            .min(self.expected.filesize.get());
        // What lies after these blocks is no part of the file, and would fill its holes.
        if self.file.metadata()?.len() > kept {
            self.file.set_len(kept)?;
        }
        self.zeros_from = kept;
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
    fn known_bytes(&self) -> u64 {
        let blocks = self.values.iter().take_while(|value| value.is_some()).count() as u64;
        (blocks * BLOCK_SIZE_BYTES).min(self.expected.filesize.get())
    }

    /// The bytes of the blocks that are not here, in their order.
    pub(super) fn missing(&self) -> Vec<Range<u64>> {
        let mut missing: Vec<Range<u64>> = Vec::new();
        for (place, value) in self.values.iter().enumerate() {
            let Ok(index) = BlockIndex::try_from(place as u64) else { break };
            let span = index.span(self.expected.filesize);
            match missing.last_mut() {
                _ if value.is_some() => {}
                Some(last) if last.end == span.start => last.end = span.end,
                _ => missing.push(span),
            }
        }
        let (known, filesize) = (self.values.len(), self.expected.filesize.get());
        let behind = known as u64 * BLOCK_SIZE_BYTES..filesize;
        match missing.last_mut() {
            _ if known >= self.blocks => {}
            Some(last) if last.end == behind.start => last.end = filesize,
            _ => missing.push(behind),
        }
        missing
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
        if place >= self.values.len() && place < self.blocks {
            self.values.resize(place + 1, None);
        }
        let is_new =
            self.values.get(place).is_some_and(Option::is_none) && start >= self.zeros_from;
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
        let place = self.unwritten.iter().position(|range| range.end == start);
        let begin = place.map_or(start, |place| self.unwritten.remove(place).start);
        let mut range = begin..end;
        if let Some(length) = std::num::NonZeroU64::new(end - begin)
            && length.get() >= WRITE_BACK_BYTES
        {
            // A hint: where it is not followed, the sync takes longer.
            #[cfg(target_os = "linux")]
            let _ =
                rustix::fs::fadvise(&self.file, begin, Some(length), rustix::fs::Advice::DontNeed);
            range = end..end;
        }
        if self.unwritten.len() >= RANGES_MAX {
            self.unwritten.remove(0);
        }
        self.unwritten.push(range);
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
        if self.values.len() < self.blocks {
            return None;
        }
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
        match self.expected.mode {
            Some(mode) => attributes::set_mode(&self.file, mode)?,
            None => {
                rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o666).difference(umask))?;
            }
        }
        if let Some(mtime) = self.expected.mtime {
            attributes::set_mtime(&self.file, mtime)?;
        }
        if self.durability == Durability::Synced {
            self.file.sync_all()?;
        }
        let (fd, from) = (self.folder.fd(), format!("{}.part", self.name));
        if replaces {
            rustix::fs::renameat(fd, &from, fd, target.as_str())?;
        } else {
            rename_no_replace(&self.folder, &from, &self.folder, target)?;
        }
        self.is_over.set(true);
        if self.value_file.is_some() {
            self.forget_values();
        }
        Ok(())
    }

    /// Deletes what is here.
    pub(crate) fn discard(&self) {
        self.is_over.set(true);
        let name = format!("{}.part", self.name);
        // What is left is taken up, or overwritten, by the next run.
        let _ = rustix::fs::unlinkat(self.folder.fd(), name, AtFlags::empty());
        if self.value_file.is_some() {
            self.forget_values();
        }
    }

    /// Deletes the values, which is an error nowhere: a run that finds them alone makes them anew.
    fn forget_values(&self) {
        let _ = rustix::fs::unlinkat(self.folder.fd(), self.value_name(), AtFlags::empty());
    }

    fn value_name(&self) -> String {
        format!("{}.values", self.name)
    }
}

impl Drop for Staging {
    /// A run that ends before anything has come leaves nothing.
    fn drop(&mut self) {
        if !self.is_over.get() && self.values.iter().all(Option::is_none) {
            self.discard();
        }
    }
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

/// Gives a file a name that is free, in the same folder or in another one.
///
/// # Errors
/// `AlreadyExists` where something has the name.
pub(super) fn rename_no_replace(
    folder: &LocalFolder,
    from: &str,
    to: &LocalFolder,
    target: &Name,
) -> io::Result<()> {
    let (fd, to) = (folder.fd(), to.fd());
    #[cfg(target_os = "linux")]
    match rustix::fs::renameat_with(fd, from, to, target.as_str(), RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        renamed => return Ok(renamed?),
    }
    // A file system without that: a link never replaces anything either.
    rustix::fs::linkat(fd, from, to, target.as_str(), AtFlags::empty())?;
    Ok(rustix::fs::unlinkat(fd, from, AtFlags::empty())?)
}

fn is_zero(bytes: &[u8]) -> bool {
    // The first bytes tell of almost all pieces.
    bytes.first() == Some(&0) && bytes[..bytes.len() - 1] == bytes[1..]
}
