//! What is known of the values of a document's blocks while it is read.

use towline_types::block::block_count;
use towline_types::file_hash::FileHasher;
use towline_types::{BlockIndex, ChainingValue, FileHash, FileSize};

/// See the module's description.
#[derive(Debug)]
pub(super) enum BlockValues {
    /// The file has one block or none: the value of the block is the hash of the file.
    OneBlock(ChainingValue),
    /// No value is known before its block is hashed. The values of the blocks from the first one
    /// on, as far as they were read one after another.
    Hashed(FileHasher),
}

/// Whether the values of the blocks fit the hash of the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// They do, or not all of them are known.
    Fits,
    /// They do not: some block has other bytes than were uploaded.
    Differs,
}

impl BlockValues {
    pub(super) fn new(filesize: FileSize, hash: FileHash) -> Self {
        match block_count(filesize) {
            0 | 1 => Self::OneBlock(ChainingValue::from_bytes(*hash.as_bytes())),
            _ => Self::Hashed(FileHasher::default()),
        }
    }

    /// The value that the block was uploaded with, where it is known.
    pub(super) fn known(&self, _index: BlockIndex) -> Option<ChainingValue> {
        match self {
            Self::OneBlock(value) => Some(*value),
            Self::Hashed(_) => None,
        }
    }

    /// Notes the value of a block that was read. With the last block of a file whose blocks were
    /// all read in their order, the whole is compared with the hash of the file.
    pub(super) fn hashed(
        &mut self,
        index: BlockIndex,
        value: ChainingValue,
        (filesize, hash): (FileSize, FileHash),
    ) -> Fit {
        let Self::Hashed(whole) = self else { return Fit::Fits };
        if index == BlockIndex::FIRST {
            *whole = FileHasher::default();
        }
        if index.get() == whole.blocks() {
            whole.push(value);
        }
        let is_whole = whole.blocks() == block_count(filesize);
        if is_whole && whole.finish() != hash { Fit::Differs } else { Fit::Fits }
    }
}
