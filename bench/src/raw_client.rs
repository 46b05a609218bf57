//! A client that sends only: real frames with the values of their blocks, from bytes
//! that lie ready. A thousand of them fit on one thread and leave the machine to the
//! server.

use crate::pattern::Pattern;
use anyhow::{Context as _, Result, bail};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};
use towline_protocol::reply::Granted;
use towline_protocol::request::{Complete, DocumentRef, Hello, Resume, Upload};
use towline_protocol::{Channel, Reply, Request};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{BlockIndex, DocumentId, FileSize, Offset};

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct RawClient {
    receiver: Receiver,
    sender: Sender,
}

/// The half of the connection that reads.
#[derive(Debug)]
struct Receiver {
    socket: OwnedReadHalf,
    decoder: Decoder,
}

/// The half of the connection that writes.
#[derive(Debug)]
struct Sender {
    socket: OwnedWriteHalf,
}

/// The channel of a client with one upload only.
const ONLY: Channel = Channel(0);

impl RawClient {
    pub(crate) async fn login(to: SocketAddr, token: &str) -> Result<Self> {
        Self::over(TcpStream::connect(to).await.context("cannot connect")?, token).await
    }

    /// The same from that address of this machine: each has ports of its own.
    pub(crate) async fn login_from(from: Ipv4Addr, to: SocketAddr, token: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // A port that an earlier run has just left is free enough.
        socket.set_reuseaddr(true)?;
        socket.bind((from, 0).into()).with_context(|| format!("no port of {from} is free"))?;
        Self::over(socket.connect(to).await.context("cannot connect")?, token).await
    }

    async fn over(stream: TcpStream, token: &str) -> Result<Self> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let receiver = Receiver { socket: reader, decoder: Decoder::new(FrameLimits::CLIENT) };
        let mut raw_client = Self { receiver, sender: Sender { socket: writer } };
        raw_client.sender.say(&Request::Hello(Hello::with_token(token))).await?;
        match raw_client.receiver.next().await? {
            Reply::Welcome(_) => Ok(raw_client),
            other => bail!("no welcome but {other:?}"),
        }
    }

    /// Puts files of that size, all on their way at once, each on a channel of its own,
    /// and waits until the server has confirmed every one.
    pub(crate) async fn put(
        &mut self,
        names: &[String],
        filesize: FileSize,
        pattern: &Pattern,
    ) -> Result<()> {
        let Self { receiver, sender } = self;
        let speaking = async {
            for (channel, name) in (0..).map(Channel).zip(names) {
                sender.say(&upload(channel, name, filesize)).await?;
                sender.send(channel, pattern, filesize, 0..filesize.get()).await?;
                sender.say(&Request::Complete(Complete { channel, ..Complete::default() })).await?;
            }
            Ok(())
        };
        tokio::try_join!(speaking, receiver.successes(names.len()))?;
        Ok(())
    }

    /// Begins one upload, and sends none of it.
    pub(crate) async fn begin(&mut self, name: &str, filesize: FileSize) -> Result<Granted> {
        self.sender.say(&upload(ONLY, name, filesize)).await?;
        self.receiver.granted().await
    }

    /// Asks to go on with an upload, at whatever offset it is.
    pub(crate) async fn resume(&mut self, document_id: DocumentId) -> Result<Granted> {
        let resume = Resume {
            channel: ONLY,
            document_id,
            offset: None,
            filename: None,
            filesize: None,
            user_id: None,
            blocks: true,
            grow: false,
        };
        self.sender.say(&Request::Resume(resume)).await?;
        self.receiver.granted().await
    }

    /// Ends an upload for good, and waits until it has ended.
    pub(crate) async fn cancel(&mut self, document_id: DocumentId) -> Result<()> {
        self.sender.say(&Request::Cancel(DocumentRef { channel: ONLY, document_id })).await?;
        loop {
            if let Reply::Cancel(_) = self.receiver.next().await? {
                return Ok(());
            }
        }
    }

    /// Asks how much of an upload the server holds.
    pub(crate) async fn received(&mut self, document_id: DocumentId) -> Result<u64> {
        self.sender.say(&Request::Status(DocumentRef { channel: ONLY, document_id })).await?;
        loop {
            if let Reply::Status(status) = self.receiver.next().await? {
                return Ok(status.received.get());
            }
        }
    }

    /// Sends a part of a file and waits until the server holds all before its end.
    pub(crate) async fn send(
        &mut self,
        pattern: &Pattern,
        filesize: FileSize,
        part: Range<u64>,
    ) -> Result<()> {
        let Self { receiver, sender } = self;
        let end = part.end;
        tokio::try_join!(sender.send(ONLY, pattern, filesize, part), receiver.received(end))?;
        Ok(())
    }
}

impl Receiver {
    /// The next message.
    ///
    /// # Errors
    /// Where it is an error, or the connection has ended.
    async fn next(&mut self) -> Result<Reply> {
        loop {
            if let Some(part) = self.decoder.next_part()? {
                let Part::Control(bytes) = part else { continue };
                match Reply::parse(bytes)? {
                    Reply::Error(error) => {
                        bail!("the server says {}: {}", error.code, error.message)
                    }
                    reply => return Ok(reply),
                }
            }
            let count = self.socket.read(self.decoder.space()).await.context("cannot read")?;
            if count == 0 {
                bail!("the server has closed the connection");
            }
            self.decoder.filled(count);
        }
    }

    async fn granted(&mut self) -> Result<Granted> {
        loop {
            if let Reply::Upload(granted) | Reply::Resume(granted) = self.next().await? {
                return Ok(granted);
            }
        }
    }

    /// Waits until the server has received that offset.
    async fn received(&mut self, bytes: u64) -> Result<()> {
        loop {
            if let Reply::Progress(progress) = self.next().await?
                && progress.received.get() >= bytes
            {
                return Ok(());
            }
        }
    }

    /// Waits for that number of receipts.
    async fn successes(&mut self, count: usize) -> Result<()> {
        let mut found = 0;
        while found < count {
            found += usize::from(matches!(self.next().await?, Reply::Success(_)));
        }
        Ok(())
    }
}

impl Sender {
    async fn say(&mut self, request: &Request) -> Result<()> {
        self.socket.write_all(&frame::control(request)).await.context("cannot send")
    }

    /// Sends a part of a file, a chunk for each block or what the part has of it, and
    /// the value of every block that ends in it.
    async fn send(
        &mut self,
        channel: Channel,
        pattern: &Pattern,
        filesize: FileSize,
        part: Range<u64>,
    ) -> Result<()> {
        let mut at = part.start;
        while at < part.end {
            let offset = Offset::try_from(at)?;
            let index = BlockIndex::at(offset);
            let block = index.span(filesize);
            let end = block.end.min(part.end);
            let head = frame::chunk_head(channel, offset, u32::try_from(end - at)?);
            let payload =
                usize::try_from(at % BLOCK_SIZE_BYTES)?..usize::try_from(end - block.start)?;
            let value = frame::block(channel, index, pattern.value(index, filesize));
            let value = if end == block.end { &value[..] } else { &[] };
            self.write([&head[..], &pattern.block()[payload], value]).await?;
            at = end;
        }
        Ok(())
    }

    /// All of them in as few calls as the socket's room allows.
    async fn write(&mut self, pieces: [&[u8]; 3]) -> Result<()> {
        let mut slices = pieces.map(IoSlice::new);
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let count = self.socket.write_vectored(left).await.context("cannot send")?;
            IoSlice::advance_slices(&mut left, count);
        }
        Ok(())
    }
}

fn upload(channel: Channel, name: &str, filesize: FileSize) -> Request {
    Request::Upload(Upload {
        channel,
        filename: name.to_owned(),
        filesize: Some(filesize),
        blocks: true,
        ..Upload::default()
    })
}
