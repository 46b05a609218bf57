//! What the threads of the catalog are asked to do.

use super::error::CatalogError;
use rusqlite::Connection;
use tokio::sync::oneshot;
use towline_types::UserId;

/// The kinds of callers that take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Share {
    /// Looks at users: logins.
    Users,
    /// Looks at documents by their number.
    Documents,
    /// What one user asks about places and contents.
    Of(UserId),
}

/// What the thread is asked to do.
pub(super) enum Job {
    /// For the thread that writes: it sees what was asked for before it.
    Read(Box<dyn Task>),
    /// For the thread that looks things up.
    Look(Share, Box<dyn Task>),
    Write(Box<dyn Task>),
    Close(oneshot::Sender<Result<(), CatalogError>>),
}

/// A job without its types: it is run, and answered once its fate is known.
pub(super) trait Task: Send {
    /// Does the work and keeps its result. An error means that it must be undone.
    fn run(&mut self, connection: &Connection) -> Result<(), CatalogError>;

    /// Answers with the result; with the error where the whole group failed.
    fn answer(self: Box<Self>, group: Result<(), CatalogError>);
}

/// A job with its types.
pub(super) struct Work<T, F> {
    work: Option<F>,
    result: Result<T, CatalogError>,
    answer: oneshot::Sender<Result<T, CatalogError>>,
}

impl<T, F> Work<T, F>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, CatalogError> + Send + 'static,
{
    #[expect(clippy::new_ret_no_self, reason = "callers need no type, only what it can do")]
    pub(super) fn new(work: F, answer: oneshot::Sender<Result<T, CatalogError>>) -> Box<dyn Task> {
        Box::new(Self { work: Some(work), result: Err(CatalogError::Closed), answer })
    }
}

impl<T, F> Task for Work<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, CatalogError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), CatalogError> {
        if let Some(work) = self.work.take() {
            self.result = work(connection);
        }
        self.result.as_ref().map(drop).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, group: Result<(), CatalogError>) {
        // Whoever asked may have gone; the work is done all the same.
        let _ = self.answer.send(group.and(self.result));
    }
}
