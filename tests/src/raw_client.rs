//! A client that sends exactly the bytes that a test wants, right or wrong, and keeps
//! everything that the server answered.
//!
//! A task of its own reads, so that the server can always write. What was read waits
//! until the test asks for it. Where an expected reply does not come, the test fails with
//! a list of everything that was read so far.

mod expecting;
mod frames;
mod heard;
mod hearing;
mod requests;
mod sending;

pub use frames::{chunk_frame, chunk_frames};
pub(crate) use heard::read;
pub use heard::{Heard, errors};
pub use requests::{
    about, find, hello, hello_of_version, join, nobodys_document, offset, position, resume, upload,
    upload_of_size,
};

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

/// The payload of a chunk where a test has no wish of its own.
pub const CHUNK: usize = 64 << 10;

/// Channel 0, where everything is that names no channel.
pub const ZERO: Channel = Channel(0);

/// One connection. See the module's description.
pub struct RawClient {
    /// Gone once the connection was broken on purpose.
    writer: Option<OwnedWriteHalf>,
    inbox: mpsc::UnboundedReceiver<Heard>,
    reader: AbortHandle,
    /// Heard and not asked for yet.
    waiting: VecDeque<Heard>,
    /// Everything heard, in words, for a failing test.
    log: Vec<String>,
    sent_bytes: u64,
}

impl Drop for RawClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Sends bytes, closes the sending half, and returns all that comes back until
/// the server closes.
///
/// # Panics
/// Where it does not close in time.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    // A server that has read enough may close before everything is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes in time");
    answer
}

impl RawClient {
    /// A connection on which nothing has been said.
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
    /// Where it is none any more.
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

    /// Says `hello` and is welcome.
    ///
    /// # Panics
    /// Where it is not.
    pub async fn welcomed(mut self, token: &str) -> Self {
        self.hello(token).await;
        match self.reply().await {
            Reply::Welcome(_) => self,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// The same where the server may be gone, or go in the middle of it, or refuse.
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
    /// Where it is none any more.
    #[must_use]
    pub fn local_address(&mut self) -> SocketAddr {
        self.writer().local_addr().expect("an address")
    }

    fn writer(&mut self) -> &mut OwnedWriteHalf {
        self.writer.as_mut().expect("it was not broken")
    }
}
