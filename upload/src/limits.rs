//! Limits of the rules that no client of the framed wire can meet.

use towline_types::limits::WRITERS_MAX;

/// Ranges of one block that lie behind a gap, where ranges may begin anywhere. As many writers
/// as may share an upload can meet in one block, and no block needs more. A range costs 16
/// bytes: 16 KiB for all blocks that may be open.
pub const RANGES_PER_BLOCK_MAX: usize = WRITERS_MAX;
