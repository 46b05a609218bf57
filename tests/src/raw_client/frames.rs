//! Frames of chunks, for tests that build a stream themselves.

use super::requests::offset;
use crate::test_file::TestFile;
use std::ops::Range;
use towline_protocol::{Channel, frame};

/// A chunk frame: head and payload.
///
/// # Panics
/// Where the payload is longer than a chunk may be.
#[must_use]
pub fn chunk_frame(channel: Channel, at: usize, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a chunk");
    [&frame::chunk_head(channel, offset(at), length)[..], payload].concat()
}

/// A part of a file, in chunks of that length.
pub fn chunk_frames(
    channel: Channel,
    test_file: &TestFile,
    range: Range<usize>,
    length: usize,
) -> impl Iterator<Item = Vec<u8>> {
    let end = range.end;
    range
        .step_by(length)
        .map(move |at| chunk_frame(channel, at, &test_file.bytes[at..(at + length).min(end)]))
}
