//! The work on one file, folder or link, which may be put off for others and continued later.

use super::Client;
use super::retry::{Attempts, Tried};
use crate::document::Document;
use crate::events::{Event, Listener};
use crate::failure::Failure;
use crate::item::Sent;
use crate::small_file_batch::item::PriorAttempt;
use crate::source::Source;
use crate::transfer::Transfer;
use crate::transfer::options::PutOptions;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;

/// The state of the work on one item.
pub(super) struct Work {
    before: PriorAttempt,
    /// Absent before the first attempt.
    transfer: Option<Box<Transfer>>,
    attempts: Attempts,
    /// It was put off until the files were sent.
    was_behind_files: bool,
}

/// How the work ended, or after which time it continues.
pub(super) enum Worked {
    Ended(Box<Result<Sent, Failure>>),
    Later(Duration),
}

impl Work {
    /// The work on an item of which nothing was sent in this run. `retries` is the client's limit.
    pub(super) fn new(before: PriorAttempt, retries: Option<u32>) -> Self {
        let attempts = Attempts::new(retries);
        Self { before, transfer: None, attempts, was_behind_files: false }
    }

    pub(super) fn attempts(&mut self) -> &mut Attempts {
        &mut self.attempts
    }

    /// Puts a folder off until the files are sent; `false` where that was done before.
    pub(super) fn may_wait_for_files(&mut self) -> bool {
        !std::mem::replace(&mut self.was_behind_files, true)
    }

    /// Whether the work holds the local file open.
    pub(super) fn holds_file(&self) -> bool {
        self.transfer.is_some()
    }

    /// Closes the local file. The next attempt opens it and asks the server again.
    pub(super) fn let_go(&mut self) {
        if let Some(kept) = self.transfer.take().and_then(|transfer| transfer.saved()) {
            self.before = PriorAttempt::Document(kept.document_id);
        }
    }
}

impl Client {
    /// Uploads a file of which this run may have sent something before. Where other files wait,
    /// it may be put off.
    pub(super) async fn work_on(
        &mut self,
        work: &mut Work,
        document: &Document,
        options: &PutOptions,
        others_wait: bool,
        cancel: &CancellationToken,
        listener: Listener<'_>,
    ) -> Worked {
        let Work { before, transfer, attempts, .. } = work;
        let transfer = match transfer {
            Some(transfer) => transfer,
            None => {
                let opened = tokio::select! {
                    biased;
                    // Cancel-safe: a file that is not open yet has no state. The thread that
                    // opens it may wait for a device; this task does not wait for the thread.
                    () = cancel.cancelled() => Err(Failure::Interrupted(None)),
                    opened = open(document, options, *before) => opened,
                };
                match opened {
                    Ok(opened) => transfer.insert(Box::new(opened)),
                    Err(failure) => return Worked::Ended(Box::new(Err(failure))),
                }
            }
        };
        let outcome = tokio::select! {
            biased;
            // Cancel-safe.
            () = cancel.cancelled() => None,
            // This future is dropped at a cancellation: the transfer and the connection can be
            // paused at any moment.
            outcome = self.try_until_done(transfer, attempts, others_wait, listener) => Some(outcome),
        };
        let failure = match outcome {
            Some(Tried::Done(receipt)) => {
                listener(Event::Completed(receipt.clone()));
                return Worked::Ended(Box::new(Ok(Sent::File(receipt))));
            }
            Some(Tried::Later(wait)) => return Worked::Later(wait),
            Some(Tried::Over(failure)) => {
                failure.with(transfer.saved()).of_size(transfer.filesize())
            }
            None => {
                if let Some(connection) = self.connection.take() {
                    let question = transfer.last_question();
                    connection
                        .close_gracefully(question, |reply| transfer.handle_last(&reply))
                        .await;
                }
                if let Some(status) = transfer.status() {
                    listener(Event::Paused(status));
                }
                Failure::Interrupted(transfer.saved())
            }
        };
        // Where another run has taken the upload over, the entry belongs to that run.
        if failure.code() != Some(Code::Superseded) {
            self.note_pause(transfer).await;
        }
        Worked::Ended(Box::new(Err(failure)))
    }

    /// Writes to the list that the upload rests.
    pub(super) async fn note_rest(&self, work: &Work) {
        if let Some(transfer) = &work.transfer {
            self.note_pause(transfer).await;
        }
    }

    async fn note_pause(&self, transfer: &Transfer) {
        if let Some(kept) = transfer.saved() {
            let proof = transfer.proof_now();
            self.uploads.paused(&self.known, kept.document_id, kept.durable, proof);
            self.uploads.settle().await;
        }
    }
}

async fn open(
    document: &Document,
    options: &PutOptions,
    before: PriorAttempt,
) -> Result<Transfer, Failure> {
    let path = document.local.clone();
    let source = tokio::task::spawn_blocking(move || Source::open(&path)).await;
    let source = source.unwrap_or_else(|error| {
        let path = document.local.clone();
        let source = std::io::Error::other(error);
        Err(Failure::File { action: "open", path, source, kept: None })
    })?;
    let mut transfer = Transfer::new(document.clone(), source, options.clone());
    match before {
        PriorAttempt::Nothing => {}
        PriorAttempt::SentAhead => transfer.was_sent_ahead(),
        PriorAttempt::Document(document_id) => transfer.continue_with(document_id),
    }
    Ok(transfer)
}
