//! Reads files block by block through one buffer, and hashes what it reads.

use crate::read_and_hash;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use towline_types::block::hash_block;
use towline_types::{BlockIndex, ChainingValue, FileHash, FileSize, Offset};

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// All bytes that were hashed so far.
    bytes: u64,
}

impl Reader {
    /// The value of one block; nothing where the file ends before the block does.
    pub(super) fn value(
        &mut self,
        file: &File,
        filesize: FileSize,
        index: BlockIndex,
    ) -> io::Result<Option<ChainingValue>> {
        let length = index.length_bytes(filesize);
        self.buffer.resize(usize::try_from(length).expect("a block fits in memory"), 0);
        let read = file.read_exact_at(&mut self.buffer, index.start().get());
        Ok(whole(read)?.map(|()| {
            self.bytes += length;
            hash_block(index, filesize, &self.buffer)
        }))
    }

    /// The hash of the whole file; nothing where it is shorter than that.
    pub(super) fn hash(&mut self, file: &File, filesize: FileSize) -> io::Result<Option<FileHash>> {
        let read = |buffer: &mut [u8], at: Offset| file.read_exact_at(buffer, at.get());
        let hash = read_and_hash::of_blocks(filesize, read, |block, _| {
            self.bytes += block.len() as u64;
            Ok(true)
        });
        Ok(whole(hash)?.flatten())
    }

    /// How many bytes were hashed.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What was read; nothing where the file ended before.
fn whole<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(Some),
    }
}
