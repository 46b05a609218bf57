//! What goes out on a connection. Replies wait here until the client reads.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use towline_protocol::{Reply, frame};

/// See the module's description.
pub(crate) struct SendBuffer<W> {
    writer: W,
    waiting: Vec<u8>,
    sent: usize,
    /// When the client last took a byte, or there was none for it.
    moved: Instant,
}

/// Beyond this nothing more is read from a client that does not read itself.
const WAITING_BYTES_MAX: usize = 256 << 10;

impl<W: AsyncWrite + Unpin> SendBuffer<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer, waiting: Vec::new(), sent: 0, moved: Instant::now() }
    }

    pub(crate) fn push(&mut self, reply: &Reply) {
        self.push_frames(&frame::control(reply));
    }

    pub(crate) fn push_frames(&mut self, frames: &[u8]) {
        if self.is_empty() {
            self.moved = Instant::now();
        }
        self.waiting.extend_from_slice(frames);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether so little waits that the client may be asked for more.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() - self.sent < WAITING_BYTES_MAX
    }

    /// When the client will have read nothing for too long.
    pub(crate) fn deadline(&self, unread: Duration) -> Option<Instant> {
        (!self.is_empty()).then(|| self.moved + unread)
    }

    /// Sends some of what waits. Cancel-safe, as one write is.
    pub(crate) async fn send(&mut self) -> io::Result<()> {
        let count = self.writer.write(&self.waiting[self.sent..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.moved = Instant::now();
        self.sent += count;
        if self.sent == self.waiting.len() {
            self.waiting = Vec::new();
            self.sent = 0;
        } else if self.sent > WAITING_BYTES_MAX {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Sends all that waits and says that nothing more will come.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        while !self.is_empty() {
            self.send().await?;
        }
        self.writer.shutdown().await
    }
}
