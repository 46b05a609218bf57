//! The proof that the catalog promises an offset.

use std::fmt;
use towline_types::Offset;

/// How far every byte of an upload is durable and verified, as the catalog has recorded it:
/// no power cut takes it back, and only the owner's own word does.
///
/// It comes from a commit of the catalog or from one of its rows, and from nothing else. A
/// door that tells a client what is durable takes one of these, and so cannot tell any
/// other number:
///
/// ```
/// use towline_state::catalog::DurableOffset;
/// use towline_types::Offset;
///
/// fn tell(durable: DurableOffset) -> Offset {
///     durable.get()
/// }
/// assert_eq!(tell(DurableOffset::NOTHING), Offset::ZERO);
/// ```
///
/// ```compile_fail
/// use towline_state::catalog::DurableOffset;
/// use towline_types::Offset;
///
/// fn tell(_durable: DurableOffset) {}
/// tell(Offset::ZERO.plus(4096));
/// ```
///
/// ```compile_fail
/// use towline_state::catalog::DurableOffset;
/// use towline_types::Offset;
///
/// let durable = DurableOffset(Offset::ZERO.plus(4096));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurableOffset(Offset);

impl DurableOffset {
    /// Nothing is promised: true of every upload.
    pub const NOTHING: Self = Self(Offset::ZERO);

    /// For what a row says, or a commit has made it say.
    pub(super) const fn recorded(offset: Offset) -> Self {
        Self(offset)
    }

    /// The position in the file, in bytes.
    #[must_use]
    pub const fn get(self) -> Offset {
        self.0
    }

    /// The same promise, or less of it: after bytes were taken back.
    #[must_use]
    pub fn lowered_to(self, offset: Offset) -> Self {
        Self(self.0.min(offset))
    }
}

impl fmt::Display for DurableOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
