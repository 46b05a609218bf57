//! A slow link that breaks: a fixed number of bytes a second to the server, and each connection
//! no longer than so. It hears what the server grants, and so knows what each
//! connection was good for.

use anyhow::{Context as _, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until, timeout};
use towline_protocol::Reply;
use towline_protocol::frame::{Decoder, FrameLimits, Part};

/// How many bytes go over the link at a time.
const PIECE_BYTES: usize = 2 << 10;

/// What the near end takes ahead of the link. A real one has some room too.
const ROOM_BYTES: u32 = 16 << 10;

/// One that works. Dropped, it breaks for good.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    _runtime: Runtime,
}

/// What the server has said over one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Where it lets the client go on.
    pub(crate) granted: Option<u64>,
    /// The length of the file that it has confirmed.
    pub(crate) confirmed: Option<u64>,
}

/// How it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) bytes_per_second: u64,
    pub(crate) breaks_after: Duration,
}

impl Link {
    /// Opens one to that server.
    pub(crate) fn to(server: SocketAddr, manner: Manner) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        let inside = runtime.enter();
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(ROOM_BYTES)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(16).context("cannot listen")?;
        drop(inside);
        let address = listener.local_addr()?;
        let heard = Arc::default();
        runtime.spawn(serve(listener, server, manner, Arc::clone(&heard)));
        Ok(Self { address, heard, _runtime: runtime })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was said over each connection so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        lock(&self.heard).clone()
    }
}

async fn serve(
    listener: TcpListener,
    server: SocketAddr,
    manner: Manner,
    heard: Arc<Mutex<Vec<Heard>>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let number = {
            let mut heard = lock(&heard);
            heard.push(Heard::default());
            heard.len() - 1
        };
        let heard = Arc::clone(&heard);
        tokio::spawn(async move {
            // However it ends, it is over.
            let _ = carry(client, server, manner, &heard, number).await;
        });
    }
}

/// Carries one connection until it ends or breaks.
async fn carry(
    client: TcpStream,
    server: SocketAddr,
    manner: Manner,
    heard: &Mutex<Vec<Heard>>,
    number: usize,
) -> Result<()> {
    let server = TcpStream::connect(server).await?;
    for end in [&client, &server] {
        // What breaks says no farewell: what is not through yet is lost.
        end.set_zero_linger()?;
        end.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pace(from_client, to_server, manner.bytes_per_second);
    let back = overhear(from_server, to_client, |reply| {
        let heard = &mut lock(heard)[number];
        match reply {
            Reply::Upload(granted) | Reply::Resume(granted) => {
                heard.granted = Some(granted.offset.get());
            }
            Reply::Success(success) => heard.confirmed = Some(success.filesize.get()),
            _ => {}
        }
    });
    // Cancel-safe in the only way that matters: what is lost is lost.
    let _ = timeout(manner.breaks_after, async { tokio::try_join!(there, back) }).await;
    Ok(())
}

async fn pace(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    bytes_per_second: u64,
) -> Result<()> {
    let begun = Instant::now();
    let mut carried = 0;
    let mut buffer = [0; PIECE_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(to.shutdown().await?);
        }
        carried += count as u64;
        sleep_until(begun + Duration::from_micros(carried * 1_000_000 / bytes_per_second)).await;
        to.write_all(&buffer[..count]).await?;
    }
}

async fn overhear(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut hear: impl FnMut(Reply),
) -> Result<()> {
    let mut decoder = Decoder::new(FrameLimits::CLIENT);
    let mut buffer = [0; PIECE_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(to.shutdown().await?);
        }
        to.write_all(&buffer[..count]).await?;
        let mut bytes = &buffer[..count];
        while !bytes.is_empty() {
            let space = decoder.space();
            let taken = space.len().min(bytes.len());
            space[..taken].copy_from_slice(&bytes[..taken]);
            decoder.filled(taken);
            bytes = &bytes[taken..];
            while let Some(part) = decoder.next_part()? {
                if let Part::Control(bytes) = part {
                    hear(Reply::parse(bytes)?);
                }
            }
        }
    }
}

fn lock(heard: &Mutex<Vec<Heard>>) -> MutexGuard<'_, Vec<Heard>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
