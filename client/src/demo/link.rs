//! The demo's link between client and server: it is slow, and it breaks at given numbers of bytes.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use towline_protocol::frame::{Decoder, FrameLimits, Part};

/// The number of bytes that the link reads and forwards at a time.
const PIECE_BYTES: usize = 32 << 10;

pub(super) struct Link {
    address: SocketAddr,
    broken: mpsc::UnboundedReceiver<u64>,
    mended: Arc<Notify>,
    payload_bytes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// The state of the link that outlives one connection.
struct Wire {
    upstream: SocketAddr,
    bytes_per_second: u64,
    breaks: VecDeque<u64>,
    payload_bytes: Arc<AtomicU64>,
}

impl Link {
    /// Opens a link to that server. Each number of `breaks` is a number of payload bytes after
    /// which the link breaks and then waits until it is mended.
    pub(super) async fn open(
        upstream: SocketAddr,
        bytes_per_second: u64,
        breaks: impl IntoIterator<Item = u64>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (tell, broken) = mpsc::unbounded_channel();
        let mended = Arc::new(Notify::new());
        let payload_bytes = Arc::new(AtomicU64::new(0));
        let mut wire = Wire {
            upstream,
            bytes_per_second,
            breaks: breaks.into_iter().collect(),
            payload_bytes: Arc::clone(&payload_bytes),
        };
        let again = Arc::clone(&mended);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(true) = wire.carry(client).await else { continue };
                if tell.send(wire.payload_bytes.load(Ordering::Relaxed)).is_err() {
                    return;
                }
                again.notified().await;
            }
        });
        Ok(Self { address, broken, mended, payload_bytes, task })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the link breaks. Returns how many payload bytes it has carried so far.
    pub(super) async fn broken(&mut self) -> Option<u64> {
        self.broken.recv().await
    }

    pub(super) fn mend(&self) {
        self.mended.notify_one();
    }

    /// How many payload bytes the link has carried to the server.
    pub(super) fn payload_bytes(&self) -> u64 {
        self.payload_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Carries one connection. Returns whether the link broke it on purpose.
    async fn carry(&mut self, client: TcpStream) -> io::Result<bool> {
        let server = TcpStream::connect(self.upstream).await?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let back =
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut meter = Meter::new();
        let mut buffer = vec![0; PIECE_BYTES];
        let begun = Instant::now();
        let mut carried = 0;
        let broken = loop {
            let count = from_client.read(&mut buffer).await?;
            if count == 0 {
                break false;
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break false;
            }
            carried += count as u64;
            let payload = meter.payload_in(&buffer[..count]);
            let so_far = self.payload_bytes.fetch_add(payload, Ordering::Relaxed) + payload;
            if self.breaks.front().is_some_and(|at| so_far >= *at) {
                self.breaks.pop_front();
                break true;
            }
            let due = Duration::from_millis(carried * 1000 / self.bytes_per_second.max(1));
            tokio::time::sleep_until(begun + due).await;
        };
        if !broken {
            to_server.shutdown().await?;
            let _ = back.await;
            return Ok(false);
        }
        back.abort();
        Ok(true)
    }
}

/// Counts payload bytes and no other bytes.
struct Meter(Decoder);

impl Meter {
    fn new() -> Self {
        Self(Decoder::new(FrameLimits::SERVER))
    }

    fn payload_in(&mut self, mut bytes: &[u8]) -> u64 {
        let mut payload = 0;
        let mut aside = vec![0; PIECE_BYTES];
        while !bytes.is_empty() {
            let left = self.0.payload_left().min(bytes.len());
            if left > 0 {
                self.0.payload_came(left);
                payload += left as u64;
                bytes = &bytes[left..];
                continue;
            }
            let space = self.0.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.0.filled(count);
            bytes = &bytes[count..];
            // A broken frame ends the count here; the server reports it.
            while let Ok(Some(part)) = self.0.next_part() {
                if let Part::Chunk { .. } = part {
                    payload += self.0.take_payload(&mut aside) as u64;
                    if self.0.payload_left() > 0 {
                        break;
                    }
                }
            }
        }
        payload
    }
}
