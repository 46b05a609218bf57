//! What a server sends, and the task that reads it.

use std::fmt;
use std::io;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;
use towline_protocol::frame::{Decoder, FrameLimits, Part};
use towline_protocol::{Channel, Code, Reply};
use towline_types::{BlockIndex, ChainingValue, DocumentId, Offset};

/// An item that was read from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A control message.
    Reply(Reply),
    /// A block list.
    BlockList(Channel, BlockIndex, Vec<ChainingValue>),
    /// Bytes of a document.
    Chunk(Channel, Offset, Payload),
    /// The value of a block of a document.
    Block(Channel, BlockIndex, ChainingValue),
    /// The server closed the connection in good order.
    Closed,
    /// The connection ended with an error.
    Reset(io::ErrorKind),
    /// Bytes that are no frame, or a frame that is no message.
    Nonsense(String),
}

/// The bytes of a chunk. Its text in the log of a failing test is their number alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// The errors among the items, and the document of each.
pub fn errors(heard: &[Heard]) -> Vec<(Code, Option<DocumentId>)> {
    let errors = heard.iter().filter_map(|heard| match heard {
        Heard::Reply(Reply::Error(error)) => Some((error.code, error.document_id)),
        _ => None,
    });
    errors.collect()
}

/// Reads to the end of the connection, and passes on every frame.
pub(crate) async fn read(mut socket: OwnedReadHalf, outbox: mpsc::UnboundedSender<Heard>) {
    let mut decoder = Decoder::new(FrameLimits::READING_CLIENT);
    loop {
        loop {
            let heard = match decoder.next_part() {
                Ok(None) => break,
                Ok(Some(Part::Chunk { channel, offset, length })) => {
                    match payload(&mut decoder, &mut socket, length).await {
                        Ok(payload) => Heard::Chunk(channel, offset, payload),
                        Err(error) => Heard::Nonsense(format!("the end, inside a chunk: {error}")),
                    }
                }
                Ok(Some(Part::Block { channel, index, value })) => {
                    Heard::Block(channel, index, value)
                }
                Ok(Some(Part::Control(bytes))) => match Reply::parse(bytes) {
                    Ok(reply) => Heard::Reply(reply),
                    Err(error) => Heard::Nonsense(format!(
                        "{error}: {}",
                        String::from_utf8_lossy(bytes).escape_debug()
                    )),
                },
                Ok(Some(Part::BlockList { channel, first, values })) => {
                    Heard::BlockList(channel, first, values)
                }
                Err(error) => Heard::Nonsense(error.to_string()),
            };
            let is_end = matches!(heard, Heard::Nonsense(_));
            let _ = outbox.send(heard);
            if is_end {
                return;
            }
        }
        let end = match socket.read(decoder.space()).await {
            Ok(0) if decoder.is_between_frames() => Heard::Closed,
            Ok(0) => Heard::Nonsense("the end, inside a frame".to_owned()),
            Ok(count) => {
                decoder.filled(count);
                continue;
            }
            Err(error) => Heard::Reset(error.kind()),
        };
        let _ = outbox.send(end);
        return;
    }
}

/// The payload of a chunk whose head was read.
pub(crate) async fn payload(
    decoder: &mut Decoder,
    socket: &mut OwnedReadHalf,
    length: u32,
) -> io::Result<Payload> {
    let mut bytes = vec![0; length as usize];
    let taken = decoder.take_payload(&mut bytes);
    socket.read_exact(&mut bytes[taken..]).await?;
    decoder.payload_came(bytes.len() - taken);
    Ok(Payload(bytes))
}
