//! The body of a request, on its way into an upload.
//!
//! A frame of hyper is kept only while it is copied into a block buffer of the pool, so a slow disk
//! stops the socket. A client that sends slowly keeps no buffer meanwhile.

use super::caller::Caller;
use super::content_digest::Checker;
use super::problem::Problem;
use crate::shared::Shared;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use towline_engine::{BlockBuffer, Rejection, UploadHandle, WHOLE_BYTES};
use towline_types::Offset;

/// See the module's description.
pub(super) struct RequestBody {
    body: Body,
    stopping: CancellationToken,
    /// Cancelled when another request sends these bytes again.
    superseded: CancellationToken,
    /// The trailers, once the body has ended.
    trailers: Option<HeaderMap>,
    /// How long the present look at the rate of the client lasts.
    window: Duration,
    window_ends: Instant,
    /// How many bytes came since it began.
    window_bytes: u64,
    /// A part of it has come.
    has_begun: bool,
}

/// Why a body ended before its end.
#[derive(Debug)]
pub(super) enum Cut {
    /// The client is gone.
    Gone,
    /// What the client is told.
    Told(Problem),
}

impl From<Rejection> for Cut {
    fn from(rejection: Rejection) -> Self {
        Self::Told(rejection.into())
    }
}

/// The least that a client has to send, in bytes a second.
const RATE_MIN: u64 = 1 << 10;

/// How long a buffer may be open before its bytes are written.
const BUFFER_WAIT: Duration = Duration::from_millis(100);

/// A new buffer has room for this many times the bytes that have just come: so a client that sends
/// little at a time has a small one.
const ROOM_FACTOR: usize = 16;

/// How many bytes are written before the writer is asked whether all is well.
const ASK_EVERY_BYTES: u64 = 16 << 20;

/// How much of the body of a request that is refused is read, so that the client hears why: two
/// chunks.
const DRAIN_BYTES: usize = 16 << 20;

/// How long that may take.
const DRAIN_MAX: Duration = Duration::from_secs(2);

impl RequestBody {
    pub(super) fn of(server: &Shared, body: Body) -> Self {
        let (stopping, window) = (server.stopping.clone(), server.timings.frame);
        let window_ends = Instant::now() + window;
        Self {
            body,
            stopping,
            superseded: CancellationToken::new(),
            trailers: None,
            window,
            window_ends,
            window_bytes: 0,
            has_begun: false,
        }
    }

    /// Cuts the body when that is cancelled: another request sends its bytes again.
    pub(super) fn end_with(&mut self, superseded: CancellationToken) {
        self.superseded = superseded;
    }

    /// The headers that came behind the body.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The next bytes; none at the end. Cancel-safe.
    async fn next(&mut self, caller: &Caller) -> Result<Option<Bytes>, Cut> {
        loop {
            let frame = tokio::select! {
                biased;
                problem = caller.ends() => return Err(Cut::Told(problem)),
                () = self.stopping.cancelled() => return Err(Cut::Told(stopping())),
                () = self.superseded.cancelled() => return Err(Cut::Told(superseded())),
                frame = timeout_at(self.window_ends, self.body.frame()) => frame,
            };
            let frame = match frame {
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => frame.map_err(|_| Cut::Gone)?,
                Err(_) if self.window_bytes < RATE_MIN * self.window.as_secs().max(1) => {
                    return Err(Cut::Told(too_slow(self.window)));
                }
                Err(_) => {
                    self.begin_window();
                    continue;
                }
            };
            self.has_begun = true;
            match frame.into_data() {
                Ok(data) => {
                    self.window_bytes += data.len() as u64;
                    return Ok(Some(data));
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }

    fn begin_window(&mut self) {
        self.window_ends = Instant::now() + self.window;
        self.window_bytes = 0;
    }

    /// Writes the body into the upload, from `offset` on. Returns how many bytes it has written,
    /// and whether the body was cut. A body that reaches beyond `end` is cut there.
    pub(super) async fn store(
        &mut self,
        upload: &mut UploadHandle,
        (offset, end): (Offset, Offset),
        mut checker: Option<&mut Checker>,
        caller: &Caller,
    ) -> (u64, Result<(), Cut>) {
        let mut writing = Writing {
            upload,
            at: offset,
            end,
            open: None,
            until: Instant::now(),
            asked_at: offset,
        };
        let done = loop {
            let next = match writing.open {
                Some(_) => match timeout_at(writing.until, self.next(caller)).await {
                    Ok(next) => next,
                    Err(_) => match writing.write().await {
                        Ok(()) => continue,
                        Err(rejection) => break Err(rejection.into()),
                    },
                },
                None => self.next(caller).await,
            };
            match next {
                Ok(Some(bytes)) => {
                    if let Some(checker) = &mut checker {
                        checker.update(&bytes);
                    }
                    let began = Instant::now();
                    if let Err(cut) = writing.take(&bytes, caller, &self.stopping).await {
                        break Err(cut);
                    }
                    // The time that the server makes the client wait does not count.
                    self.window_ends += began.elapsed();
                }
                Ok(None) => break Ok(()),
                Err(cut) => break Err(cut),
            }
        };
        let written = writing.write().await;
        let count = writing.at.get() - offset.get();
        (count, done.and(written.map_err(Cut::from)))
    }

    /// Reads what is left of the body of a request that is refused, as far as that is little.
    /// A body that the client keeps back until it is asked for it (`Expect: 100-continue`) is not
    /// asked for; and a server that stops reads nothing more.
    pub(super) async fn drain(mut self, is_expected: bool) {
        if is_expected && !self.has_begun || self.stopping.is_cancelled() {
            return;
        }
        let _ = timeout(DRAIN_MAX, async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(frame)) = self.body.frame().await {
                let read = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(read) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        })
        .await;
    }
}

/// Bytes on their way to the writer of an upload.
struct Writing<'a> {
    upload: &'a mut UploadHandle,
    /// Where the next bytes belong.
    at: Offset,
    /// No byte belongs here or behind.
    end: Offset,
    /// A buffer with bytes of one block, and where the first of them belongs.
    open: Option<(Offset, BlockBuffer)>,
    /// When the open buffer is written, however little is in it.
    until: Instant,
    asked_at: Offset,
}

impl Writing<'_> {
    async fn take(
        &mut self,
        mut bytes: &[u8],
        caller: &Caller,
        stopping: &CancellationToken,
    ) -> Result<(), Cut> {
        while !bytes.is_empty() {
            let left = self.end.get() - self.at.get();
            if left == 0 {
                return Err(Cut::Told(Problem::bad_request(
                    "Content-Length",
                    "the body is longer than the request says",
                )));
            }
            let (_, buffer) = match &mut self.open {
                Some(open) => open,
                none => {
                    let whole = WHOLE_BYTES as u64;
                    let room = (whole - self.at.get() % whole).min(left);
                    let wanted = bytes.len().saturating_mul(ROOM_FACTOR);
                    let room = usize::try_from(room).unwrap_or(WHOLE_BYTES).min(wanted);
                    let buffer = tokio::select! {
                        buffer = caller.account.buffer(room) => buffer,
                        problem = caller.ends() => return Err(Cut::Told(problem)),
                        () = stopping.cancelled() => return Err(Cut::Told(self::stopping())),
                    };
                    self.until = Instant::now() + BUFFER_WAIT;
                    none.insert((self.at, buffer))
                }
            };
            let space = buffer.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            buffer.filled(count);
            self.at = self.at.plus(count as u64);
            bytes = &bytes[count..];
            if buffer.is_full() {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// Hands the open buffer to the writer.
    async fn write(&mut self) -> Result<(), Rejection> {
        let Some((offset, mut buffer)) = self.open.take() else { return Ok(()) };
        if buffer.bytes().is_empty() {
            return Ok(());
        }
        buffer.pack();
        self.upload.write(offset, buffer).await?;
        if self.at.get() - self.asked_at.get() >= ASK_EVERY_BYTES {
            self.asked_at = self.at;
            self.upload.position().await?;
        }
        Ok(())
    }
}

fn stopping() -> Problem {
    let message = "the server is stopping; what was received is kept, go on later";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message)
}

fn superseded() -> Problem {
    let message = "another request sends these bytes again";
    Problem::new(StatusCode::CONFLICT, "superseded", message)
}

fn too_slow(window: Duration) -> Problem {
    let message = format!(
        "fewer than {RATE_MIN} bytes a second came for {} seconds; what was received is kept, go on \
         from there",
        window.as_secs()
    );
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message)
}
