//! Fetching files.

use super::Client;
use super::retry::{Attempts, Wait};
use super::tree::Page;
use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use crate::get::receive::{Receiver, Told};
use tokio_util::sync::CancellationToken;
use towline_protocol::reply::Status;
use towline_protocol::request::DocumentRef;
use towline_protocol::{Node, Reply, Request};
use towline_types::{DocumentId, NodePath};

/// Told of everything that happens.
pub(crate) enum GetTold {
    Of(Told),
    Waiting(Wait),
}

/// Called with everything that happens while files are fetched.
pub(crate) type GetListener<'a> = &'a mut (dyn FnMut(GetTold) + Send);

impl Client {
    /// Fetches what the receiver has to fetch. A lost connection is replaced, as often as
    /// [`retries`](Self::retries) allows; what has arrived stays.
    ///
    /// # Errors
    /// Where nothing more can be fetched.
    ///
    /// # Cancel safety
    /// A call that is dropped loses at most the blocks that are under way: another call goes on.
    pub(crate) async fn fetch(
        &mut self,
        receiver: &mut Receiver,
        cancel: &CancellationToken,
        listener: GetListener<'_>,
    ) -> Result<(), Failure> {
        let fetched = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Failure::Interrupted(None)),
            // Cancel-safe; the connection is of no use then.
            fetched = self.fetch_on(receiver, listener) => fetched,
        };
        if fetched.is_err() {
            self.connection = None;
        }
        fetched
    }

    async fn fetch_on(
        &mut self,
        receiver: &mut Receiver,
        listener: GetListener<'_>,
    ) -> Result<(), Failure> {
        let mut attempts = Attempts::new(self.retries);
        loop {
            let end = match self.fetch_once(receiver, listener).await {
                Ok(()) => return Ok(()),
                Err(end) => end,
            };
            if receiver.made_headway() {
                attempts.begin_anew();
            }
            self.wait_after(end, &mut attempts, listener).await?;
        }
    }

    async fn fetch_once(
        &mut self,
        receiver: &mut Receiver,
        listener: GetListener<'_>,
    ) -> Result<(), AttemptEnd> {
        let server = self.server().clone();
        let connection = self.connected().await?;
        if !connection.knows("read") {
            return Err(Failure::NotSupported { server }.into());
        }
        receiver.run(connection, &mut |told| listener(GetTold::Of(told))).await
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
        loop {
            match self.list_page(path, true, after.clone()).await {
                Ok(page) => return Ok(page),
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
    async fn wait_after(
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
