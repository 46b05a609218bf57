//! What goes out on a connection: replies, and the bytes of documents. They wait here, in order,
//! until the client reads.
//!
//! Replies are short and gathered in one piece of memory. The bytes of a document stay in the
//! buffer into which they were read from the disk, and are written from there: nothing copies them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use towline_engine::Piece;
use towline_protocol::{Reply, frame};

/// See the module's description.
pub(crate) struct SendBuffer<W, P = Piece> {
    writer: W,
    waiting: VecDeque<Waiting<P>>,
    /// How many bytes of the first one are sent.
    sent: usize,
    /// How many bytes of replies wait, without those that are sent.
    reply_bytes: usize,
    /// How many pieces of documents wait.
    pieces: usize,
    /// When the client last took a byte, or there was none for it.
    moved: Instant,
}

enum Waiting<P> {
    /// Frames of replies.
    Replies(Vec<u8>),
    /// The frames of one piece of a document: their heads, and the bytes.
    Content { head: Vec<u8>, piece: P },
}

/// Beyond this nothing more is read from a client that does not read itself. The pieces of
/// documents do not count: the engine bounds them.
const REPLY_BYTES_MAX: usize = 256 << 10;

/// Replies that are gathered in one piece of memory, in bytes: it is given back when they are sent.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// How many pieces of memory one system call writes.
const SLICES_MAX: usize = 16;

impl<W: AsyncWrite + Unpin, P: AsRef<[u8]>> SendBuffer<W, P> {
    pub(crate) fn new(writer: W) -> Self {
        Self {
            writer,
            waiting: VecDeque::new(),
            sent: 0,
            reply_bytes: 0,
            pieces: 0,
            moved: Instant::now(),
        }
    }

    pub(crate) fn push(&mut self, reply: &Reply) {
        self.push_frames(&frame::control(reply));
    }

    pub(crate) fn push_frames(&mut self, frames: &[u8]) {
        self.wakes();
        self.reply_bytes += frames.len();
        match self.waiting.back_mut() {
            Some(Waiting::Replies(gathered)) if gathered.len() < GATHERED_BYTES_MAX => {
                gathered.extend_from_slice(frames);
            }
            _ => self.waiting.push_back(Waiting::Replies(frames.to_vec())),
        }
    }

    /// Adds a piece of a document after the heads of its frames.
    pub(crate) fn push_content(&mut self, head: Vec<u8>, piece: P) {
        self.wakes();
        self.pieces += 1;
        self.waiting.push_back(Waiting::Content { head, piece });
    }

    fn wakes(&mut self) {
        if self.is_empty() {
            self.moved = Instant::now();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether so few replies wait that the client may be asked for more.
    pub(crate) fn has_room(&self) -> bool {
        self.reply_bytes < REPLY_BYTES_MAX
    }

    /// Whether bytes of documents wait.
    pub(crate) fn has_content(&self) -> bool {
        self.pieces > 0
    }

    /// When the client will have read nothing for too long.
    pub(crate) fn deadline(&self, unread: Duration) -> Option<Instant> {
        (!self.is_empty()).then(|| self.moved + unread)
    }

    /// Sends some of what waits. Cancel-safe, as one write is.
    pub(crate) async fn send(&mut self) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = gather(&self.waiting, self.sent, &mut slices);
        match self.writer.write_vectored(&slices[..count]).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => {
                self.moved = Instant::now();
                self.has_sent(written);
                Ok(())
            }
        }
    }

    fn has_sent(&mut self, mut written: usize) {
        while let Some(first) = self.waiting.front() {
            let count = written.min(first.length() - self.sent);
            if let Waiting::Replies(_) = first {
                self.reply_bytes -= count;
            }
            written -= count;
            self.sent += count;
            if self.sent < first.length() {
                return;
            }
            self.sent = 0;
            if let Some(Waiting::Content { .. }) = self.waiting.pop_front() {
                self.pieces -= 1;
            }
        }
    }

    /// Sends all that waits and says that nothing more will come.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        while !self.is_empty() {
            self.send().await?;
        }
        self.writer.shutdown().await
    }
}

impl<P: AsRef<[u8]>> Waiting<P> {
    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::Replies(frames) => [frames, &[]],
            Self::Content { head, piece } => [head, piece.as_ref()],
        }
    }

    fn length(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }
}

/// The first pieces of memory that wait, without the bytes that are sent; returns how many.
fn gather<'a, P: AsRef<[u8]>>(
    waiting: &'a VecDeque<Waiting<P>>,
    mut sent: usize,
    slices: &mut [IoSlice<'a>; SLICES_MAX],
) -> usize {
    let mut count = 0;
    for part in waiting.iter().take(SLICES_MAX).flat_map(Waiting::parts) {
        let passed = sent.min(part.len());
        sent -= passed;
        let rest = &part[passed..];
        if !rest.is_empty() && count < SLICES_MAX {
            slices[count] = IoSlice::new(rest);
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    fn buffer(capacity: usize) -> (SendBuffer<DuplexStream, Vec<u8>>, DuplexStream) {
        let (here, there) = duplex(capacity);
        (SendBuffer::new(here), there)
    }

    /// What goes through a pipe of that capacity.
    async fn received(capacity: usize) -> Vec<u8> {
        let (mut buffer, mut there) = buffer(capacity);
        for number in 0..40 {
            buffer.push_frames(&[number; 3]);
            buffer.push_content(vec![number; 5], vec![100 + number; 1000]);
        }
        buffer.push_frames(b"end");
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            there.read_to_end(&mut read).await.unwrap();
            read
        });
        buffer.finish().await.unwrap();
        assert!(buffer.is_empty() && !buffer.has_content() && buffer.reply_bytes == 0);
        reading.await.unwrap()
    }

    #[tokio::test]
    async fn replies_and_content_leave_in_their_order_however_little_is_taken_at_a_time() {
        let mut expected = Vec::new();
        for number in 0..40 {
            expected.extend([[number; 3].as_slice(), &[number; 5], &[100 + number; 1000]].concat());
        }
        expected.extend(b"end");
        for capacity in [1, 7, 1005, 1 << 20] {
            assert!(received(capacity).await == expected, "{capacity}");
        }
    }

    #[tokio::test]
    async fn content_takes_no_room_from_replies() {
        let (mut buffer, _there) = buffer(1);
        for _ in 0..4 {
            buffer.push_content(vec![1; 17], vec![2; 1 << 20]);
        }
        assert!(buffer.has_content() && buffer.has_room());
        buffer.push_frames(&vec![3; REPLY_BYTES_MAX - 1]);
        assert!(buffer.has_room());
        buffer.push_frames(&[3]);
        assert!(!buffer.has_room());
    }

    #[tokio::test]
    async fn replies_that_are_sent_make_room_for_more() {
        let (mut buffer, mut there) = buffer(1000);
        for _ in 0..REPLY_BYTES_MAX / 1000 + 1 {
            buffer.push_frames(&[3; 1000]);
        }
        assert!(!buffer.has_room());
        buffer.send().await.unwrap();
        there.read_exact(&mut [0; 1000]).await.unwrap();
        assert!(buffer.has_room());
    }
}
