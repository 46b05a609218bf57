//! The two halves of an encrypted connection.
//!
//! Both halves share the state of TLS, behind a lock. Neither waits for the socket while it has the
//! lock: encrypted bytes are read into a buffer first, and are decrypted then. Bytes count as
//! written when the kernel has taken them, so a caller knows how many really wait, as on a plain
//! connection.

use super::TlsIdentity;
use crate::socket::{BlockingRead, Receiver, Sender};
use rustls::ServerConnection;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// The most encrypted bytes that are read at a time: four full records of TLS.
const READ_BYTES: usize = 64 << 10;

/// The most bytes that are encrypted before they are handed to the kernel.
const WRITE_BYTES: usize = 64 << 10;

type Shared = Arc<Mutex<ServerConnection>>;

/// See the module's description.
pub(crate) struct TlsReceiver {
    socket: Receiver,
    tls: Shared,
    encrypted: Encrypted,
    /// The first byte, where it was looked at and is still to be read.
    peeked: Option<u8>,
}

/// See the module's description.
pub(crate) struct TlsSender {
    socket: Sender,
    tls: Shared,
    /// Encrypted bytes that the kernel has not taken yet.
    encrypted: Vec<u8>,
    /// How many of `encrypted` the kernel has taken.
    sent: usize,
    /// How many bytes of the caller `encrypted` stands for.
    accepted: usize,
}

/// Bytes from the socket that are not decrypted yet. While nothing comes, a connection has no
/// memory for them.
#[derive(Default)]
struct Encrypted {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

/// Does the TLS handshake with a client.
///
/// Cancel-safe enough: a call that is dropped closes the connection.
///
/// # Errors
/// Where the client speaks no TLS 1.3, or ends the connection.
pub(crate) async fn accept(
    identity: &TlsIdentity,
    socket: (Receiver, Sender),
) -> io::Result<(TlsReceiver, TlsSender)> {
    let mut tls = ServerConnection::new(identity.config()).map_err(io::Error::other)?;
    tls.set_buffer_limit(Some(WRITE_BYTES));
    let tls = Arc::new(Mutex::new(tls));
    let (receiver, sender) = socket;
    let encrypted = Encrypted::default();
    let mut receiver =
        TlsReceiver { socket: receiver, tls: Arc::clone(&tls), encrypted, peeked: None };
    let mut sender = TlsSender { socket: sender, tls, encrypted: Vec::new(), sent: 0, accepted: 0 };
    loop {
        let (is_handshaking, wants_write) = {
            let tls = receiver.tls();
            (tls.is_handshaking(), tls.wants_write())
        };
        if wants_write {
            sender.flush().await?;
        } else if !is_handshaking {
            return Ok((receiver, sender));
        } else if let Err(error) = receiver.hear().await {
            // The client is told what was wrong, as far as the socket takes it at once.
            let _ = sender.flush().await;
            return Err(error);
        }
    }
}

fn lock(tls: &Shared) -> MutexGuard<'_, ServerConnection> {
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TlsReceiver {
    fn tls(&self) -> MutexGuard<'_, ServerConnection> {
        lock(&self.tls)
    }

    /// The first byte that the client sends; none at the end of the connection. It is still to be
    /// read. Cancel-safe.
    pub(crate) async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        if self.peeked.is_none() {
            let mut byte = [0];
            let count = self.read(&mut byte).await?;
            self.peeked = (count == 1).then_some(byte[0]);
        }
        Ok(self.peeked)
    }

    /// Reads one part of the handshake.
    async fn hear(&mut self) -> io::Result<()> {
        let count = std::future::poll_fn(|context| self.poll_encrypted(context)).await?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        while self.decrypt()? {}
        Ok(())
    }

    /// Reads from the socket. Returns how many bytes can be decrypted, 0 at the end of the
    /// connection.
    fn poll_encrypted(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Encrypted { bytes, begin, end } = &mut self.encrypted;
        if begin < end {
            return Poll::Ready(Ok(*end - *begin));
        }
        bytes.resize(READ_BYTES, 0);
        let mut room = ReadBuf::new(bytes);
        match Pin::new(&mut self.socket).poll_read(context, &mut room) {
            Poll::Ready(read) => {
                read?;
                (*begin, *end) = (0, room.filled().len());
                Poll::Ready(Ok(*end))
            }
            Poll::Pending => {
                self.encrypted = Encrypted::default();
                Poll::Pending
            }
        }
    }

    /// Decrypts as much as there is room for. Returns whether there may be more.
    fn decrypt(&mut self) -> io::Result<bool> {
        let Encrypted { bytes, begin, end } = &mut self.encrypted;
        if begin == end {
            return Ok(false);
        }
        let mut tls = lock(&self.tls);
        *begin += tls.read_tls(&mut &bytes[*begin..*end])?;
        tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(true)
    }
}

impl BlockingRead for TlsReceiver {
    fn set_read_deadline(&mut self, until: Option<Instant>) {
        self.socket.set_read_deadline(until);
    }
}

impl AsyncRead for TlsReceiver {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(byte) = this.peeked.take() {
            buffer.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        loop {
            // Takes bytes that are decrypted already. A read of 0 bytes is the orderly end of the
            // client's half. An end of the connection without it is an error, because bytes may
            // have been cut off (RFC 8446, section 6.1).
            let taken = this.tls().reader().read(buffer.initialize_unfilled());
            match taken {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(count) => {
                    buffer.advance(count);
                    if buffer.remaining() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            match this.decrypt() {
                Ok(true) => continue,
                Ok(false) => {}
                // The bytes before the damage are handed over. The next read returns the same error
                // again.
                Err(_) if buffer.filled().len() > before => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_encrypted(context))? == 0 {
                // TLS learns that the socket is at its end. The next read returns how the
                // connection has ended.
                this.tls().read_tls(&mut io::empty())?;
            }
        }
    }
}

impl TlsSender {
    /// Hands encrypted bytes to the kernel until it has all of them.
    fn poll_encrypted(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.sent < self.encrypted.len() {
                let rest = &self.encrypted[self.sent..];
                match ready!(Pin::new(&mut self.socket).poll_write(context, rest))? {
                    0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                    count => self.sent += count,
                }
            }
            self.encrypted.clear();
            self.sent = 0;
            let mut tls = lock(&self.tls);
            if !tls.wants_write() {
                return Poll::Ready(Ok(()));
            }
            while tls.wants_write() {
                tls.write_tls(&mut self.encrypted)?;
            }
        }
    }

    /// Encrypts what there is room for, and hands it to the kernel.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.accepted == 0 {
            // The caller passes the same bytes again until they count as written.
            ready!(self.poll_encrypted(context))?;
            self.accepted = lock(&self.tls).writer().write_vectored(slices)?;
        }
        ready!(self.poll_encrypted(context))?;
        Poll::Ready(Ok(std::mem::take(&mut self.accepted)))
    }
}

impl AsyncWrite for TlsSender {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_encrypted(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        lock(&this.tls).send_close_notify();
        ready!(this.poll_encrypted(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}
