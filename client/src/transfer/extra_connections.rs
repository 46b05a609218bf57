//! The extra connections of one transfer, besides its main connection.
//!
//! The main connection holds the lease and completes the upload. An extra connection takes a
//! block whenever it has room for one, so the blocks arrive in any order. When there are no
//! more blocks to send, each extra connection confirms that the server has handled all that
//! it has sent.
//!
//! The client does not record which connection has which block. Where an extra connection was lost,
//! the client asks the server which blocks it holds, and sends the missing ones again. So a lost
//! connection costs only its own blocks.

mod losses;
mod scaler;
mod straggler_timer;
mod task;

use crate::backoff::Backoff;
use crate::block_reader::Block;
use losses::Losses;
pub(super) use scaler::ConnectionScaler;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use straggler_timer::StragglerTimer;
pub(super) use task::JoinSpec;
use task::{ConnectionCommand, ConnectionEvent, ConnectionTask};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use towline_types::BlockIndex;

/// How long the extra connections may continue with the blocks that they have, after the main
/// connection was lost.
const FLUSH: Duration = Duration::from_secs(30);

/// How long they may continue without a byte sent and without an event.
const FLUSH_SILENCE: Duration = Duration::from_secs(3);

/// See the module's description.
#[derive(Debug)]
pub(super) struct ExtraConnections {
    /// Nothing where the server does not know `join`: then there are no extra connections.
    spec: Option<JoinSpec>,
    /// The number of extra connections that there should be.
    wanted: usize,
    connections: BTreeMap<u32, ExtraConnection>,
    /// The number of connections that were ever started; the last one has it as its number.
    started: u32,
    /// The number of confirmations that were ever asked for; the last one has it as its ticket.
    tickets: u64,
    reporter: UnboundedSender<(u32, ConnectionEvent)>,
    events: UnboundedReceiver<(u32, ConnectionEvent)>,
    /// Blocks that were lost with a connection and are not queued again yet.
    losses: Losses,
    /// The time for which the last connections have kept the others waiting.
    stragglers: StragglerTimer,
    /// The backoffs of connections that were given up while they were reconnecting: each
    /// connection started in their place waits as they would have.
    backoffs: Vec<Arc<Mutex<Backoff>>>,
}

/// One extra connection, as the transfer knows it: its task and its state as of the last event.
#[derive(Debug)]
struct ExtraConnection {
    commands: UnboundedSender<ConnectionCommand>,
    task: JoinHandle<()>,
    state: ConnState,
    backoff: Arc<Mutex<Backoff>>,
    /// Set when the connection is given up: what it has not sent yet must not arrive.
    is_given_up: Arc<AtomicBool>,
}

/// How far an extra connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnState {
    /// The connection has not joined, and no block is unconfirmed.
    Connecting,
    /// The connection was lost with blocks that the server had not confirmed, and joins again.
    Reconnecting,
    /// The connection has joined the lease.
    Joined { wants_block: bool, sent: Sent },
}

/// Whether the server has handled the blocks that a joined connection was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The server has handled all of them, or no block was given.
    Confirmed,
    /// It is not known whether the server has handled them, and the server was not asked.
    Unconfirmed,
    /// The connection was asked to confirm, with this ticket.
    Asked { ticket: u64 },
}

impl ConnState {
    fn wants_block(self) -> bool {
        matches!(self, Self::Joined { wants_block: true, .. })
    }

    /// Whether a block was given that is not confirmed.
    fn is_behind(self) -> bool {
        match self {
            Self::Connecting => false,
            Self::Reconnecting => true,
            Self::Joined { sent, .. } => sent != Sent::Confirmed,
        }
    }

    /// The state when the connection has room for a block.
    fn with_room(self) -> Self {
        let sent = match self {
            Self::Connecting => Sent::Confirmed,
            // The blocks of the earlier connection count until the new one has confirmed.
            Self::Reconnecting => Sent::Unconfirmed,
            Self::Joined { sent, .. } => sent,
        };
        Self::Joined { wants_block: true, sent }
    }

    /// The state when the connection was lost.
    fn lost(self) -> Self {
        if self.is_behind() { Self::Reconnecting } else { Self::Connecting }
    }

    /// The state when the answer to the confirmation with that ticket has come.
    fn confirmed(self, ticket: u64) -> Self {
        match self {
            Self::Joined { wants_block, sent } if sent == (Sent::Asked { ticket }) => {
                Self::Joined { wants_block, sent: Sent::Confirmed }
            }
            other => other,
        }
    }
}

impl Drop for ExtraConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ExtraConnection {
    /// Ends the task, and drops what it has not sent yet.
    async fn give_up(mut self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl ExtraConnections {
    /// `wanted` connections by that specification; none where there is no specification.
    pub(super) fn new(spec: Option<JoinSpec>, wanted: usize) -> Self {
        let (reporter, events) = mpsc::unbounded_channel();
        let wanted = if spec.is_some() { wanted } else { 0 };
        Self {
            spec,
            wanted,
            connections: BTreeMap::new(),
            started: 0,
            tickets: 0,
            reporter,
            events,
            losses: Losses::default(),
            stragglers: StragglerTimer::default(),
            backoffs: Vec::new(),
        }
    }

    /// Whether extra connections are possible.
    pub(super) fn are_possible(&self) -> bool {
        self.spec.is_some()
    }

    /// The number of extra connections that there should be.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Raises the number that there should be by one.
    pub(super) fn add_one(&mut self) {
        self.wanted += 1;
    }

    /// Starts the connections that should be there and are not.
    pub(super) fn start_missing(&mut self) {
        let Some(spec) = &self.spec else { return };
        while self.connections.len() < self.wanted {
            self.started += 1;
            let (commands, inbox) = mpsc::unbounded_channel();
            let backoff = self.backoffs.pop();
            let backoff = backoff.unwrap_or_else(|| Arc::new(Mutex::new(Backoff::new(None))));
            let is_given_up = Arc::new(AtomicBool::new(false));
            let task = ConnectionTask {
                number: self.started,
                spec: spec.clone(),
                commands: inbox,
                events: self.reporter.clone(),
                backoff: Arc::clone(&backoff),
                is_given_up: Arc::clone(&is_given_up),
            };
            let task = tokio::spawn(task.run());
            let state = ConnState::Connecting;
            let connection = ExtraConnection { commands, task, state, backoff, is_given_up };
            self.connections.insert(self.started, connection);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many bytes of the file the extra connections have sent.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.spec.as_ref().map_or(0, |spec| spec.sent_bytes.load(Ordering::Relaxed))
    }

    /// Whether one of them has room for a block.
    pub(super) fn want_a_block(&self) -> bool {
        self.connections.values().any(|connection| connection.state.wants_block())
    }

    /// Gives a block to one that has room for it.
    pub(super) fn hand_out(&mut self, block: Block) {
        let has_room =
            |(_, connection): &(&u32, &mut ExtraConnection)| connection.state.wants_block();
        let Some((&number, connection)) = self.connections.iter_mut().find(has_room) else {
            // A block that no connection takes is missing, as a lost one is.
            self.losses.add(Instant::now());
            return;
        };
        connection.state = ConnState::Joined { wants_block: false, sent: Sent::Unconfirmed };
        if connection.commands.send(ConnectionCommand::Send(block)).is_err() {
            self.remove_lost(number);
        }
    }

    /// A block was handed out, to an extra connection or to the main one.
    pub(super) fn handed_out(&mut self) {
        self.losses.handed_out();
        self.stragglers.reset();
    }

    /// Removes a connection that has ended for good; the blocks that it had count as lost.
    fn remove_lost(&mut self, number: u32) {
        self.connections.remove(&number);
        self.wanted = self.wanted.saturating_sub(1);
        self.losses.add(Instant::now());
    }

    /// Takes in the next event of a connection. Returns the index of a block that arrived
    /// damaged, where the event is that.
    ///
    /// Cancel-safe: an event is either taken in or still in the channel.
    pub(super) async fn next(&mut self) -> Option<BlockIndex> {
        // The channel is never closed: `self.reporter` is one of its senders.
        let (number, event) = self.events.recv().await?;
        let connection = self.connections.get_mut(&number)?;
        match event {
            ConnectionEvent::Room => connection.state = connection.state.with_room(),
            ConnectionEvent::Damaged(index) => return Some(index),
            ConnectionEvent::Confirmed(ticket) => {
                connection.state = connection.state.confirmed(ticket);
                self.stragglers.reset();
            }
            ConnectionEvent::Lost | ConnectionEvent::Ended => {
                // The loss of a connection that is reconnecting was counted when it was lost.
                let was_joined = matches!(connection.state, ConnState::Joined { .. });
                if was_joined && connection.state.is_behind() {
                    self.losses.add(Instant::now());
                }
                connection.state = connection.state.lost();
                if event == ConnectionEvent::Ended {
                    self.connections.remove(&number);
                    self.wanted = self.wanted.saturating_sub(1);
                }
            }
        }
        None
    }

    /// Asks the connections to confirm the blocks that they were given; says whether all have
    /// confirmed.
    ///
    /// A connection that is reconnecting is given up: its blocks are lost, and no byte of them
    /// may arrive while other connections send them again.
    ///
    /// Cancel-safe: a call that is dropped has given up some of the connections, and the next
    /// call goes on.
    pub(super) async fn confirm_all(&mut self) -> bool {
        for number in self.numbers(|connection| connection.state == ConnState::Reconnecting) {
            if let Some(connection) = self.connections.remove(&number) {
                self.backoffs.push(Arc::clone(&connection.backoff));
                connection.give_up().await;
            }
        }
        // A task ends with an event, unless its code has panicked.
        let has_panicked = |connection: &ExtraConnection| {
            connection.state.is_behind() && connection.commands.is_closed()
        };
        for number in self.numbers(has_panicked) {
            self.remove_lost(number);
        }
        for connection in self.connections.values_mut() {
            if let ConnState::Joined { sent: sent @ Sent::Unconfirmed, .. } = &mut connection.state
            {
                self.tickets += 1;
                *sent = Sent::Asked { ticket: self.tickets };
                let _ = connection.commands.send(ConnectionCommand::Confirm(self.tickets));
            }
        }
        !self.connections.values().any(|connection| connection.state.is_behind())
    }

    /// The numbers of the connections of which that is true.
    fn numbers(&self, is_wanted: impl Fn(&ExtraConnection) -> bool) -> Vec<u32> {
        let wanted = self.connections.iter().filter(|(_, connection)| is_wanted(connection));
        wanted.map(|(number, _)| *number).collect()
    }

    /// When to look again at the connections that have not confirmed.
    pub(super) fn stragglers_due(&self) -> Option<Instant> {
        self.stragglers.due()
    }

    /// Gives up the connections that have not confirmed, where the others have waited too long for
    /// them and too few bytes have arrived meanwhile. `received_bytes` is the number that the
    /// server has. Returns whether it gave up any.
    pub(super) async fn give_up_stragglers(&mut self, received_bytes: u64) -> bool {
        let bytes = received_bytes.saturating_add(self.sent_bytes());
        if !self.stragglers.are_too_late(Instant::now(), bytes) {
            return false;
        }
        for number in self.numbers(|connection| connection.state.is_behind()) {
            if let Some(connection) = self.connections.remove(&number) {
                connection.give_up().await;
            }
            // No connection is started in its place: it would be as slow.
            self.remove_lost(number);
        }
        self.stragglers.reset();
        true
    }

    /// No connection waits for those that have not confirmed.
    pub(super) fn no_stragglers(&mut self) {
        self.stragglers.reset();
    }

    /// Whether blocks were lost.
    pub(super) fn have_lost(&self) -> bool {
        !self.losses.is_none()
    }

    /// Whether the lost blocks cannot wait until all others are sent.
    pub(super) fn must_resend(&self) -> bool {
        self.losses.are_due(Instant::now())
    }

    /// The lost blocks are queued again.
    pub(super) fn lost_are_queued(&mut self) {
        self.losses = Losses::default();
    }

    /// Lets the connections finish the blocks that they have begun, after the main connection
    /// was lost: the server forgets blocks that are begun when it grants a new lease. Returns
    /// when all have confirmed, and at the latest after [`FLUSH`].
    pub(super) async fn flush(&mut self) {
        let began = Instant::now();
        while !self.confirm_all().await && began.elapsed() < FLUSH {
            let before = self.sent_bytes();
            let event = timeout(FLUSH_SILENCE, self.next()).await;
            if event.is_err() && self.sent_bytes() == before {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_behind_until_it_has_confirmed_its_last_block() {
        let idle = ConnState::Connecting.with_room();
        assert!(idle.wants_block() && !idle.is_behind());
        let asked = |ticket| ConnState::Joined { wants_block: true, sent: Sent::Asked { ticket } };
        assert!(asked(7).confirmed(6).is_behind(), "an earlier answer confirms nothing");
        assert!(!asked(7).confirmed(7).is_behind());
        let given = ConnState::Joined { wants_block: false, sent: Sent::Unconfirmed };
        assert!(given.confirmed(7).is_behind(), "a block was given after the question");
    }

    #[test]
    fn a_lost_connection_has_lost_what_was_not_confirmed_and_nothing_else() {
        let idle = ConnState::Joined { wants_block: true, sent: Sent::Confirmed };
        assert_eq!(idle.lost(), ConnState::Connecting);
        for sent in [Sent::Unconfirmed, Sent::Asked { ticket: 1 }] {
            let lost = ConnState::Joined { wants_block: false, sent }.lost();
            assert_eq!(lost, ConnState::Reconnecting);
            assert_eq!(lost.lost(), ConnState::Reconnecting, "it was lost on its way back");
            assert!(lost.with_room().is_behind(), "the new connection has confirmed nothing");
        }
    }
}
