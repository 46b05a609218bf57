//! Documents that a raw client reads.

use super::RawClient;
use super::heard::Heard;
use super::requests::position;
use crate::test_file::BLOCK;
use towline_protocol::reply::{Read as ReadReply, ReadBegin};
use towline_protocol::request::Read;
use towline_protocol::{Channel, ErrorReply, Reply, Request};
use towline_types::ChainingValue;

/// What came of a `read`, from its answer to its end.
#[derive(Debug, Clone)]
pub struct Received {
    /// The answer.
    pub begin: ReadBegin,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The values, each with the number of its block.
    pub values: Vec<(usize, ChainingValue)>,
}

impl RawClient {
    /// Asks for a part of a document, and takes all that comes of it.
    ///
    /// # Errors
    /// The error that ended it.
    pub async fn read(&mut self, read: Read) -> Result<Received, Box<ErrorReply>> {
        let channel = read.channel;
        self.send(&Request::Read(read)).await;
        self.received(channel).await
    }

    /// Takes all that comes of a `read` on that channel, and nothing else may come on it. The bytes
    /// must follow each other, each chunk within a block, and each value before its block.
    ///
    /// # Errors
    /// The error that ended it.
    pub async fn received(&mut self, channel: Channel) -> Result<Received, Box<ErrorReply>> {
        let mut received = match self.of_read(channel).await {
            Heard::Reply(Reply::Read(ReadReply::Begins(begin))) => {
                Received { begin, bytes: Vec::new(), values: Vec::new() }
            }
            Heard::Reply(Reply::Error(error)) => return Err(Box::new(error)),
            other => self.fail(&format!("no document but {other:?}")).await,
        };
        let start = position(received.begin.offset);
        loop {
            let at = start + received.bytes.len();
            match self.of_read(channel).await {
                Heard::Chunk(_, offset, payload) => {
                    assert_eq!(position(offset), at, "without a gap");
                    assert!(at % BLOCK + payload.0.len() <= BLOCK, "within a block");
                    received.bytes.extend_from_slice(&payload.0);
                }
                Heard::Block(_, index, value) => {
                    let index = usize::try_from(index.get()).expect("a block in memory");
                    assert_eq!(at, index * BLOCK, "before the bytes of its block");
                    received.values.push((index, value));
                }
                Heard::Reply(Reply::Read(ReadReply::Ends(end))) => {
                    assert_eq!(end.document_id, received.begin.document_id);
                    assert_eq!(received.bytes.len() as u64, received.begin.length);
                    return Ok(received);
                }
                Heard::Reply(Reply::Error(error)) => return Err(Box::new(error)),
                other => self.fail(&format!("no bytes but {other:?}")).await,
            }
        }
    }

    /// The next on that channel that is no progress.
    async fn of_read(&mut self, channel: Channel) -> Heard {
        let what = format!("a document on channel {channel}");
        self.first(&what, |heard| match heard {
            Heard::Reply(Reply::Progress(_)) => false,
            Heard::Reply(reply) => reply.channel() == channel,
            Heard::BlockList(on, ..) | Heard::Chunk(on, ..) | Heard::Block(on, ..) => {
                *on == channel
            }
            Heard::Closed | Heard::Reset(_) | Heard::Nonsense(_) => true,
        })
        .await
    }
}
