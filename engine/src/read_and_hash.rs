//! The hash of a file, made block by block through one buffer.

use towline_types::block::{block_count, hash_block};
use towline_types::file_hash::FileHasher;
use towline_types::{BlockIndex, FileHash, FileSize, Offset};

/// The hash of a file of that size; nothing where `take` said not to go on. `read` fills the buffer
/// with the bytes at that position; `take` then gets each block, and returns whether to go on.
pub(crate) fn of_blocks<E>(
    filesize: FileSize,
    mut read: impl FnMut(&mut [u8], Offset) -> Result<(), E>,
    mut take: impl FnMut(&[u8], BlockIndex) -> Result<bool, E>,
) -> Result<Option<FileHash>, E> {
    let mut buffer = Vec::new();
    let mut whole = FileHasher::default();
    for index in (0..block_count(filesize)).map_while(BlockIndex::new) {
        let length = usize::try_from(index.length_bytes(filesize)).expect("a block fits in memory");
        buffer.resize(length, 0);
        read(&mut buffer, index.start())?;
        whole.push(hash_block(index, filesize, &buffer));
        if !take(&buffer, index)? {
            return Ok(None);
        }
    }
    Ok(Some(whole.finish()))
}
