//! The frames of a small file that a client sends at once, without waiting for a reply:
//! `upload`, the bytes, the value of the block where the upload has blocks, and `complete`.

use crate::raw_client::chunk_frame;
use crate::test_file::TestFile;
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Request, frame};
use towline_types::BlockIndex;

/// The frames of a whole file, beginning with that `upload`.
#[must_use]
pub fn one_shot_frames(upload: Upload, test_file: &TestFile) -> Vec<u8> {
    let (channel, blocks) = (upload.channel, upload.blocks);
    let complete = Complete { channel, blake3: Some(test_file.hash()), ..Complete::default() };
    let mut bytes = frame::control(&Request::Upload(upload));
    bytes.extend_from_slice(&chunk_frame(channel, 0, &test_file.bytes));
    if blocks {
        bytes.extend_from_slice(&frame::block(channel, BlockIndex::FIRST, test_file.value(0)));
    }
    bytes.extend_from_slice(&frame::control(&Request::Complete(complete)));
    bytes
}
