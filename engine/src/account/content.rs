//! A part of a completed document that is being read.

use crate::command::ReadRequest;
use crate::event::{Event, EventKind, EventReceiver, Opened, ReadEvent, Tag};
use crate::piece::Piece;
use crate::rejection::{Rejection, RejectionKind};
use crate::session::Session;
use std::ops::Range;
use towline_types::{DocumentId, FileHash, FileSize, Offset};

/// The bytes of a document, a [piece](Piece) at a time. The bytes are those of the file that was
/// opened, also where another file gets its name in the meantime. A few MiB are read ahead; no more
/// is read while the caller keeps its pieces. Dropped, it reads no more.
pub struct Content {
    id: DocumentId,
    opened: Opened,
    events: EventReceiver,
    is_over: bool,
    /// Its drop ends the read.
    _session: Session,
}

impl Content {
    pub(super) async fn open(
        (mut session, mut events): (Session, EventReceiver),
        request: ReadRequest,
    ) -> Result<Self, Rejection> {
        session.read(Tag(0), request)?;
        let (id, opened) = loop {
            match next_event(&mut events).await? {
                (Some(id), Some(ReadEvent::Opened(opened))) => break (id, opened),
                (_, None) => {}
                (_, Some(_)) => return Err(cut_off()),
            }
        };
        Ok(Self { id, opened, events, is_over: false, _session: session })
    }

    /// Which document it is.
    #[must_use]
    pub fn document_id(&self) -> DocumentId {
        self.id
    }

    /// The hash of the whole file that was uploaded.
    #[must_use]
    pub fn hash(&self) -> FileHash {
        self.opened.hash
    }

    /// The length of the whole file in bytes.
    #[must_use]
    pub fn filesize(&self) -> FileSize {
        self.opened.filesize
    }

    /// What is read of the file: it ends where the file ends, if more was asked for.
    #[must_use]
    pub fn range(&self) -> &Range<Offset> {
        &self.opened.range
    }

    /// The next bytes of the range, of one block; none after the last ones. The pieces follow each
    /// other without a gap. Cancel-safe: a piece that was read is there for the next call.
    ///
    /// # Errors
    /// `Damaged` where the file is found not to be the one that was uploaded: it was written to, or
    /// its bytes do not fit its hash. Other kinds where the disk does not give the bytes out, or the
    /// engine ends. The bytes of earlier pieces were verified as the
    /// [request](ReadRequest::verifier) says, each block by itself.
    pub async fn next(&mut self) -> Result<Option<Piece>, Rejection> {
        while !self.is_over {
            let event = next_event(&mut self.events).await.inspect_err(|_| self.is_over = true)?;
            match event.1 {
                Some(ReadEvent::Piece(piece)) => return Ok(Some(piece)),
                Some(ReadEvent::End) => self.is_over = true,
                Some(ReadEvent::Opened(_)) | None => {}
            }
        }
        Ok(None)
    }
}

/// The next event, with its document; none for one that only says that the engine is at work.
async fn next_event(
    events: &mut EventReceiver,
) -> Result<(Option<DocumentId>, Option<ReadEvent>), Rejection> {
    let Some(Event { document, kind, .. }) = events.recv().await else { return Err(cut_off()) };
    match kind {
        EventKind::Read(event) => Ok((document, Some(event))),
        EventKind::Rejected(rejection) => Err(rejection),
        EventKind::Panicked => Err(Rejection::new(RejectionKind::Internal, PANICKED)),
        _ => Ok((document, None)),
    }
}

const PANICKED: &str = "the server made a mistake; nothing is lost, read again";

fn cut_off() -> Rejection {
    Rejection::new(RejectionKind::Stopping, "the server is stopping; read again later")
}
