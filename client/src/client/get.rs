//! Fetching files.

use super::Client;
use super::retry::{Attempts, Wait};
use super::tree::Page;
use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use crate::get::receive::receive;
use crate::get::receiver::{Receiver, Told};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use tokio_util::sync::CancellationToken;
use towline_protocol::reply::Status;
use towline_protocol::request::DocumentRef;
use towline_protocol::{Node, Reply, Request};
use towline_types::{DocumentId, ModifiedTime, NodePath, PermissionBits};

/// Told of everything that happens.
pub(crate) enum GetTold {
    Of(Told),
    Waiting(Wait),
}

/// Called with everything that happens while files are fetched.
pub(crate) type GetListener<'a> = &'a (dyn Fn(GetTold) + Send + Sync);

/// Fetches what the receiver has to fetch, over a connection of each of these clients. A lost
/// connection is replaced, as often as [`retries`](Client::retries) allows; what has arrived stays,
/// and what has not goes to whichever connection asks next.
///
/// # Errors
/// Where no client can fetch any more: why the last one cannot.
///
/// # Cancel safety
/// A call that is dropped loses at most the blocks that are under way: another call goes on.
pub(crate) async fn fetch(
    clients: &mut [Client],
    receiver: &Receiver,
    cancel: &CancellationToken,
    listener: GetListener<'_>,
) -> Result<(), Failure> {
    let tell = |told| listener(GetTold::Of(told));
    let fetched = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Failure::Interrupted(None)),
        // Cancel-safe, both.
        () = receiver.attend(&tell) => Ok(()),
        failure = last_failure(clients, receiver, listener) => Err(failure),
    };
    if fetched.is_err() {
        clients.iter_mut().for_each(|client| client.connection = None);
        receiver.settle(&tell).await;
    }
    fetched
}

/// Has all clients fetch at the same time; the failure of the last one.
async fn last_failure(
    clients: &mut [Client],
    receiver: &Receiver,
    listener: GetListener<'_>,
) -> Failure {
    type Fetching<'a> = Pin<Box<dyn Future<Output = Failure> + Send + 'a>>;
    let mut fetching: Vec<Fetching<'_>> = Vec::new();
    for client in clients {
        fetching.push(Box::pin(client.fetch(receiver, listener)));
    }
    let mut last = Failure::Interrupted(None);
    poll_fn(move |context| {
        fetching.retain_mut(|client| match client.as_mut().poll(context) {
            Poll::Ready(failure) => {
                last = failure;
                false
            }
            Poll::Pending => true,
        });
        if fetching.is_empty() {
            return Poll::Ready(std::mem::replace(&mut last, Failure::Interrupted(None)));
        }
        Poll::Pending
    })
    .await
}

impl Client {
    /// Fetches over one connection after another; returns why it cannot go on.
    async fn fetch(&mut self, receiver: &Receiver, listener: GetListener<'_>) -> Failure {
        let mut attempts = Attempts::new(self.retries);
        loop {
            let mut made_headway = false;
            let end = self.fetch_once(receiver, &mut made_headway, listener).await;
            if made_headway {
                attempts.begin_anew();
            }
            // While files come on another connection, a wait of this one is nothing to tell.
            let wait = |told| {
                if !receiver.is_connected() {
                    listener(told);
                }
            };
            if let Err(failure) = self.wait_after(end, &mut attempts, &wait).await {
                return failure;
            }
        }
    }

    async fn fetch_once(
        &mut self,
        receiver: &Receiver,
        made_headway: &mut bool,
        listener: GetListener<'_>,
    ) -> AttemptEnd {
        let server = self.server().clone();
        let connection = match self.connected().await {
            Ok(connection) => connection,
            Err(end) => return end,
        };
        if !connection.knows("read") {
            return Failure::NotSupported { server }.into();
        }
        let tell = |told| listener(GetTold::Of(told));
        receive(receiver, connection, made_headway, &tell).await
    }

    /// The same as [`list_page`](Self::list_page) of a folder and all below it, however often
    /// the connection is lost.
    ///
    /// # Errors
    /// Where nothing more can be listed.
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn list_below(
        &mut self,
        path: &NodePath,
        after: Option<String>,
        listener: GetListener<'_>,
    ) -> Result<Page<Node>, Failure> {
        let mut attempts = Attempts::new(self.retries);
        let mut has_rested = self.connection.is_some();
        loop {
            match self.list_page(path, true, after.clone()).await {
                Ok(page) => return Ok(page),
                // Between two parts of a large folder the connection rests for as long as its files
                // take, and a server closes it in the end. That is no failed attempt.
                Err(AttemptEnd::Lost(_)) if std::mem::take(&mut has_rested) => self.hang_up(),
                Err(end) => self.wait_after(end, &mut attempts, listener).await?,
            }
        }
    }

    /// The same as [`status`](Self::status), however often the connection is lost.
    ///
    /// # Errors
    /// Where there is no answer.
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn document(
        &mut self,
        document_id: DocumentId,
        listener: GetListener<'_>,
    ) -> Result<Status, Failure> {
        let mut attempts = Attempts::new(self.retries);
        loop {
            let end = match self.status_once(document_id).await {
                Ok(status) => return Ok(status),
                Err(end) => end,
            };
            self.wait_after(end, &mut attempts, listener).await?;
        }
    }

    /// The time and the permission bits of a document that is complete, where it is a version of
    /// the file that lies at its place. Its status does not say them.
    ///
    /// # Errors
    /// Where there is no answer.
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn described(
        &mut self,
        status: &Status,
        listener: GetListener<'_>,
    ) -> Result<(Option<ModifiedTime>, Option<PermissionBits>), Failure> {
        let names = [&status.folder[..], std::slice::from_ref(&status.filename)].concat();
        let Ok(path) = NodePath::of_existing(&names) else { return Ok((None, None)) };
        let mut attempts = Attempts::new(self.retries);
        let mut after = None;
        loop {
            let page = match self.versions_page(&path, after.clone()).await {
                Ok(page) => page,
                // It lies elsewhere, or the server knows no versions.
                Err(AttemptEnd::Failed(_)) => return Ok((None, None)),
                Err(end) => {
                    self.wait_after(end, &mut attempts, listener).await?;
                    continue;
                }
            };
            if let Some(version) =
                page.entries.iter().find(|version| version.version == status.document_id)
            {
                return Ok((version.mtime_ms, page.node.and_then(|node| node.mode)));
            }
            after = page.next;
            if after.is_none() {
                return Ok((None, None));
            }
        }
    }

    async fn status_once(&mut self, document_id: DocumentId) -> Result<Status, AttemptEnd> {
        let connection = self.connected().await?;
        let channel = connection.new_channel();
        match connection.ask(&Request::Status(DocumentRef { channel, document_id })).await? {
            Reply::Status(status) => Ok(status),
            Reply::Error(error) => Err(AttemptEnd::refused(error)),
            other => Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
        }
    }

    /// Waits before the next attempt, where there is to be one.
    pub(super) async fn wait_after(
        &mut self,
        end: AttemptEnd,
        attempts: &mut Attempts,
        listener: GetListener<'_>,
    ) -> Result<(), Failure> {
        let Some(wait) = self.wait_before_next(end, attempts).await? else { return Ok(()) };
        let next_in = wait.next_in;
        listener(GetTold::Waiting(wait));
        tokio::time::sleep(next_in).await;
        Ok(())
    }
}
