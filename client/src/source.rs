//! The local file that is being uploaded.
//!
//! The client believes the system's size of a file only where the file ends there, which it checks
//! by reading one byte beyond the end. Files of `/proc` have the size 0 and some content, and files
//! of `/sys` have less content than their size; such a file is read once, to its end, and those
//! bytes are sent.

mod attributes;
mod identity;
mod kind;
mod read_at;

use crate::failure::Failure;
pub(crate) use attributes::Attributes;
pub(crate) use identity::Identity;
pub(crate) use kind::special;
pub(crate) use read_at::open_without_waiting;
use read_at::{copy_exact_at, ends_at, read_exact_at, read_up_to};
#[cfg(target_os = "linux")]
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::{File, Metadata};
#[cfg(target_os = "linux")]
use std::io::IoSliceMut;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};
use towline_state::state_file::ModifiedNs;
use towline_types::BlockHasher;
use towline_types::block::{BLOCK_SIZE_BYTES, block_count};
use towline_types::file_hash::hash_file;
use towline_types::{BlockIndex, ChainingValue, FileHash, FileSize};

/// The number of bytes that are read and hashed at a time, so that they are still in the
/// processor's cache when they are hashed.
const PIECE_BYTES: usize = 256 << 10;

/// The most bytes that are read of a file whose size is not known in advance.
const UNKNOWN_SIZE_BYTES_MAX: usize = 64 << 20;

/// How often the client looks at a file that changes while it is being opened.
const LOOKS_MAX: u32 = 4;

/// An open local file, and its size, times and identity when it was opened. All methods block.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    content: Content,
    filesize: FileSize,
    modified: Option<ModifiedNs>,
    identity: Identity,
    attributes: Attributes,
}

/// Where the bytes of a file come from.
#[derive(Debug)]
enum Content {
    /// The open file, which is read at any position.
    File(File),
    /// All bytes of a file whose size was not known before it was read.
    Read(Vec<u8>),
}

/// Whether a file has changed since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sameness {
    Same,
    /// Something has changed, perhaps only its rights or its name: the bytes must be compared.
    Touched,
    Changed,
}

impl Source {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let failed =
            |source| Failure::File { action: "open", path: path.to_owned(), source, kept: None };
        // This comes before opening: the opening of a FIFO waits for its other end.
        let not_a_file = |kind| Failure::NotAFile { path: path.to_owned(), what: special(kind) };
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() {
            return Err(not_a_file(kind));
        }
        let absolute = std::fs::canonicalize(path).map_err(failed)?;
        let file = open_without_waiting(&absolute).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if !kind.is_file() {
            return Err(not_a_file(kind));
        }
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::WouldBlock => Failure::NoEnd { path: path.to_owned() },
            _ => Failure::File { action: "read", path: path.to_owned(), source, kept: None },
        };
        for _ in 0..LOOKS_MAX {
            let metadata = file.metadata().map_err(failed)?;
            let (filesize, modified) = look(&metadata).map_err(failed)?;
            if ends_at(&file, filesize).map_err(unreadable)? {
                let identity = Identity::of(&metadata);
                let attributes = Attributes::of(&metadata);
                let content = Content::File(file);
                return Ok(Self {
                    path: absolute,
                    content,
                    filesize,
                    modified,
                    identity,
                    attributes,
                });
            }
            let after = file.metadata().map_err(failed)?;
            // The file does not end where its size says. A file that is being written has another
            // size by now, and the loop looks at it again. A file with the same size as before is
            // one of `/proc` or `/sys`, whose size means nothing: it is read to its end.
            if look(&after).map_err(failed)? == (filesize, modified) {
                // Some of these files are read from the descriptor's offset, which the check of the
                // end has moved.
                (&file).rewind().map_err(unreadable)?;
                let Some(bytes) = read_up_to(&file, UNKNOWN_SIZE_BYTES_MAX).map_err(unreadable)?
                else {
                    return Err(Failure::UnknownSize { path: path.to_owned() });
                };
                let filesize = FileSize::try_from(bytes.len() as u64);
                let filesize = filesize.map_err(|error| unreadable(io::Error::other(error)))?;
                return Ok(Self {
                    path: absolute,
                    content: Content::Read(bytes),
                    filesize,
                    modified: None,
                    identity: Identity::default(),
                    attributes: Attributes::default(),
                });
            }
        }
        Err(Failure::Changed { kept: None, is_shorter: false })
    }

    /// The path of the file: absolute, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn filesize(&self) -> FileSize {
        self.filesize
    }

    pub(crate) fn modified(&self) -> Option<ModifiedNs> {
        self.modified
    }

    /// What a server keeps of the file besides its bytes.
    pub(crate) fn attributes(&self) -> Attributes {
        self.attributes
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether size, times and identity are those of the opening, and the file still ends at its
    /// size.
    pub(crate) fn sameness(&self) -> io::Result<Sameness> {
        // A file that was read to its end is not read again.
        let Content::File(file) = &self.content else { return Ok(Sameness::Same) };
        let metadata = file.metadata()?;
        let is_as_it_was = look(&metadata)? == (self.filesize, self.modified);
        Ok(if !is_as_it_was || !ends_at(file, self.filesize)? {
            Sameness::Changed
        } else if Identity::of(&metadata) != self.identity {
            Sameness::Touched
        } else {
            Sameness::Same
        })
    }

    /// Whether each block of known value still has that value.
    pub(crate) fn agrees_with(&self, values: &[Option<ChainingValue>]) -> io::Result<bool> {
        let mut now = vec![None; values.len()];
        let known = |number| {
            usize::try_from(number).ok().and_then(|n| values.get(n)).is_some_and(Option::is_some)
        };
        self.hash_blocks(&mut now, known, || false)?;
        Ok(now == values)
    }

    /// Reads one block into `buffer`, which gets the length of the block, and hashes it while
    /// reading.
    pub(crate) fn read_block(
        &self,
        index: BlockIndex,
        buffer: &mut Vec<u8>,
    ) -> io::Result<ChainingValue> {
        self.read_block_by(index, buffer, |piece, position| match &self.content {
            Content::File(file) => read_exact_at(file, piece, position),
            Content::Read(bytes) => copy_exact_at(bytes, piece, position),
        })
    }

    /// The same without waiting, where the system has the whole block in memory. Otherwise returns
    /// nothing, and the content of `buffer` has no meaning.
    #[cfg(target_os = "linux")]
    pub(crate) fn read_block_from_memory(
        &self,
        index: BlockIndex,
        buffer: &mut Vec<u8>,
    ) -> Option<ChainingValue> {
        self.read_block_by(index, buffer, |piece, mut position| {
            let file = match &self.content {
                Content::File(file) => file,
                Content::Read(bytes) => return copy_exact_at(bytes, piece, position),
            };
            let mut filled = 0;
            while filled < piece.len() {
                let into = &mut [IoSliceMut::new(&mut piece[filled..])];
                match preadv2(file, into, position, ReadWriteFlags::NOWAIT) {
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

    /// The hash of the whole file; blocks. Before each block `told` gets the number of bytes that
    /// were read.
    pub(crate) fn hash(&self, told: impl Fn(u64)) -> io::Result<FileHash> {
        let count = usize::try_from(block_count(self.filesize)).map_err(io::Error::other)?;
        let mut values = vec![None; count];
        let wanted = |number| {
            told(number * BLOCK_SIZE_BYTES);
            true
        };
        self.hash_blocks(&mut values, wanted, || false)?;
        Ok(hash_file(self.filesize, values.into_iter().flatten()))
    }

    /// Hashes the blocks whose numbers `wanted` picks, and puts their values into `values`, until
    /// `stop` ends that.
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

fn look(metadata: &Metadata) -> io::Result<(FileSize, Option<ModifiedNs>)> {
    let filesize = FileSize::try_from(metadata.len()).map_err(io::Error::other)?;
    Ok((filesize, metadata.modified().ok().and_then(ModifiedNs::new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use towline_types::file_hash::hash_file;

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
    fn a_file_that_has_no_size_before_it_is_read_is_read_to_its_end() {
        // Small and large, with too little and too much content: the sizes of these files mean
        // nothing.
        let fictions = [
            "/proc/version",
            "/proc/filesystems",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/sys/class/net/lo/address",
        ];
        let mut tried = 0;
        for path in fictions.map(Path::new).into_iter().filter(|path| path.exists()) {
            let said = std::fs::metadata(path).unwrap().len();
            let expected = std::fs::read(path).unwrap();
            let source = Source::open(path).unwrap();
            assert_eq!(source.filesize().get(), expected.len() as u64, "{path:?} says {said}");
            assert_ne!(source.filesize().get(), said, "{path:?}");
            let (mut buffer, mut found) = (Vec::new(), Vec::new());
            for number in 0..block_count(source.filesize()) {
                let index = BlockIndex::new(number).unwrap();
                source.read_block(index, &mut buffer).unwrap();
                found.extend_from_slice(&buffer);
                #[cfg(target_os = "linux")]
                assert!(source.read_block_from_memory(index, &mut buffer).is_some());
            }
            assert!(found == expected, "{path:?} is what was read");
            assert_eq!(source.sameness().unwrap(), Sameness::Same);
            tried += 1;
        }
        #[cfg(target_os = "linux")]
        assert!(tried >= 2, "this system has /proc");
        let _ = tried;
    }

    #[test]
    fn no_more_than_the_bound_is_read_of_a_file_without_a_size() {
        assert_eq!(read_up_to(&[7; 10][..], 10).unwrap(), Some(vec![7; 10]));
        assert_eq!(read_up_to(&[7; 11][..], 10).unwrap(), None);
        assert_eq!(read_up_to(io::repeat(7), 10).unwrap(), None);
    }

    #[test]
    fn an_ordinary_file_ends_where_it_says() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let size = |bytes| FileSize::try_from(bytes).unwrap();
        assert!(ends_at(file.as_file(), size(0)).unwrap());
        file.write_all(b"hello").unwrap();
        for (bytes, ends) in [(0, false), (4, false), (5, true), (6, false), (4096, false)] {
            assert_eq!(ends_at(file.as_file(), size(bytes)).unwrap(), ends, "at {bytes}");
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Source::open(folder.path()), Err(Failure::NotAFile { .. })));
        let missing = folder.path().join("missing");
        assert!(matches!(Source::open(&missing), Err(Failure::File { .. })));
    }
}
