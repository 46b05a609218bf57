//! The right to write to one upload.

use towline_types::Generation;

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
/// Several writers may share it; see [`Upload::join`](crate::Upload::join).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(crate) generation: Generation,
    pub(crate) order: Order,
}

impl Lease {
    /// What tells it from all other leases of its upload.
    #[must_use]
    pub const fn generation(self) -> Generation {
        self.generation
    }

    /// What the writer said of its blocks.
    #[must_use]
    pub const fn order(self) -> Order {
        self.order
    }
}
