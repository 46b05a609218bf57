//! A client of one server.

use crate::address::ServerAddress;
use crate::connection::{Connection, Patience};
use crate::document::Document;
use crate::events::{Event, Listener, Receipt};
use crate::failure::Failure;
use crate::retry::Backoff;
use crate::source::Source;
use crate::stop::Stop;
use crate::token::Token;
use crate::transfer::{Means, PutOptions, Transfer};
use crate::uploads::Uploads;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;
use towline_protocol::reply::{Cancelled, Status};
use towline_protocol::request::About;
use towline_protocol::{DocumentId, Reply, Request};
use towline_state::StateFile;

/// How often in a row, without any progress between, a link may deliver what
/// cannot have been sent before that is no accident.
const GARBLED_MAX: u32 = 5;

/// Uploads files to one server, one after another over one connection, which
/// it opens when it needs it and again when it is lost.
///
/// Make one with [`new`](Self::new), say what differs from the default with
/// [`keeping`](Self::keeping), [`retries`](Self::retries) and the like, then
/// [`put`](Self::put) as often as you like.
#[derive(Debug)]
pub struct Client {
    server: ServerAddress,
    token: Token,
    token_file: Option<PathBuf>,
    uploads: Uploads,
    retries: Option<u32>,
    patience: Patience,
    connection: Option<Connection>,
}

impl Client {
    /// A client that keeps no state file and retries for ever.
    #[must_use]
    pub fn new(server: ServerAddress, token: Token) -> Self {
        Self {
            server,
            token,
            token_file: None,
            uploads: Uploads::default(),
            retries: None,
            patience: Patience::default(),
            connection: None,
        }
    }

    /// Keeps a list of unfinished uploads in that file.
    #[must_use]
    pub fn keeping(mut self, file: StateFile) -> Self {
        self.uploads = Uploads::kept_in(file);
        self
    }

    /// Remembers in the list where the token lay, not what it is.
    #[must_use]
    pub fn token_file(mut self, path: Option<PathBuf>) -> Self {
        self.token_file = path;
        self
    }

    /// Gives up after so many attempts without progress; never where `None`.
    #[must_use]
    pub fn retries(mut self, retries: Option<u32>) -> Self {
        self.retries = retries;
        self
    }

    /// How long to wait for what.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// Uploads a file, however often the connection is lost on the way, and
    /// goes on with what an earlier run has begun. Returns when the server has
    /// confirmed that it has these very bytes.
    ///
    /// `cancel` pauses: the server is told, and the list of uploads too.
    ///
    /// # Errors
    /// See [`Failure`]; what can be resumed has [`Exit::Resumable`](crate::Exit::Resumable).
    pub async fn put(
        &mut self,
        document: &Document,
        options: &PutOptions,
        cancel: &CancellationToken,
        listener: Listener<'_>,
    ) -> Result<Receipt, Failure> {
        let path = document.local.clone();
        let source = tokio::task::spawn_blocking(move || Source::open(&path)).await;
        let source = source.unwrap_or_else(|error| {
            let path = document.local.clone();
            Err(Failure::File { action: "open", path, source: std::io::Error::other(error) })
        })?;
        let mut transfer = Transfer::new(document.clone(), source, options.clone());
        let outcome = tokio::select! {
            biased;
            // Cancel-safe.
            () = cancel.cancelled() => None,
            // Dropped at a cancellation: the transfer and the connection are
            // fit for a pause at any moment.
            outcome = self.pursue(&mut transfer, listener) => Some(outcome),
        };
        let failure = match outcome {
            Some(Ok(receipt)) => {
                listener(Event::Completed(receipt.clone()));
                return Ok(receipt);
            }
            Some(Err(failure)) => failure.with(transfer.kept()),
            None => {
                if let Some(connection) = self.connection.take() {
                    connection.say_farewell(|reply| transfer.hear(&reply)).await;
                }
                if let Some(standing) = transfer.standing() {
                    listener(Event::Paused(standing));
                }
                Failure::Interrupted(transfer.kept())
            }
        };
        if let Some(kept) = transfer.kept() {
            self.uploads.paused(&self.server, kept.document_id, kept.durable);
            self.uploads.settle().await;
        }
        Err(failure)
    }

    /// How a document stands.
    ///
    /// # Errors
    /// Where the server cannot be reached (it is tried once) or says no.
    pub async fn status(&mut self, document_id: DocumentId) -> Result<Status, Failure> {
        match self.ask_about(document_id, Request::Status).await? {
            Reply::Status(status) => Ok(status),
            other => Err(Failure::Protocol(format!("'status' was answered {other:?}"))),
        }
    }

    /// Gives an upload up, on the server and in the list.
    ///
    /// # Errors
    /// Where the server cannot be reached (it is tried once) or says no.
    pub async fn cancel(&mut self, document_id: DocumentId) -> Result<Cancelled, Failure> {
        match self.ask_about(document_id, Request::Cancel).await? {
            Reply::Cancel(cancelled) => {
                self.uploads.remove(&self.server, document_id).await?;
                Ok(cancelled)
            }
            other => Err(Failure::Protocol(format!("'cancel' was answered {other:?}"))),
        }
    }

    async fn ask_about(
        &mut self,
        document_id: DocumentId,
        request: impl FnOnce(About) -> Request,
    ) -> Result<Reply, Failure> {
        let answer = async {
            let connection = self.connected().await?;
            let channel = connection.new_channel();
            match connection.ask(&request(About { channel, document_id })).await? {
                Reply::Error(error) => Err(Stop::refused(error)),
                reply => Ok(reply),
            }
        };
        let answer = answer.await;
        answer.map_err(|stop| {
            self.connection = None;
            let unreachable = |reason| Failure::Unreachable {
                server: self.server.clone(),
                attempts: 1,
                reason,
                kept: None,
            };
            match stop {
                Stop::Failed(failure) | Stop::Garbled(failure) => failure,
                Stop::Later(reply) => Failure::Refused { reply, kept: None },
                Stop::Lost(reason) => unreachable(reason),
                Stop::Realign => unreachable(String::new()),
            }
        })
    }

    async fn connected(&mut self) -> Result<&mut Connection, Stop> {
        if self.connection.is_none() {
            let opened = Connection::open(&self.server, &self.token, self.patience).await?;
            self.connection = Some(opened);
        }
        self.connection.as_mut().ok_or_else(|| Stop::Lost(String::new()))
    }

    /// Attempt after attempt.
    async fn pursue(
        &mut self,
        transfer: &mut Transfer,
        listener: Listener<'_>,
    ) -> Result<Receipt, Failure> {
        let mut backoff = Backoff::new(self.retries);
        let mut garbled = 0;
        let mut told = false;
        loop {
            let advances = transfer.advances();
            let stop = match self.attempt(transfer, listener).await {
                Ok(receipt) => return Ok(receipt),
                Err(stop) => stop,
            };
            if transfer.advances() > advances {
                backoff.progressed();
                garbled = 0;
                told = false;
            }
            let reason = match stop {
                Stop::Lost(reason) => reason,
                Stop::Later(reply) => reply.message,
                Stop::Realign => "client and server differ".to_owned(),
                Stop::Garbled(failure) => {
                    garbled += 1;
                    if garbled >= GARBLED_MAX {
                        self.connection = None;
                        return Err(failure);
                    }
                    failure.to_string()
                }
                Stop::Failed(failure) => {
                    self.tidy_after(&failure);
                    return Err(failure);
                }
            };
            self.connection = None;
            let Some(wait) = backoff.next_wait(fastrand::f64()) else {
                return Err(Failure::Unreachable {
                    server: self.server.clone(),
                    attempts: backoff.failed() + 1,
                    reason: crate::printable(&reason),
                    kept: None,
                });
            };
            if !told {
                told = true;
                let path = transfer.local().clone();
                let message = format!("{} ({})", WAITING, crate::printable(&reason));
                listener(Event::Waiting { path, message });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(
        &mut self,
        transfer: &mut Transfer,
        listener: Listener<'_>,
    ) -> Result<Receipt, Stop> {
        self.connected().await?;
        let Some(link) = self.connection.as_mut() else { return Err(Stop::Lost(String::new())) };
        let means = Means {
            link,
            uploads: &self.uploads,
            server: &self.server,
            token_file: self.token_file.as_ref(),
            listener,
        };
        transfer.attempt(means).await
    }

    /// A connection on which one upload was refused is good for the next; one
    /// whose peer misbehaves is not.
    fn tidy_after(&mut self, failure: &Failure) {
        let usable = match failure {
            Failure::Refused { reply, .. } => !reply.code.closes(),
            Failure::Changed(_) | Failure::File { .. } | Failure::OtherHash { .. } => true,
            _ => false,
        };
        match &mut self.connection {
            Some(connection) if usable => connection.drop_queue(),
            connection => *connection = None,
        }
    }
}

const WAITING: &str = "no connection; trying again until there is one";
