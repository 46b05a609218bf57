//! One writer of a session of its own, asked one command after another.

use crate::command::{Command, Query};
use crate::event::{Answer, Event, EventKind, EventReceiver, Grant, Position, Tag};
use crate::receipt::Receipt;
use crate::rejection::{Rejection, RejectionKind};
use crate::session::{Admitted, Client, Session};
use std::sync::Arc;
use towline_types::{DocumentId, Offset};

/// A document that is in its place.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The proof.
    pub receipt: Arc<Receipt>,
    /// The document was there already: nothing was done.
    pub existing: bool,
}

/// What a command led to.
pub(super) enum Outcome {
    Granted(DocumentId, Grant),
    Withdrawn(Offset),
    Completed(Completion),
    Answer(Answer),
}

pub(super) struct Exchange {
    session: Session,
    events: EventReceiver,
    /// How far the upload was, as far as was heard.
    position: Option<Position>,
    /// Fences that the writer was given and whose answers were not heard yet: more than one,
    /// where the future of an earlier question was dropped.
    fences: usize,
    /// The first error that was heard and not told yet.
    rejection: Option<Rejection>,
}

/// The one writer.
const TAG: Tag = Tag(0);

impl Exchange {
    pub(super) fn new((session, events): (Session, EventReceiver)) -> Self {
        Self { session, events, position: None, fences: 0, rejection: None }
    }

    /// Gives the writer a command. Waits while as much payload as a session may have is under
    /// way. Not cancel-safe: dropped, the command is lost.
    pub(super) async fn push(&mut self, command: Command) -> Result<(), Rejection> {
        if let Some(admitted) = self.session.admit(TAG, command)? {
            let session = &mut self.session;
            WaitForPermits { session, admitted: Some(admitted) }.push().await;
        }
        Ok(())
    }

    /// Gives the writer a command, and waits until it and all before it are done. Errors of
    /// commands that were only [pushed](Self::push) are told here, the first of them. Not
    /// cancel-safe: dropped, the command is done, and its outcome is lost.
    pub(super) async fn ask(&mut self, command: Command) -> Result<Outcome, Rejection> {
        self.push(command).await?;
        self.push(Command::Query(Query::Fence)).await?;
        self.fences += 1;
        self.session.release_held_back();
        let mut outcome = None;
        loop {
            match self.next().await? {
                Heard::Outcome(Outcome::Answer(Answer::Fence)) if self.fences == 0 => break,
                // What was heard up to here is the answer to a question that was dropped.
                Heard::Outcome(Outcome::Answer(Answer::Fence)) => outcome = None,
                Heard::Outcome(new) => outcome = Some(new),
                Heard::Rejected(new) => {
                    self.rejection.get_or_insert(new);
                }
                Heard::Position => {}
            }
        }
        match (outcome, self.rejection.take()) {
            (Some(completed @ Outcome::Completed(_)), _) => Ok(completed),
            (_, Some(rejection)) => Err(rejection),
            (Some(outcome), None) => Ok(outcome),
            // The writer has dropped the command: its upload has ended, and that was told.
            (None, None) => Err(no_upload()),
        }
    }

    /// Waits until every byte before `wanted` is durable. Cancel-safe.
    pub(super) async fn durable(&mut self, wanted: Offset) -> Result<Position, Rejection> {
        loop {
            if let Some(position) = self.position
                && position.durable.get() >= wanted
            {
                return Ok(position);
            }
            if let Heard::Rejected(rejection) = self.next().await? {
                return Err(rejection);
            }
        }
    }

    /// Lets go of the upload when all that was pushed is done, and makes durable what came.
    /// Returns how far the upload was.
    pub(super) async fn close(self) -> Option<Position> {
        let Self { session, events, mut position, .. } = self;
        let closed = session.close(Client::Listens).await;
        drop(events);
        for event in closed.last_events().await {
            if let EventKind::Progress(last) = event.kind {
                position = Some(last);
            }
        }
        position
    }

    async fn next(&mut self) -> Result<Heard, Rejection> {
        let Some(Event { document, kind, .. }) = self.events.recv().await else {
            return Err(Rejection::new(RejectionKind::Internal, "the session has ended"));
        };
        Ok(match kind {
            EventKind::Progress(position) | EventKind::AtWork { position, .. } => {
                self.position = Some(position);
                Heard::Position
            }
            EventKind::Granted(grant) => match document {
                Some(id) => Heard::Outcome(Outcome::Granted(id, grant)),
                None => Heard::Position,
            },
            EventKind::Withdrawn { offset, .. } => Heard::Outcome(Outcome::Withdrawn(offset)),
            EventKind::Completed { receipt, existing } => {
                Heard::Outcome(Outcome::Completed(Completion { receipt, existing }))
            }
            EventKind::Answer(answer) => {
                match &*answer {
                    Answer::Fence => self.fences -= 1,
                    // What was durable before may have been taken back since.
                    Answer::Status(status) => self.position = Some(status.position),
                    _ => {}
                }
                Heard::Outcome(Outcome::Answer(*answer))
            }
            EventKind::Rejected(rejection) => Heard::Rejected(rejection),
            EventKind::Panicked => {
                const PANICKED: &str = "the server made a mistake; what is durable is kept";
                return Err(Rejection::new(RejectionKind::Internal, PANICKED));
            }
        })
    }
}

/// A command that waits for its permits. Dropped before, it is given back to its session.
struct WaitForPermits<'a> {
    session: &'a mut Session,
    admitted: Option<Admitted>,
}

impl WaitForPermits<'_> {
    async fn push(mut self) {
        if let Some(admitted) = &mut self.admitted {
            admitted.granted().await;
        }
        if let Some(admitted) = self.admitted.take() {
            self.session.push(admitted);
        }
    }
}

impl Drop for WaitForPermits<'_> {
    fn drop(&mut self) {
        if let Some(admitted) = self.admitted.take() {
            self.session.give_back(admitted);
        }
    }
}

enum Heard {
    Outcome(Outcome),
    Rejected(Rejection),
    /// How far the upload is, or nothing of use.
    Position,
}

/// Said where a command is for an upload that is not open.
pub(super) fn no_upload() -> Rejection {
    Rejection::new(RejectionKind::NoActiveUpload, "nothing is being uploaded here")
}
