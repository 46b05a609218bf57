//! What is known of the values of a document's blocks while it is read.

use crate::log;
use crate::shared::Shared;
use towline_state::catalog::BLOCKS_PER_PAGE;
use towline_types::block::block_count;
use towline_types::file_hash::FileHasher;
use towline_types::{BlockIndex, ChainingValue, DocumentId, FileHash, FileSize};

/// See the module's description.
#[derive(Debug)]
pub(super) enum BlockValues {
    /// The file has one block or none: the value of the block is the hash of the file.
    OneBlock(ChainingValue),
    /// Whether the catalog keeps the values was not asked yet.
    NotAsked,
    /// The catalog keeps the values: the page of them that was used last.
    Kept { page: u64, values: Vec<ChainingValue> },
    /// The catalog does not keep the values: they are known of blocks that were hashed.
    Hashed(HashedBlocks),
}

/// The blocks from the first one on, as far as they were read one after another.
#[derive(Debug, Default)]
pub(super) struct HashedBlocks {
    whole: FileHasher,
    /// Their values, while they are few enough to be kept.
    values: Vec<ChainingValue>,
}

/// What the values of blocks are compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    pub(super) id: DocumentId,
    pub(super) filesize: FileSize,
    pub(super) hash: FileHash,
}

/// Whether the values of the blocks fit the hash of the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// They do, or not all of them are known.
    Fits,
    /// They do not: some block has other bytes than were uploaded.
    Differs,
}

/// The most values that a session collects of a file whose values are not kept, to keep them: 2 MiB
/// of memory, for a file of 64 GiB. The blocks of a longer file are hashed at each read.
const COLLECTED_MAX: u64 = 16 * BLOCKS_PER_PAGE;

impl BlockValues {
    pub(super) fn new(filesize: FileSize, hash: FileHash) -> Self {
        match block_count(filesize) {
            0 | 1 => Self::OneBlock(ChainingValue::from_bytes(*hash.as_bytes())),
            _ => Self::NotAsked,
        }
    }

    /// Whether the value of each block of that file is known. Blocks.
    pub(super) fn are_kept(shared: &Shared, id: DocumentId, filesize: FileSize) -> bool {
        block_count(filesize) <= 1
            || shared.catalog.keeps_block_values(id, filesize).wait().unwrap_or(false)
    }

    /// Values that are found by reading the file, whatever the catalog keeps.
    pub(super) fn to_be_found() -> Self {
        Self::Hashed(HashedBlocks::default())
    }

    /// Whether the values of a file of that size are kept once they were found.
    pub(super) fn can_be_kept(filesize: FileSize) -> bool {
        block_count(filesize) <= COLLECTED_MAX
    }

    /// The value that the block was uploaded with, where it is known. Blocks.
    pub(super) fn known(
        &mut self,
        shared: &Shared,
        id: DocumentId,
        index: BlockIndex,
    ) -> Option<ChainingValue> {
        let wanted = index.get() / BLOCKS_PER_PAGE;
        match self {
            Self::OneBlock(value) => return Some(*value),
            Self::Hashed(_) => return None,
            Self::Kept { page, .. } if *page == wanted => {}
            Self::Kept { .. } | Self::NotAsked => *self = Self::ask(shared, id, wanted),
        }
        let Self::Kept { values, .. } = self else { return None };
        let place = usize::try_from(index.get() % BLOCKS_PER_PAGE).expect("a page fits in memory");
        values.get(place).copied()
    }

    fn ask(shared: &Shared, id: DocumentId, page: u64) -> Self {
        match shared.catalog.block_values(id, page).wait() {
            Ok(Some(values)) => Self::Kept { page, values },
            Ok(None) => Self::Hashed(HashedBlocks::default()),
            Err(error) => {
                let error = log::chain(&error);
                tracing::warn!(document_id = %id, error, "the kept values of a document's blocks cannot be read");
                Self::Hashed(HashedBlocks::default())
            }
        }
    }

    /// Notes the value of a block that was read. With the last block of a file whose blocks were
    /// all read in their order, the whole is compared with the hash of the file; where it fits, the
    /// catalog keeps the values. Blocks.
    pub(super) fn hashed(
        &mut self,
        shared: &Shared,
        index: BlockIndex,
        value: ChainingValue,
        file: Whole,
    ) -> Fit {
        let Self::Hashed(blocks) = self else { return Fit::Fits };
        if index == BlockIndex::FIRST {
            *blocks = HashedBlocks::default();
        }
        if index.get() != blocks.whole.blocks() {
            return Fit::Fits;
        }
        blocks.whole.push(value);
        let count = block_count(file.filesize);
        if count <= COLLECTED_MAX {
            blocks.values.push(value);
        }
        if blocks.whole.blocks() < count {
            return Fit::Fits;
        }
        if blocks.whole.finish() != file.hash {
            return Fit::Differs;
        }
        blocks.keep(shared, file.id);
        *self = Self::NotAsked;
        Fit::Fits
    }
}

impl HashedBlocks {
    /// Has the catalog keep the values, which fit the hash of the file. Where it cannot, they are
    /// hashed again the next time.
    fn keep(&self, shared: &Shared, id: DocumentId) {
        let page_values = usize::try_from(BLOCKS_PER_PAGE).expect("a page fits in memory");
        let pages = self.values.chunks(page_values).zip(0..);
        let kept: Vec<_> = pages
            .map(|(values, page)| shared.catalog.keep_block_values(id, page, values.to_vec()))
            .collect();
        for kept in kept {
            if let Err(error) = kept.wait() {
                tracing::debug!(document_id = %id, %error, "the values of its blocks are not kept");
            }
        }
    }
}
