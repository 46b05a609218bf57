//! The two halves of a TCP connection.
//!
//! The runtime is told of each arrival on a descriptor that it watches, also where another thread
//! reads: for a lane that [reads by itself](Receiver::set_read_deadline) each of them would wake a
//! thread that has nothing to do. So the receiving half is watched only while the runtime is to wait for
//! it. The sending half of replies is not watched at all, since that would take a second descriptor:
//! they are few and nearly always find room in the kernel's buffer, and where they do not it looks
//! again soon, and then less and less often. The bytes of documents fill that buffer again and
//! again, and a look that comes late leaves the line idle: while much waits, there is a second
//! descriptor, which the runtime watches. The system calls it ready when a third of the kernel's
//! buffer is free. A slow line takes minutes for that, so the sending half looks by itself as well:
//! a client that takes a little all the time is not one that takes nothing.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A reader that a thread can wait for by itself, without the runtime.
pub(crate) trait BlockingRead {
    /// From now on a read waits by itself, at most until then, and says by `Pending`
    /// that nothing came: no task will be woken, so it is to be polled and not awaited.
    /// Without a time the runtime waits again.
    fn set_read_deadline(&mut self, until: Option<Instant>);
}

/// See the module's description.
pub(crate) struct Receiver {
    stream: Arc<TcpStream>,
    watched: Option<AsyncFd<Arc<TcpStream>>>,
    alone: Option<Instant>,
}

/// See the module's description.
pub(crate) struct Sender {
    stream: Arc<TcpStream>,
    resting: Option<Pin<Box<Sleep>>>,
    /// How long it rests next, where there is still no room.
    rest: Duration,
    /// A second descriptor of the same connection, while much waits.
    watched: Option<AsyncFd<TcpStream>>,
    /// The next look at a watched connection that is not called ready.
    look: Option<Pin<Box<Sleep>>>,
}

/// So many bytes wait that a rest would leave the line idle: more than replies have as a rule.
const MUCH_BYTES: usize = 32 << 10;

/// The first rest of a sender without room; each further one is twice as long.
const REST: Duration = Duration::from_millis(5);

/// The longest.
const REST_MAX: Duration = Duration::from_millis(320);

/// The halves of a connection.
///
/// # Errors
/// Where the runtime does not let go of it.
pub(crate) fn halves(stream: tokio::net::TcpStream) -> io::Result<(Receiver, Sender)> {
    let stream = Arc::new(stream.into_std()?);
    let receiver = Receiver { stream: Arc::clone(&stream), watched: None, alone: None };
    Ok((receiver, Sender { stream, resting: None, rest: REST, watched: None, look: None }))
}

/// Has the runtime watch a descriptor.
#[expect(
    deprecated,
    reason = "because of types that change their descriptor, as a stream does not; what \
              replaces it is unsafe"
)]
fn watch<T: AsRawFd>(stream: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(stream, interest)
}

impl BlockingRead for Receiver {
    fn set_read_deadline(&mut self, until: Option<Instant>) {
        self.alone = until;
        if until.is_some() {
            self.watched = None;
        }
    }
}

impl Receiver {
    /// Reads; nothing comes of it where nothing is there by then.
    fn read_alone(&self, until: Instant, room: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match (&*self.stream).read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => return read.map(Some),
            }
            let left = until.saturating_duration_since(Instant::now());
            let Some(left) = Timespec::try_from(left).ok().filter(|_| !left.is_zero()) else {
                return Ok(None);
            };
            match poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsyncRead for Receiver {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buffer.initialize_unfilled();
        if let Some(until) = this.alone {
            return match this.read_alone(until, room)? {
                Some(count) => {
                    buffer.advance(count);
                    Poll::Ready(Ok(()))
                }
                None => Poll::Pending,
            };
        }
        let watched = match &mut this.watched {
            Some(watched) => watched,
            none => none.insert(watch(Arc::clone(&this.stream), Interest::READABLE)?),
        };
        loop {
            let mut ready = ready!(watched.poll_read_ready(context))?;
            match ready.try_io(|stream| (&**stream.get_ref()).read(room)) {
                Err(_nothing_there) => {}
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Ok(Ok(count)) => {
                    // That was all there is: to ask once more would only say so.
                    if (1..room.len()).contains(&count) {
                        ready.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl Sender {
    /// Writes `length_bytes` bytes, or as many as there is room for.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        length_bytes: usize,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let is_much = length_bytes >= MUCH_BYTES;
        loop {
            if let Some(resting) = &mut self.resting {
                ready!(resting.as_mut().poll(context));
                self.resting = None;
            }
            let written = match &self.watched {
                None => write(&self.stream),
                Some(watched) => match watched.poll_write_ready(context)? {
                    Poll::Ready(mut ready) => match ready.try_io(|_| write(&self.stream)) {
                        Err(_no_room) => continue,
                        Ok(written) => {
                            // The buffer of the kernel is full: another write would only say so.
                            if written.as_ref().is_ok_and(|written| *written < length_bytes) {
                                ready.clear_ready();
                            }
                            written
                        }
                    },
                    Poll::Pending => {
                        let look = self.look.get_or_insert_with(|| Box::pin(sleep(REST_MAX)));
                        ready!(look.as_mut().poll(context));
                        self.look = None;
                        match write(&self.stream) {
                            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                            written => written,
                        }
                    }
                },
            };
            match written {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // Without a free descriptor it rests, as for replies.
                    let second = if is_much { self.stream.try_clone().ok() } else { None };
                    match second.and_then(|second| watch(second, Interest::WRITABLE).ok()) {
                        None => {
                            self.resting = Some(Box::pin(sleep(self.rest)));
                            self.rest = REST_MAX.min(self.rest * 2);
                        }
                        watched => self.watched = watched,
                    }
                }
                written => {
                    self.rest = REST;
                    self.look = None;
                    if !is_much {
                        self.watched = None;
                    }
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl AsyncWrite for Sender {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(context, bytes.len(), |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length_bytes = slices.iter().map(|slice| slice.len()).sum();
        let write = |mut stream: &TcpStream| stream.write_vectored(slices);
        self.get_mut().poll_send(context, length_bytes, write)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            shut => shut,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn pair() -> (Receiver, Sender, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (receiver, sender) = halves(listener.accept().await.unwrap().0).unwrap();
        (receiver, sender, there)
    }

    #[tokio::test]
    async fn more_than_there_is_room_for_is_sent_as_it_is_read() {
        const LENGTH: usize = 32 << 20;
        let (_receiver, mut sender, mut there) = pair().await;
        let sending = tokio::spawn(async move {
            sender.write_all(&vec![7; LENGTH]).await.unwrap();
            sender.shutdown().await.unwrap();
        });
        let mut read = Vec::new();
        there.read_to_end(&mut read).await.unwrap();
        assert!(read.len() == LENGTH && read.iter().all(|byte| *byte == 7));
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn a_second_descriptor_is_there_while_much_waits_and_gone_with_the_rest() {
        let (_receiver, mut sender, mut there) = pair().await;
        let much = vec![7; 1 << 20];
        let mut sent = 0;
        let slices = [IoSlice::new(&much), IoSlice::new(b"end")];
        // Until there is no room.
        let waits = std::time::Duration::from_millis(50);
        while let Ok(count) = tokio::time::timeout(waits, sender.write_vectored(&slices)).await {
            sent += count.unwrap();
        }
        assert!(sender.watched.is_some() && sender.resting.is_none());
        // Much less than a third of what the kernel keeps: the system does not call it ready.
        let mut read = vec![0; sent / 8];
        there.read_exact(&mut read).await.unwrap();
        let little = tokio::time::timeout(std::time::Duration::from_secs(10), sender.write(&much));
        sent += little.await.expect("a little room is found").unwrap();
        let mut read = vec![0; sent - read.len()];
        there.read_exact(&mut read).await.unwrap();
        assert!(sender.write(&much).await.unwrap() > 0);
        let mut room = vec![0; 1 << 20];
        assert!(there.read(&mut room).await.unwrap() > 0);
        sender.write_all(b"end").await.unwrap();
        assert!(sender.watched.is_none());
    }

    #[tokio::test]
    async fn who_waits_alone_gives_it_back_to_the_runtime() {
        let (mut receiver, _sender, mut there) = pair().await;
        let mut room = [0; 10];
        there.write_all(b"one").await.unwrap();
        assert_eq!(receiver.read(&mut room).await.unwrap(), 3);
        assert!(receiver.watched.is_some());

        let soon = Instant::now() + Duration::from_millis(1);
        receiver.set_read_deadline(Some(soon));
        assert!(receiver.watched.is_none());
        assert_eq!(receiver.read_alone(soon, &mut room).unwrap(), None);

        let alone = tokio::task::spawn_blocking(move || {
            let late = Instant::now() + Duration::from_secs(60);
            receiver.set_read_deadline(Some(late));
            assert_eq!(receiver.read_alone(late, &mut room).unwrap(), Some(3));
            receiver
        });
        there.write_all(b"two").await.unwrap();
        let mut receiver = alone.await.unwrap();

        receiver.set_read_deadline(None);
        there.write_all(b"three").await.unwrap();
        drop(there);
        let mut rest = Vec::new();
        receiver.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"three");
    }
}
