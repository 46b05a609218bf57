//! A small file that a client sends in one go, and waits for nothing: its wish, its
//! bytes, the value of its block and `complete`.

use crate::corpus::Corpus;
use crate::speaker::offset;
use towline_protocol::request::{Complete, Upload};
use towline_protocol::{Request, frame};
use towline_types::BlockIndex;

/// The frames for that wish.
#[must_use]
pub fn parcel(upload: Upload, corpus: &Corpus) -> Vec<u8> {
    let (channel, blocks) = (upload.channel, upload.blocks);
    let complete = Complete { channel, blake3: Some(corpus.hash()), ..Complete::default() };
    let length = u32::try_from(corpus.size()).expect("a small file");
    let mut bytes = frame::control(&Request::Upload(upload));
    bytes.extend_from_slice(&frame::chunk_head(channel, offset(0), length));
    bytes.extend_from_slice(&corpus.bytes);
    if blocks {
        bytes.extend_from_slice(&frame::block(channel, BlockIndex::FIRST, corpus.value(0)));
    }
    bytes.extend_from_slice(&frame::control(&Request::Complete(complete)));
    bytes
}
