//! How the writers of an upload send its bytes.

/// In which order the bytes of an upload come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockOrder {
    /// Each byte follows the one before it, so there is one writer.
    InOrder,
    /// Blocks in any order and by several writers; inside a block each byte follows the one
    /// before it.
    AnyBlock,
    /// Ranges of bytes in any order and by several writers, wherever they begin and end. A
    /// block whose bytes did not come in their order is read back to be hashed.
    AnyRange,
}

/// What a block has to be checked against before it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// Its writer announces the value of each block. A whole block without its announcement
    /// is not held.
    Announced,
    /// Nothing: a block is held once it is whole. A value that is announced all the same
    /// is compared.
    Unannounced,
}

/// How a writer sends. The order of the bytes and the check of the blocks do not depend
/// on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingMode {
    /// In which order the bytes come.
    pub order: BlockOrder,
    /// What the blocks are checked against.
    pub integrity: Integrity,
}

impl SendingMode {
    /// Bytes in order, and nothing to check a block against: the simplest writer.
    pub const PLAIN: Self = Self { order: BlockOrder::InOrder, integrity: Integrity::Unannounced };

    /// Blocks in any order, each announced by its value.
    pub const BLOCKS: Self = Self { order: BlockOrder::AnyBlock, integrity: Integrity::Announced };

    /// Ranges of bytes in any order, with nothing to check a block against.
    pub const RANGES: Self =
        Self { order: BlockOrder::AnyRange, integrity: Integrity::Unannounced };
}
