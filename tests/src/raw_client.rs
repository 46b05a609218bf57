//! A client that sends exactly the bytes that a test wants, right or wrong, and keeps
//! everything that the server answered.
//!
//! A task of its own reads, so that the server can always write. Frames wait until the test asks
//! for them. Where an expected reply does not come, the test fails with a list of everything that
//! was read so far.

mod expecting;
mod frames;
mod heard;
mod hearing;
mod reading;
mod requests;
mod sending;
mod tree;

pub use frames::{chunk_frame, chunk_frames};
pub use heard::{Heard, Payload, errors};
pub(crate) use heard::{payload, read};
pub use reading::Received;
pub use requests::{
    about, find, hello, hello_of_version, join, nobodys_document, offset, position, read_of,
    resume, upload, upload_of_size,
};

pub use tree::{Changes, names, replayed};

use crate::PATIENCE;
use std::collections::VecDeque;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use towline_protocol::{Channel, Reply};

/// The number of payload bytes of a chunk where a test does not choose one.
pub const CHUNK: usize = 64 << 10;

/// Channel 0, which is the channel of every message that names none.
pub const ZERO: Channel = Channel(0);

/// One connection. See the module's description.
pub struct RawClient {
    /// Absent once the test has broken the connection.
    writer: Option<OwnedWriteHalf>,
    inbox: mpsc::UnboundedReceiver<Heard>,
    reader: AbortHandle,
    /// Frames that were read and that the test has not asked for yet.
    waiting: VecDeque<Heard>,
    /// Everything that was read, in words, for the message of a failing test.
    log: Vec<String>,
    sent_bytes: u64,
}

impl Drop for RawClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Sends bytes, closes the sending half, and returns all bytes that the server sends before it
/// closes.
///
/// # Panics
/// Where the server does not close in time.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    // A server that has read enough may close before all bytes are written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes in time");
    answer
}

impl RawClient {
    /// A connection on which no message was sent.
    ///
    /// # Panics
    /// Where the server does not accept it.
    pub async fn connect(address: SocketAddr) -> Self {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        Self::over(connected.expect("accepted in time").expect("the server accepts"))
    }

    /// The same over a connection that the caller has made.
    ///
    /// # Panics
    /// Where the connection has ended.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        let (reader, writer) = stream.into_split();
        let (outbox, inbox) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read(reader, outbox)).abort_handle();
        let (waiting, log) = (VecDeque::new(), Vec::new());
        Self { writer: Some(writer), inbox, reader, waiting, log, sent_bytes: 0 }
    }

    /// A connection that is logged in.
    pub async fn login(address: SocketAddr, token: &str) -> Self {
        Self::connect(address).await.welcomed(token).await
    }

    /// Sends `hello` and waits for `welcome`.
    ///
    /// # Panics
    /// Where the answer is another one.
    pub async fn welcomed(mut self, token: &str) -> Self {
        self.hello(token).await;
        match self.reply().await {
            Reply::Welcome(_) => self,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// The same where the server may have ended, may end during the login, or may refuse it.
    pub async fn try_login(address: SocketAddr, token: &str) -> Option<Self> {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await.ok()?;
        let mut client = Self::over(connected.ok()?);
        let _ = client.try_send(&hello(token)).await;
        let welcomed = matches!(client.next().await, Some(Heard::Reply(Reply::Welcome(_))));
        welcomed.then_some(client)
    }

    /// The local end of the connection.
    ///
    /// # Panics
    /// Where the connection has ended.
    #[must_use]
    pub fn local_address(&mut self) -> SocketAddr {
        self.writer().local_addr().expect("an address")
    }

    fn writer(&mut self) -> &mut OwnedWriteHalf {
        self.writer.as_mut().expect("it was not broken")
    }
}
