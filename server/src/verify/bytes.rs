//! Reads files block by block through one buffer, and hashes what it reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use towline_protocol::block::{block_count, hash_block, hash_file};
use towline_protocol::{BlockIndex, ChainingValue, FileHash, FileSize};

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
        match file.read_exact_at(&mut self.buffer, index.start().get()) {
            Ok(()) => {
                self.bytes += length;
                Ok(Some(hash_block(index, filesize, &self.buffer)))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The hash of the whole file; nothing where it is shorter than that.
    pub(super) fn hash(&mut self, file: &File, filesize: FileSize) -> io::Result<Option<FileHash>> {
        let mut values = Vec::new();
        for index in (0..block_count(filesize)).map_while(BlockIndex::new) {
            match self.value(file, filesize, index)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(hash_file(filesize, values)))
    }

    /// How many bytes were hashed.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
