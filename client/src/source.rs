//! The local file that is being uploaded.

use crate::failure::Failure;
#[cfg(target_os = "linux")]
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
#[cfg(target_os = "linux")]
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};
use towline_protocol::block::{BlockHasher, block_count};
use towline_protocol::{BlockIndex, ChainingValue, FileSize};
use towline_state::state_file::ModifiedNs;

/// Read and hashed in one go, so that the hash finds the bytes in the cache.
const PIECE_BYTES: usize = 256 << 10;

/// An open local file and what it looked like when it was opened. All its
/// methods block.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    file: File,
    filesize: FileSize,
    modified: Option<ModifiedNs>,
    identity: Identity,
}

/// What tells a file from another one, and from itself after a change that hides
/// behind an old time of modification. Not every system has all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// When content, name or rights last changed; nobody can set it.
    pub(crate) changed_ns: Option<i64>,
    pub(crate) device: Option<u64>,
    pub(crate) inode: Option<u64>,
}

/// What has become of a file since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sameness {
    Same,
    /// Something has, perhaps its rights or its name: the bytes must be looked at.
    Touched,
    Changed,
}

impl Source {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |source| Failure::File { action: "open", path: path.to_owned(), source };
        // Before opening: to open a FIFO would be to wait for its other end.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Failure::NotAFile { path: path.to_owned() });
        }
        let absolute = std::fs::canonicalize(path).map_err(failed)?;
        let file = File::open(&absolute).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Failure::NotAFile { path: path.to_owned() });
        }
        let (filesize, modified) = look(&metadata).map_err(failed)?;
        let identity = Identity::of(&metadata);
        Ok(Self { path: absolute, file, filesize, modified, identity })
    }

    /// Where it lies: absolute, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn filesize(&self) -> FileSize {
        self.filesize
    }

    pub(crate) fn modified(&self) -> Option<ModifiedNs> {
        self.modified
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it still looks as it did when it was opened.
    pub(crate) fn sameness(&self) -> io::Result<Sameness> {
        let metadata = self.file.metadata()?;
        Ok(if look(&metadata)? != (self.filesize, self.modified) {
            Sameness::Changed
        } else if Identity::of(&metadata) != self.identity {
            Sameness::Touched
        } else {
            Sameness::Same
        })
    }

    /// Whether the blocks of known value still have it.
    pub(crate) fn agrees_with(&self, values: &[Option<ChainingValue>]) -> io::Result<bool> {
        let mut now = vec![None; values.len()];
        let known = |number| {
            usize::try_from(number).ok().and_then(|n| values.get(n)).is_some_and(Option::is_some)
        };
        self.hash_blocks(&mut now, known, || false)?;
        Ok(now == values)
    }

    /// Reads one block into `buffer`, which becomes as long as the block, and
    /// hashes it on the way.
    pub(crate) fn read_block(
        &self,
        index: BlockIndex,
        buffer: &mut Vec<u8>,
    ) -> io::Result<ChainingValue> {
        self.read_block_by(index, buffer, |piece, position| {
            read_exact_at(&self.file, piece, position)
        })
    }

    /// The same where nothing has to be waited for, because the system has the whole block
    /// in memory. Else nothing, and what is in `buffer` is of no use.
    #[cfg(target_os = "linux")]
    pub(crate) fn read_block_from_memory(
        &self,
        index: BlockIndex,
        buffer: &mut Vec<u8>,
    ) -> Option<ChainingValue> {
        self.read_block_by(index, buffer, |piece, mut position| {
            let mut filled = 0;
            while filled < piece.len() {
                let into = &mut [IoSliceMut::new(&mut piece[filled..])];
                match preadv2(&self.file, into, position, ReadWriteFlags::NOWAIT) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => {
                        filled += count;
                        position += count as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })
        .ok()
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn read_block_from_memory(
        &self,
        _: BlockIndex,
        _: &mut Vec<u8>,
    ) -> Option<ChainingValue> {
        None
    }

    fn read_block_by(
        &self,
        index: BlockIndex,
        buffer: &mut Vec<u8>,
        read: impl Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<ChainingValue> {
        let span = index.span(self.filesize);
        let length = usize::try_from(span.end - span.start).map_err(io::Error::other)?;
        buffer.resize(length, 0);
        let mut hasher = BlockHasher::new(index, self.filesize);
        let mut position = span.start;
        for piece in buffer.chunks_mut(PIECE_BYTES) {
            read(piece, position)?;
            hasher.update(piece);
            position += piece.len() as u64;
        }
        Ok(hasher.finish())
    }

    /// Hashes those blocks whose numbers `wanted` picks and puts their values
    /// into `values`, until `stop` says so.
    pub(crate) fn hash_blocks(
        &self,
        values: &mut [Option<ChainingValue>],
        wanted: impl Fn(u64) -> bool,
        stop: impl Fn() -> bool,
    ) -> io::Result<()> {
        let mut buffer = Vec::new();
        for (number, value) in (0..block_count(self.filesize)).zip(values) {
            if stop() {
                break;
            }
            if let (true, Some(index)) = (wanted(number), BlockIndex::new(number)) {
                *value = Some(self.read_block(index, &mut buffer)?);
            }
        }
        Ok(())
    }
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let nanoseconds = metadata.ctime().checked_mul(1_000_000_000);
        Self {
            changed_ns: nanoseconds.and_then(|ns| ns.checked_add(metadata.ctime_nsec())),
            device: Some(metadata.dev()),
            inode: Some(metadata.ino()),
        }
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Self {
        Self::default()
    }
}

fn look(metadata: &Metadata) -> io::Result<(FileSize, Option<ModifiedNs>)> {
    let filesize = FileSize::try_from(metadata.len()).map_err(io::Error::other)?;
    Ok((filesize, metadata.modified().ok().and_then(ModifiedNs::new)))
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, position)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut position: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use towline_protocol::block::hash_file;

    #[test]
    fn blocks_hash_to_the_file_and_a_change_is_noticed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..(2u32 << 20) + 77).map(|i| i.to_le_bytes()[1]).collect();
        file.write_all(&bytes).unwrap();
        let source = Source::open(file.path()).unwrap();
        let mut values = vec![None; 3];
        source.hash_blocks(&mut values, |_| true, || false).unwrap();
        let hash = hash_file(source.filesize(), values.into_iter().flatten());
        assert_eq!(hash.to_string(), {
            let mut hasher = BlockHasher::new(BlockIndex::FIRST, FileSize::try_from(1).unwrap());
            hasher.update(&bytes);
            hasher.finish().to_string()
        });
        assert_eq!(source.sameness().unwrap(), Sameness::Same);
        assert!(source.agrees_with(&[None, None, None]).unwrap());
        file.write_all(b"more").unwrap();
        assert_eq!(source.sameness().unwrap(), Sameness::Changed);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Source::open(folder.path()), Err(Failure::NotAFile { .. })));
        let missing = folder.path().join("missing");
        assert!(matches!(Source::open(&missing), Err(Failure::File { .. })));
    }
}
