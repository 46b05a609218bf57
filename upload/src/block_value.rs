//! What the bytes of a block hash to.

use crate::Length;
use towline_types::block::{BLOCK_SIZE_BYTES, block_count};
use towline_types::{BlockHasher, BlockIndex, ChainingValue, FileSize};

/// What the bytes of a block hash to.
///
/// The value of a file's only block is made otherwise than that of a first block after which
/// more follow. As long as the length of the file is not declared, the first block has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockValue {
    value: ChainingValue,
    as_only_block: Option<ChainingValue>,
}

impl BlockValue {
    /// The value of a first block while it is not known whether it is the only one: `value`
    /// where more follow, `as_only_block` where none does.
    #[must_use]
    pub const fn of_first(value: ChainingValue, as_only_block: ChainingValue) -> Self {
        Self { value, as_only_block: Some(as_only_block) }
    }

    /// The value of the block whose bytes the hasher has taken in.
    #[must_use]
    pub fn of(hasher: &BlockHasher, index: BlockIndex, length: Length) -> Self {
        let value = hasher.finish_in(length.bound());
        let may_be_only = index == BlockIndex::FIRST && length.declared().is_none();
        let one_block = FileSize::try_from(BLOCK_SIZE_BYTES).ok().filter(|_| may_be_only);
        Self { value, as_only_block: one_block.map(|size| hasher.finish_in(size)) }
    }

    /// The value of the block in a file of which it is known to be the only block or not.
    #[must_use]
    pub const fn value(self) -> ChainingValue {
        self.value
    }

    /// The value of the block where no other follows, if that is not decided yet.
    #[must_use]
    pub const fn as_only_block(self) -> Option<ChainingValue> {
        self.as_only_block
    }

    /// The value in a file of that length: once the length is declared, the first block has one
    /// value and not two.
    pub(crate) fn in_file(self, length: Length) -> Self {
        match length {
            Length::Declared(filesize) if block_count(filesize) == 1 => {
                self.as_only_block.map_or(self, Self::from)
            }
            Length::Declared(_) => self.value.into(),
            Length::Open { .. } => self,
        }
    }

    /// Whether a writer may have announced this value for the block.
    pub(crate) fn matches(self, announced: ChainingValue) -> bool {
        self.value == announced || self.as_only_block == Some(announced)
    }
}

impl From<ChainingValue> for BlockValue {
    fn from(value: ChainingValue) -> Self {
        Self { value, as_only_block: None }
    }
}
