//! A client of one server.

#[cfg(test)]
mod hostile;
pub(crate) mod many;
mod pursuit;
mod put;
mod questions;
#[cfg(test)]
mod scripted;
mod work;

use crate::address::ServerAddress;
use crate::attempt_end::AttemptEnd;
use crate::connection::Connection;
use crate::events::Listener;
use crate::failure::Failure;
use crate::route::Route;
use crate::timeouts::Timeouts;
use crate::token::Token;
use crate::transfer::attempt::Attempt;
use crate::transfer::{AttemptContext, Transfer};
use crate::uploads::Uploads;
use std::path::PathBuf;
use std::time::Duration;
use towline_state::StateFile;
use towline_state::state_file::{JobEntry, KnownServer};
use towline_types::StoreId;

/// How long a login may take where no server is known to be.
const FIRST_LOGIN: Duration = Duration::from_secs(10);

/// Uploads files to one server, one after another over one connection, which
/// it opens when it needs it and again when it is lost.
///
/// Make one with [`new`](Self::new), say what differs from the default with
/// [`state_file`](Self::state_file), [`retries`](Self::retries) and the like, then
/// [`put`](Self::put) as often as you like.
#[derive(Debug)]
pub struct Client {
    route: Route,
    /// Where that leads to, with what the server has told of itself.
    known: KnownServer,
    /// The store that the questions or the files are for, where that is known.
    expected: Option<StoreId>,
    /// The commands that it works for, as the list is to have them.
    jobs: Vec<JobEntry>,
    /// It has logged in there in this run, or in an earlier one.
    was_met: bool,
    /// How often in a row all that was sent behind a login was lost.
    in_vain: u32,
    token: Token,
    token_file: Option<PathBuf>,
    uploads: Uploads,
    retries: Option<u32>,
    timeouts: Timeouts,
    connection: Option<Connection>,
}

impl Client {
    /// A client that keeps no state file and retries for ever.
    #[must_use]
    pub fn new(server: ServerAddress, token: Token) -> Self {
        Self {
            known: KnownServer::new(server.to_string(), None),
            route: Route::to(server),
            expected: None,
            jobs: Vec::new(),
            was_met: false,
            in_vain: 0,
            token,
            token_file: None,
            uploads: Uploads::default(),
            retries: None,
            timeouts: Timeouts::default(),
            connection: None,
        }
    }

    /// Keeps a list of unfinished uploads in that file.
    #[must_use]
    pub fn state_file(mut self, file: StateFile) -> Self {
        self.uploads = Uploads::kept_in(file);
        self
    }

    /// Reads the list of unfinished uploads in that file, which cannot be written: what is
    /// begun is not remembered.
    #[must_use]
    pub fn read_only_state_file(mut self, file: StateFile) -> Self {
        self.uploads = Uploads::read_from(file);
        self
    }

    /// Remembers in the list where the token lay, not what it is.
    #[must_use]
    pub fn token_file(mut self, path: Option<PathBuf>) -> Self {
        self.token_file = path;
        self
    }

    /// The number of attempts in a row, each without a durable byte, after which the client
    /// gives a file up. `None` sets no limit, except for a server that never answered.
    #[must_use]
    pub fn retries(mut self, retries: Option<u32>) -> Self {
        self.retries = retries;
        self
    }

    /// Works for that store alone: the same number means something else in another one, and
    /// the files may not be meant for it.
    #[must_use]
    pub fn expected_store(mut self, store: Option<StoreId>) -> Self {
        self.expected = store;
        self
    }

    /// Says in the list which server has these commands, as soon as that is known.
    pub(crate) fn works_for(&mut self, jobs: Vec<JobEntry>) {
        self.jobs = jobs;
    }

    /// The store that has answered, where one has, and has said which one it is.
    pub(crate) fn store(&self) -> Option<StoreId> {
        self.known.id
    }

    /// Whether the server has answered in this run, or in an earlier one that the list tells
    /// of.
    pub(crate) fn has_met_server(&self) -> bool {
        self.was_met
    }

    /// How long to wait for what.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &ServerAddress {
        self.route.server()
    }

    async fn connected(&mut self) -> Result<&mut Connection, AttemptEnd> {
        if self.connection.is_none() {
            // Of a server that was never heard of nothing says that it is one.
            let login = self.timeouts.ping_answer;
            let login = if self.was_met { login } else { login.min(FIRST_LOGIN) };
            let opened = Connection::open(&self.route, &self.token, self.timeouts, login).await?;
            let store = opened.welcome().server_id;
            if self.expected.is_some() && store.is_some() && self.expected != store {
                let server = self.known.address.clone();
                return Err(Failure::OtherServer { document_id: None, server }.into());
            }
            self.was_met = true;
            self.note_store(store);
            self.connection = Some(opened);
        }
        self.connection.as_mut().ok_or_else(|| AttemptEnd::Lost(String::new()))
    }

    /// Remembers who has answered. A command over several files that is killed later on is
    /// told apart by that; the one file of a command has it in the entry of its upload.
    fn note_store(&mut self, store: Option<StoreId>) {
        if store.is_some() && store != self.known.id {
            for job in self.jobs.iter().filter(|job| job.files > 1) {
                self.uploads.job_stands_at(JobEntry { server_id: store, ..job.clone() });
            }
        }
        self.known.id = store;
    }

    /// One attempt at a file, over the connection that is open or a new one.
    async fn attempt(&mut self, transfer: &mut Transfer, listener: Listener<'_>) -> Attempt {
        if let Err(end) = self.connected().await {
            return Attempt::not_begun(end);
        }
        let Some(connection) = self.connection.as_mut() else {
            return Attempt::not_begun(AttemptEnd::Lost(String::new()));
        };
        let context = AttemptContext {
            connection,
            uploads: &self.uploads,
            route: &self.route,
            server: &self.known,
            token: &self.token,
            timeouts: self.timeouts,
            token_file: self.token_file.as_ref(),
            listener,
        };
        transfer.attempt(context).await
    }

    /// A connection on which one upload was refused is good for the next; one
    /// whose peer misbehaves is not.
    fn tidy_after(&mut self, failure: &Failure) {
        let usable = match failure {
            Failure::Refused { reply, .. } => !reply.code.closes(),
            Failure::Changed { .. }
            | Failure::File { .. }
            | Failure::NotYours { .. }
            | Failure::OtherServer { .. }
            | Failure::OtherHash { .. } => true,
            _ => false,
        };
        match &mut self.connection {
            Some(connection) if usable => connection.drop_queue(),
            connection => *connection = None,
        }
    }
}
