//! The right to write to one upload.

/// In which order a writer sends its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Every byte follows the one before; blocks need no announcement.
    Sequence,
    /// Blocks in any order, each announced by its value.
    AnyBlock,
}

/// The right to write to one upload, until a later lease is granted. It is a
/// number and no lock: nobody has to give it back for the next one to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(crate) generation: u64,
    pub(crate) order: Order,
}

impl Lease {
    /// How often the upload has been taken up so far.
    #[must_use]
    pub const fn generation(self) -> u64 {
        self.generation
    }

    /// What the writer said of its blocks.
    #[must_use]
    pub const fn order(self) -> Order {
        self.order
    }
}
