//! Passes the events of a session on to its client.

use super::end::End;
use super::receipts::Receipts;
use super::send_buffer::SendBuffer;
use super::translate;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep_until};
use towline_engine::{Event, EventKind, EventReceiver, ReadEvent};
use towline_protocol::ErrorReply;

/// Passes events on until the session is closed. The client asks nothing more, and still waits for
/// its answers; the next page of a long one is made when the page before is on its way.
///
/// # Errors
/// Why the client gets no more of them: `cut`, or it does not read.
pub(super) async fn forward_until<T, W: AsyncWrite + Unpin>(
    closed: impl Future<Output = T>,
    cut: impl Future<Output = ErrorReply>,
    unread: Duration,
    events: &mut EventReceiver,
    outgoing: &mut SendBuffer<W>,
    receipts: Option<&Receipts>,
) -> Result<T, End> {
    tokio::pin!(closed, cut);
    loop {
        let deadline = outgoing.deadline(unread);
        tokio::select! {
            biased;
            error = &mut cut => return Err(End::Closed(error)),
            closed = &mut closed => return Ok(closed),
            Some(event) = events.recv(), if outgoing.has_room() => {
                forward(outgoing, event, receipts);
            }
            sent = outgoing.send(), if !outgoing.is_empty() => {
                if sent.is_err() {
                    return Err(End::Gone);
                }
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                return Err(End::Gone);
            }
        }
    }
}

/// Sends all that waits, however slowly the client reads.
///
/// # Errors
/// Why the client gets no more of it: `cut`, or it does not read.
pub(super) async fn send_all<W: AsyncWrite + Unpin>(
    cut: impl Future<Output = ErrorReply>,
    unread: Duration,
    outgoing: &mut SendBuffer<W>,
) -> Result<(), End> {
    tokio::pin!(cut);
    while let Some(deadline) = outgoing.deadline(unread) {
        tokio::select! {
            biased;
            error = &mut cut => return Err(End::Closed(error)),
            sent = outgoing.send() => {
                if sent.is_err() {
                    return Err(End::Gone);
                }
            }
            () = sleep_until(deadline) => return Err(End::Gone),
        }
    }
    Ok(())
}

/// Passes on the last events. The lanes are done, but a thread that ends an upload tells its
/// writers only when the catalog says so: no event follows when the last sender is dropped.
pub(super) async fn drain_events<W: AsyncWrite + Unpin>(
    events: &mut EventReceiver,
    outgoing: &mut SendBuffer<W>,
    receipts: Option<&Receipts>,
) {
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => forward(outgoing, event, receipts),
                None => return,
            },
            sent = outgoing.send(), if !outgoing.is_empty() => {
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

pub(super) fn forward<W: AsyncWrite + Unpin>(
    outgoing: &mut SendBuffer<W>,
    event: Event,
    receipts: Option<&Receipts>,
) {
    if let EventKind::Read(ReadEvent::Piece(piece)) = event.kind {
        return outgoing.push_content(translate::content_head(event.tag, &piece), piece);
    }
    if let Some(frames) = translate::frames(&event, receipts) {
        outgoing.push_frames(&frames);
    }
}
