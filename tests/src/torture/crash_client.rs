//! One connection of a crash test. Unlike a [`RawClient`](crate::raw_client::RawClient) it expects
//! that the connection can end at any moment, and it records every reply in the ledger at once,
//! also where no caller waits for the reply.

use super::ledger::{Entry, Ledger};
use crate::PATIENCE;
use crate::raw_client::{self, Heard};
use crate::site::TestUser;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_protocol::{Channel, Reply, Request, frame};
use towline_types::UserId;

/// See the module's description.
pub(super) struct CrashClient {
    writer: OwnedWriteHalf,
    inbox: mpsc::UnboundedReceiver<Heard>,
    asked: Asked,
    channels: u32,
}

/// The connections of a round: the tasks that read them, and the signal that ends them all.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections {
    readers: TaskTracker,
    hang_up: CancellationToken,
}

impl Connections {
    /// Ends all connections at once, as the death of a client does.
    pub(super) fn hang_up(&self) {
        self.hang_up.cancel();
    }

    /// Waits until every connection has been read to its end: a promise from before a disaster may
    /// still be in a socket.
    pub(super) async fn are_silent(&self) {
        self.readers.close();
        let silent = timeout(PATIENCE, self.readers.wait()).await;
        silent.expect("every connection ends with its server");
    }

    /// Runs a task that reads a connection to its end, or to [`hang_up`](Self::hang_up).
    pub(super) fn spawn(&self, reading: impl Future<Output = ()> + Send + 'static) {
        let hang_up = self.hang_up.clone();
        self.readers.spawn(async move {
            let _ = hang_up.run_until_cancelled(reading).await;
        });
    }
}

/// The upload that an `upload` request on each channel asks for, recorded before it is granted.
type Asked = Arc<Mutex<HashMap<Channel, Entry>>>;

/// The connection has ended.
#[derive(Debug)]
pub(super) struct Gone;

/// An answer that does not come within this time on an open connection is a lost wakeup.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

impl CrashClient {
    /// A connection that is logged in.
    pub(super) async fn open(
        address: SocketAddr,
        user: &TestUser,
        ledger: &Ledger,
        connections: &Connections,
    ) -> Result<Self, Gone> {
        let stream = TcpStream::connect(address).await.map_err(|_| Gone)?;
        stream.set_nodelay(true).map_err(|_| Gone)?;
        let (reader, writer) = stream.into_split();
        let (outbox, heard) = mpsc::unbounded_channel();
        let (forward, inbox) = mpsc::unbounded_channel();
        let asked = Asked::default();
        let listening = listen(heard, forward, (user.id, ledger.clone()), Arc::clone(&asked));
        connections.spawn(raw_client::read(reader, outbox));
        connections.spawn(listening);
        let mut client = Self { writer, inbox, asked, channels: 0 };
        client.ask(&raw_client::hello(&user.token)).await?;
        match client.reply().await? {
            Reply::Welcome(_) => Ok(client),
            _ => Err(Gone),
        }
    }

    /// A channel that was not used before.
    pub(super) fn channel(&mut self) -> Channel {
        self.channels += 1;
        Channel(self.channels)
    }

    /// Records which upload will be asked for on that channel.
    pub(super) fn will_begin(&self, channel: Channel, entry: Entry) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(channel, entry);
    }

    pub(super) async fn ask(&mut self, request: &Request) -> Result<(), Gone> {
        self.send(&frame::control(request)).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.writer.write_all(bytes).await.map_err(|_| Gone)
    }

    /// The next item that is neither progress nor the end of the connection.
    pub(super) async fn heard(&mut self) -> Result<Heard, Gone> {
        match timeout(ANSWER, self.inbox.recv()).await {
            Ok(Some(Heard::Nonsense(what))) => panic!("the server says {what}"),
            Ok(Some(Heard::Closed | Heard::Reset(_)) | None) => Err(Gone),
            Ok(Some(heard)) => Ok(heard),
            Err(_) => panic!("the server owes an answer and does not give it"),
        }
    }

    /// The next message.
    pub(super) async fn reply(&mut self) -> Result<Reply, Gone> {
        loop {
            if let Heard::Reply(reply) = self.heard().await? {
                return Ok(reply);
            }
        }
    }

    /// The next message on that channel.
    pub(super) async fn reply_on(&mut self, channel: Channel) -> Result<Reply, Gone> {
        loop {
            let reply = self.reply().await?;
            if reply.channel() == channel {
                return Ok(reply);
            }
        }
    }
}

async fn listen(
    mut heard: mpsc::UnboundedReceiver<Heard>,
    forward: mpsc::UnboundedSender<Heard>,
    (user, ledger): (UserId, Ledger),
    asked: Asked,
) {
    while let Some(heard) = heard.recv().await {
        if let Heard::Reply(reply) = &heard {
            if let Reply::Upload(granted) = reply {
                let entry =
                    asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&granted.channel);
                if let Some(entry) = entry {
                    ledger.begun(granted.document_id, entry);
                }
            }
            if let Reply::Resume(granted) = reply {
                ledger.resumed(granted.document_id, granted.offset);
            }
            ledger.hear(user, reply);
            if matches!(reply, Reply::Progress(_)) {
                continue;
            }
        }
        // Fails where the client was dropped: then no caller waits for the reply.
        let _ = forward.send(heard);
    }
}
