//! A session with one writer, which gets one command after another and waits for the outcome of
//! each.

use crate::command::{Command, Query};
use crate::event::{Answer, Event, EventKind, EventReceiver, Grant, Position, Tag};
use crate::receipt::Receipt;
use crate::rejection::{Rejection, RejectionKind};
use crate::session::{Admitted, Client, Session};
use crate::tree::request::TreeAnswer;
use std::sync::Arc;
use towline_types::{DocumentId, Offset};

/// A document that is in its place.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The proof.
    pub receipt: Arc<Receipt>,
    /// The document was there already: no byte had to be sent or copied.
    pub existing: bool,
}

/// What a command led to.
pub(super) enum Outcome {
    Granted(DocumentId, Grant),
    Withdrawn(Offset),
    Completed(Completion),
    Cancelled,
    Tree(TreeAnswer),
    Answer(Answer),
}

pub(super) struct Exchange {
    session: Session,
    events: EventReceiver,
    /// The position that the last event said.
    position: Option<Position>,
    /// Fences that the writer was given and whose answers have not been received: more than one if
    /// the future of an earlier question was dropped.
    fences: usize,
    /// The first error that was received and not returned yet.
    rejection: Option<Rejection>,
}

/// The one writer.
const TAG: Tag = Tag(0);

impl Exchange {
    pub(super) fn new((session, events): (Session, EventReceiver)) -> Self {
        Self { session, events, position: None, fences: 0, rejection: None }
    }

    /// Gives the writer a command. Waits while the session has as much payload under way as it may
    /// have. Not cancel-safe: dropped, the command is lost.
    pub(super) async fn push(&mut self, command: Command) -> Result<(), Rejection> {
        if let Some(admitted) = self.session.admit(TAG, command)? {
            let session = &mut self.session;
            WaitForPermits { session, admitted: Some(admitted) }.push().await;
        }
        Ok(())
    }

    /// Gives the writer a command, and waits until it and all commands before it are done. If
    /// commands that were only [pushed](Self::push) failed, the first of their errors is returned
    /// here. Not cancel-safe: dropped, the command is done, and its outcome is lost.
    pub(super) async fn ask(&mut self, command: Command) -> Result<Outcome, Rejection> {
        self.push(command).await?;
        self.push(Command::Query(Query::Fence)).await?;
        self.fences += 1;
        self.session.release_held_back();
        let mut outcome = None;
        loop {
            match self.next().await? {
                Heard::Outcome(Outcome::Answer(Answer::Fence)) if self.fences == 0 => break,
                // The events up to here answer a question whose future was dropped.
                Heard::Outcome(Outcome::Answer(Answer::Fence)) => outcome = None,
                // A small file that was there already is answered with its receipt, and so is the
                // `complete` that came with it: the first one says that it was there.
                Heard::Outcome(_) if matches!(outcome, Some(Outcome::Completed(_))) => {}
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
            // The writer has dropped the command: its upload has ended, and an earlier call has
            // returned the reason.
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

    /// Lets go of the upload when all commands that were pushed are done, and makes durable what
    /// was received. Returns how far the upload was, and what went wrong until then, such as the
    /// sync.
    pub(super) async fn close(self) -> (Option<Position>, Option<Rejection>) {
        let Self { session, events, mut position, mut rejection, .. } = self;
        let closed = session.close(Client::Listens).await;
        drop(events);
        for event in closed.last_events().await {
            match event.kind {
                EventKind::Progress(last) => position = Some(last),
                EventKind::Rejected(last) => rejection = rejection.or(Some(last)),
                _ => {}
            }
        }
        (position, rejection)
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
            EventKind::Cancelled => Heard::Outcome(Outcome::Cancelled),
            EventKind::Tree(answer) => Heard::Outcome(Outcome::Tree(*answer)),
            EventKind::Answer(answer) => {
                match &*answer {
                    Answer::Fence => self.fences -= 1,
                    // Bytes that were durable before may have been taken back since.
                    Answer::Status(status) => self.position = Some(status.position),
                    _ => {}
                }
                Heard::Outcome(Outcome::Answer(*answer))
            }
            EventKind::Rejected(rejection) => Heard::Rejected(rejection),
            // Its session reads nothing.
            EventKind::Read(_) => Heard::Position,
            EventKind::Panicked => {
                const PANICKED: &str = "the server made a mistake; what is durable is kept";
                return Err(Rejection::new(RejectionKind::Internal, PANICKED));
            }
        })
    }
}

/// A command that waits for its permits. If the wait is dropped, the command is given back to its
/// session.
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
    /// A new position, or an event that says nothing about the command.
    Position,
}

/// The rejection of a command for an upload that is not open.
pub(super) fn no_upload() -> Rejection {
    Rejection::new(RejectionKind::NoActiveUpload, "nothing is being uploaded here")
}
