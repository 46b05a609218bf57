//! The bytes of a connection: as they are, or encrypted.

use super::tls;
use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use crate::route::Route;
use crate::security::Security;
use rustls::ClientConnection;
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

/// The most encrypted bytes that are read at a time: four full records of TLS.
const READ_BYTES: usize = 64 << 10;

/// The most bytes that are encrypted before they are handed to the system.
const WRITE_BYTES: usize = 64 << 10;

/// An open connection, without TLS or with it.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<Encrypted>),
}

/// A connection with TLS.
#[derive(Debug)]
pub(super) struct Encrypted {
    stream: TcpStream,
    tls: ClientConnection,
    /// Bytes of the server that are not decrypted yet: those from `begin` to `end`.
    came: Vec<u8>,
    begin: usize,
    end: usize,
    /// Nothing more is sent: when all encrypted bytes are written, the sending half is closed.
    ends: bool,
}

impl Transport {
    /// Makes a connection as safe as the route demands. With TLS, the server has proved on return
    /// that it has the right key.
    ///
    /// Cancel-safe: the connection is dropped.
    pub(super) async fn open(stream: TcpStream, route: &Route) -> Result<Self, AttemptEnd> {
        if route.security() == Security::Plaintext {
            return Ok(Self::Plain(stream));
        }
        let mut tls = tls::begin(route)?;
        tls.set_buffer_limit(Some(WRITE_BYTES));
        let came = vec![0; READ_BYTES];
        let mut encrypted = Encrypted { stream, tls, came, begin: 0, end: 0, ends: false };
        let mut has_heard = false;
        while encrypted.tls.is_handshaking() || encrypted.tls.wants_write() {
            let handshaking = encrypted.step().await;
            if !has_heard && encrypted.end > 0 {
                has_heard = true;
                // TLS never begins with a 0, as a frame does: a server that has no room for a
                // connection says so before it knows what the client speaks. Later reads may begin in
                // the middle of a record, with any byte.
                if encrypted.came[0] == 0 {
                    return Err(AttemptEnd::Lost(NO_ROOM.to_owned()));
                }
            }
            handshaking.map_err(|error| not_encrypted(error, route))?;
        }
        tls::check_key(&encrypted.tls, route)?;
        Ok(Self::Tls(Box::new(encrypted)))
    }

    /// The socket under it.
    pub(super) fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Plain(stream) => SockRef::from(stream),
            Self::Tls(encrypted) => SockRef::from(&encrypted.stream),
        }
    }

    /// Waits until one of these may work: reading or writing.
    ///
    /// Cancel-safe, as tokio documents of `ready`.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Plain(stream) => stream.ready(interest).await,
            Self::Tls(encrypted) => encrypted.stream.ready(interest).await,
        }
    }

    /// Whether bytes that count as written wait for the system to take them.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(encrypted) => encrypted.tls.wants_write(),
        }
    }

    /// Reads what is there: as [`TcpStream::try_read`].
    pub(super) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(into),
            Self::Tls(encrypted) => encrypted.try_read(into),
        }
    }

    /// Writes what there is room for: as [`TcpStream::try_write_vectored`].
    pub(super) fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_write_vectored(slices),
            Self::Tls(encrypted) => encrypted.try_write(slices),
        }
    }

    /// Closes the sending half, after the bytes that wait.
    pub(super) fn end_sending(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => SockRef::from(&*stream).shutdown(Shutdown::Write),
            Self::Tls(encrypted) => {
                encrypted.tls.send_close_notify();
                encrypted.ends = true;
                match encrypted.flush() {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
                    flushed => flushed,
                }
            }
        }
    }
}

/// What a plain frame means that comes as the answer to a TLS handshake.
const NO_ROOM: &str = "the server has too many connections";

/// Bytes of the server were damaged on the way, or were never meant to be decrypted here.
#[derive(Debug, thiserror::Error)]
#[error("the encrypted connection was damaged on the way")]
struct NotDecrypted(#[source] rustls::Error);

/// What it means where the handshake fails.
fn not_encrypted(error: io::Error, route: &Route) -> AttemptEnd {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<NotDecrypted>());
    match tls {
        // The answer was no TLS at all, or one of another version.
        Some(NotDecrypted(
            rustls::Error::InvalidMessage(_) | rustls::Error::PeerIncompatible(_),
        )) => Failure::NoTls { server: route.server().clone() }.into(),
        _ => error.into(),
    }
}

impl Encrypted {
    /// One step of the handshake.
    async fn step(&mut self) -> io::Result<()> {
        let is_writing = self.tls.wants_write();
        let interest = if is_writing { Interest::WRITABLE } else { Interest::READABLE };
        self.stream.ready(interest).await?;
        let moved = if is_writing { self.flush() } else { self.hear() };
        match moved {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            moved => moved,
        }
    }

    fn hear(&mut self) -> io::Result<()> {
        if !self.fill()? {
            return Err(ErrorKind::ConnectionReset.into());
        }
        while self.decrypt()? {}
        Ok(())
    }

    /// Reads from the socket, where no bytes are left to decrypt. Returns whether the connection
    /// goes on.
    fn fill(&mut self) -> io::Result<bool> {
        if self.begin == self.end {
            let count = self.stream.try_read(&mut self.came)?;
            (self.begin, self.end) = (0, count);
        }
        Ok(self.begin < self.end)
    }

    /// Decrypts as much as there is room for; whether there may be more.
    fn decrypt(&mut self) -> io::Result<bool> {
        if self.begin == self.end {
            return Ok(false);
        }
        self.begin += self.tls.read_tls(&mut &self.came[self.begin..self.end])?;
        let decrypted = self.tls.process_new_packets();
        decrypted.map_err(|error| io::Error::new(ErrorKind::InvalidData, NotDecrypted(error)))?;
        Ok(true)
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // An end of the connection that TLS has not announced.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                read => return read,
            }
            if self.decrypt()? {
                continue;
            }
            if !self.fill()? {
                self.tls.read_tls(&mut io::empty())?;
            }
        }
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush()?;
        let count = self.tls.writer().write_vectored(slices)?;
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    /// Writes what is encrypted, until the system has no room for more.
    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut Socket(&self.stream))?;
        }
        if self.ends {
            return SockRef::from(&self.stream).shutdown(Shutdown::Write);
        }
        Ok(())
    }
}

/// The socket as a writer that never waits.
struct Socket<'s>(&'s TcpStream);

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
