//! The body of a request that comes in pieces, with rests between them.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// See the module's description.
pub(super) struct PacedBody {
    /// Each piece, and the rest before it.
    pieces: VecDeque<(Duration, Bytes)>,
    resting: Option<Pin<Box<Sleep>>>,
}

impl PacedBody {
    pub(super) fn new(pieces: Vec<(Duration, Bytes)>) -> Self {
        Self { pieces: pieces.into(), resting: None }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some((rest, _)) = this.pieces.front() else { return Poll::Ready(None) };
        let resting = this.resting.get_or_insert_with(|| Box::pin(sleep(*rest)));
        ready!(resting.as_mut().poll(context));
        this.resting = None;
        Poll::Ready(this.pieces.pop_front().map(|(_, piece)| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.iter().map(|(_, piece)| piece.len() as u64).sum())
    }
}
