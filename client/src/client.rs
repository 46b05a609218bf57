//! A client of one server: its settings and its connection. What it does is in the files of
//! `client/`: `put` (one file), `many` (many files), `questions` (everything else).

mod answer_size;
#[cfg(unix)]
pub(crate) mod get;
#[cfg(test)]
mod hostile;
pub(crate) mod joining;
pub(crate) mod link;
mod make;
pub(crate) mod many;
mod other_address;
mod pipe;
mod put;
mod questions;
mod retry;
#[cfg(unix)]
mod running;
#[cfg(test)]
mod scripted;
pub(crate) mod tree;
mod work;

#[cfg(unix)]
pub(crate) use retry::Wait;

use crate::address::ServerAddress;
use crate::attempt_end::AttemptEnd;
use crate::connection::Connection;
#[cfg(doc)]
use crate::events::Receipt;
use crate::events::{Event, Listener};
use crate::failure::Failure;
use crate::route::Route;
use crate::route::other_addresses::{KnownAddresses, OtherAddresses};
use crate::security::Security;
use crate::timeouts::Timeouts;
use crate::token::{Token, TokenSource};
use crate::transfer::attempt::Attempt;
use crate::transfer::{AttemptContext, Transfer};
use crate::uploads::Uploads;
use std::path::PathBuf;
use std::time::Duration;
use towline_state::StateFile;
use towline_state::state_file::{JobEntry, KnownServer};
use towline_types::StoreId;

/// How long a login may take where no server has ever answered.
const FIRST_LOGIN: Duration = Duration::from_secs(10);

/// Uploads files to one server. It opens a connection when it needs one, and opens another when
/// that is lost.
///
/// Make one with [`new`](Self::new), change its defaults with [`state_file`](Self::state_file),
/// [`retries`](Self::retries), [`timeouts`](Self::timeouts) and the other setters, then call
/// [`put`](Self::put) or [`put_many`](Self::put_many) as often as needed. [`status`](Self::status)
/// and [`cancel`](Self::cancel) ask about one document.
#[derive(Debug)]
pub struct Client {
    route: Route,
    /// Where the server may be as well.
    others: OtherAddresses,
    /// That the server was found at another address, until a person is told.
    moved: Option<String>,
    /// The address of the server, and the store that it says it has.
    known: KnownServer,
    /// The store that has to answer, where the caller knows it.
    expected: Option<StoreId>,
    /// The commands that this client works for, as the state file has them.
    jobs: Vec<JobEntry>,
    /// The server has accepted a login, in this run or in an earlier one.
    was_met: bool,
    /// The server has accepted a login in this run.
    has_logged_in: bool,
    /// How many connections in a row were lost without a byte of a file received, although the
    /// login had arrived.
    in_vain: u32,
    token: TokenSource,
    /// The token that was shown at the last login.
    shown: Token,
    uploads: Uploads,
    retries: Option<u32>,
    wants_receipts: bool,
    timeouts: Timeouts,
    connection: Option<Connection>,
}

impl Client {
    /// A client without a state file and without a limit of retries.
    #[must_use]
    pub fn new(server: ServerAddress, token: Token) -> Self {
        Self {
            known: KnownServer::new(server.to_string(), None),
            route: Route::to(server),
            others: OtherAddresses::default(),
            moved: None,
            expected: None,
            jobs: Vec::new(),
            was_met: false,
            has_logged_in: false,
            in_vain: 0,
            shown: token.clone(),
            token: TokenSource::new(token, None),
            uploads: Uploads::default(),
            retries: None,
            wants_receipts: false,
            timeouts: Timeouts::default(),
            connection: None,
        }
    }

    /// The client of a person who has no token yet. It can [`join`](Self::join), and nothing else.
    #[must_use]
    pub fn without_token(server: ServerAddress) -> Self {
        Self::new(server, Token::none())
    }

    /// Keeps the list of unfinished uploads in this file.
    #[must_use]
    pub fn state_file(mut self, file: StateFile) -> Self {
        self.uploads = Uploads::kept_in(file);
        self
    }

    /// Reads the list of unfinished uploads in this file, and never writes to it: an upload that
    /// this client begins is not remembered.
    #[must_use]
    pub fn read_only_state_file(mut self, file: StateFile) -> Self {
        self.uploads = Uploads::read_from(file);
        self
    }

    /// The file that the token came from. The list of unfinished uploads remembers the path, never
    /// the token; and the file is read once more before the token ends, and where the server refuses
    /// the token.
    #[must_use]
    pub fn token_file(mut self, path: Option<PathBuf>) -> Self {
        self.token = TokenSource::new(self.token.current(), path);
        self
    }

    /// The number of attempts in a row, each without a durable byte, after which the client gives a
    /// file up. `None` sets no limit, except for a server that has never answered.
    #[must_use]
    pub fn retries(mut self, retries: Option<u32>) -> Self {
        self.retries = retries;
        self
    }

    /// The most bytes that are sent in a second, over all connections together. `None` sets no
    /// limit.
    #[must_use]
    pub fn limit_rate(mut self, bytes_per_second: Option<u64>) -> Self {
        self.route.limit_rate(bytes_per_second);
        self
    }

    /// Has the server sign a receipt for each file, which is in [`Receipt::signed`] then. A server
    /// that signs none is sent nothing.
    #[must_use]
    pub fn receipts(mut self, are_wanted: bool) -> Self {
        self.wants_receipts = are_wanted;
        self
    }

    /// Sets how the connections are protected; without this it is [`Security::usual`].
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.route.secure(security);
        self
    }

    /// Where the server may be as well. Where nothing answers at its address, and it has to have a
    /// certain key ([`Security::Key`]), the client looks for it where its store has answered before,
    /// and goes on there if the same store answers. The client tells which stores have answered.
    #[must_use]
    pub fn other_addresses(mut self, known: impl KnownAddresses + 'static) -> Self {
        self.others = OtherAddresses::of(known);
        self
    }

    /// Uploads to that store alone and asks no other one: a document number means something else
    /// in another store, and the files may not be meant for it.
    #[must_use]
    pub fn expected_store(mut self, store: Option<StoreId>) -> Self {
        self.expected = store;
        self
    }

    /// Has the list say which store has these commands, as soon as the store is known.
    pub(crate) fn works_for(&mut self, jobs: Vec<JobEntry>) {
        self.jobs = jobs;
    }

    /// The store that the server has said it has.
    pub(crate) fn store(&self) -> Option<StoreId> {
        self.known.id
    }

    /// Whether the server has answered in this run, or in an earlier one that the list tells
    /// of.
    pub(crate) fn has_met_server(&self) -> bool {
        self.was_met
    }

    /// Whether the server has accepted a login in this run.
    pub(crate) fn has_logged_in(&self) -> bool {
        self.has_logged_in
    }

    /// Sets how long the client waits for each step.
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

    /// Closes the connection, where there is one: a long pause follows. The next request opens
    /// another.
    pub(crate) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// The open connection, or a new one.
    ///
    /// Cancel-safe: a connection that is not open yet is dropped.
    async fn connected(&mut self) -> Result<&mut Connection, AttemptEnd> {
        if self.connection.is_none() {
            // Where no server has ever answered, there may be none: the wait is shorter.
            let login = self.timeouts.ping_answer;
            let login = if self.was_met { login } else { login.min(FIRST_LOGIN) };
            self.shown = self.token.current();
            let opened = Connection::open(&self.route, &self.token, self.timeouts, login).await;
            let mut opened = match opened {
                Err(end @ AttemptEnd::Unreached(_)) => {
                    self.at_other_address(login).await.ok_or(end)?
                }
                opened => opened?,
            };
            let store = opened.welcome().server_id;
            if matches!(self.route.security(), Security::Key(_))
                && let Some(proven) = self.proven(store)
            {
                self.others.note(self.route.server(), proven).await;
            }
            if self.expected.is_some() && store.is_some() && self.expected != store {
                let server = self.known.address.clone();
                return Err(Failure::OtherServer { document_id: None, server }.into());
            }
            self.was_met = true;
            if self.wants_receipts {
                opened.ask_for_receipts(self.route.server(), self.route.security()).await?;
            }
            self.has_logged_in = true;
            self.note_store(store);
            self.connection = Some(opened);
        }
        self.connection.as_mut().ok_or_else(|| AttemptEnd::Lost(String::new()))
    }

    /// What is to be noted of an address whose server has taken the token and says that it has that
    /// store; nothing where the token does not tell which store it is for.
    ///
    /// A server may say of itself whatever it likes. That it has the store of the token is believed:
    /// it has that token by now. Where it says that it has another one, no store is known there.
    fn proven(&self, said: Option<StoreId>) -> Option<Option<StoreId>> {
        let store = self.shown.store()?;
        Some(said.filter(|said| *said == store))
    }

    /// Remembers which store has answered. A command of several files needs it in the list, in
    /// case this process is killed; a command of one file has it in the entry of its upload.
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
        if let Some(message) = self.moved.take() {
            listener(Event::Notice { path: transfer.local().clone(), message });
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
            token_file: self.token.file(),
            listener,
        };
        transfer.attempt(context).await
    }

    /// Keeps the connection after a failure that concerns one file, and drops it where the peer
    /// does not keep to the protocol.
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
