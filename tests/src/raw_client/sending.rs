//! Sends messages, chunks, blocks or any bytes, and ends a connection.

use super::frames::{chunk_frame, chunk_frames};
use super::requests::hello;
use super::{CHUNK, RawClient};
use crate::PATIENCE;
use crate::test_file::{BLOCK, TestFile};
use socket2::SockRef;
use std::io;
use std::ops::Range;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use towline_protocol::{Channel, Request, frame};
use towline_types::{BlockIndex, ChainingValue};

impl RawClient {
    /// Sends `hello` and does not wait for the answer.
    pub async fn hello(&mut self, token: &str) {
        self.send(&hello(token)).await;
    }

    /// Sends a control message.
    pub async fn send(&mut self, request: &Request) {
        self.send_raw(&frame::control(request)).await;
    }

    /// Sends a control frame with that text, which need not be a message.
    pub async fn send_json(&mut self, text: impl AsRef<[u8]>) {
        self.send_frame(1, text.as_ref()).await;
    }

    /// Sends a frame of that kind.
    pub async fn send_frame(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 1).expect("a short frame");
        self.send_raw(&[&length.to_be_bytes()[..], &[kind], body].concat()).await;
    }

    /// Sends one chunk.
    pub async fn chunk(&mut self, channel: Channel, at: usize, payload: &[u8]) {
        self.send_raw(&chunk_frame(channel, at, payload)).await;
    }

    /// Sends that part of a file in chunks of 64 KiB.
    pub async fn chunks(&mut self, channel: Channel, test_file: &TestFile, range: Range<usize>) {
        self.chunks_of(channel, test_file, range, CHUNK).await;
    }

    /// Sends that part of a file in chunks of that length.
    pub async fn chunks_of(
        &mut self,
        channel: Channel,
        test_file: &TestFile,
        range: Range<usize>,
        length: usize,
    ) {
        for frame in chunk_frames(channel, test_file, range, length) {
            self.send_raw(&frame).await;
        }
    }

    /// Sends that part of a file in chunks of 64 KiB, until the end or an error of the connection.
    ///
    /// # Errors
    /// The error of the system where the connection has ended.
    pub async fn try_chunks(
        &mut self,
        channel: Channel,
        test_file: &TestFile,
        range: Range<usize>,
    ) -> io::Result<()> {
        for frame in chunk_frames(channel, test_file, range, CHUNK) {
            self.try_send_raw(&frame).await?;
        }
        Ok(())
    }

    /// Announces the value of a block.
    pub async fn announce(&mut self, channel: Channel, index: usize, value: ChainingValue) {
        let index = BlockIndex::new(index as u64).expect("a block in memory");
        self.send_raw(&frame::block(channel, index, value)).await;
    }

    /// Sends one block with its announcement.
    pub async fn block(&mut self, channel: Channel, test_file: &TestFile, index: usize) {
        self.chunks(channel, test_file, index * BLOCK..test_file.block_end(index)).await;
        self.announce(channel, index, test_file.value(index)).await;
    }

    /// Sends all blocks from a position on; the first one may be sent in part.
    pub async fn blocks_from(&mut self, channel: Channel, test_file: &TestFile, at: usize) {
        for index in at / BLOCK..test_file.block_count() {
            let start = at.max(index * BLOCK);
            self.chunks(channel, test_file, start..test_file.block_end(index)).await;
            self.announce(channel, index, test_file.value(index)).await;
        }
    }

    /// Sends these bytes without a frame around them.
    ///
    /// # Panics
    /// Where the connection is broken, or the server does not read for a long time.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send_raw(bytes).await {
            self.fail(&format!("nothing can be sent ({error})")).await;
        }
    }

    /// The same where the server may have closed.
    ///
    /// # Errors
    /// The error of the system.
    pub async fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = timeout(PATIENCE, self.writer().write_all(bytes)).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        self.sent_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Sends a control message where the server may have closed.
    ///
    /// # Errors
    /// The error of the system.
    pub async fn try_send(&mut self, request: &Request) -> io::Result<()> {
        self.try_send_raw(&frame::control(request)).await
    }

    /// How many bytes were sent: the position of the next one in the stream.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Breaks the connection: the server gets a reset. Bytes that it has not read yet may be lost.
    pub fn reset(mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = SockRef::from(writer.as_ref()).set_linger(Some(Duration::ZERO));
            // An orderly shutdown would come before the reset.
            writer.forget();
        }
    }

    /// Closes the sending half, and continues to read.
    ///
    /// # Panics
    /// Where the connection is broken.
    pub async fn finish_sending(&mut self) {
        self.writer().shutdown().await.expect("the connection stands");
    }

    /// Closes the sending half where the server may have closed already.
    pub async fn try_finish_sending(&mut self) {
        let _ = self.writer().shutdown().await;
    }
}
