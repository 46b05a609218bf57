//! The limits of a file and of an upload, whatever protocol brings it.

/// One component of a path; the limit of Linux, Windows and macOS alike.
pub const NAME_BYTES: usize = 255;

/// How many folders may lie one inside the other.
pub const FOLDER_DEPTH: usize = 32;

/// A whole path: below PATH_MAX with room for the server's own folders.
pub const PATH_BYTES: usize = 2048;

/// Blocks of one upload that are begun and unfinished at the same time. Each
/// costs the server a hasher of 2 KiB.
pub const OPEN_BLOCKS_MAX: usize = 64;

/// Channels that may write to one upload at the same time. Each leaves at most a
/// block or two unfinished, so all of them stay far below [`OPEN_BLOCKS_MAX`].
pub const WRITERS_MAX: usize = 16;

/// The target of a symbolic link: what Linux takes, without the byte that ends it.
pub const LINK_TARGET_BYTES: usize = 4095;
