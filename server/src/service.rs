//! The rooms of a server, and what they need of each other.

use crate::checkpoint::Checkpoints;
use crate::failure::Failure;
use crate::live::{Live, Recording};
use crate::mirror::Mirror;
use crate::pool::Pool;
use crate::registry::Registry;
use crate::storage::Storage;
use crate::token::Tokens;
use crate::{Clock, Config};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_protocol::reply::Reply;
use towline_protocol::{Channel, DocumentId, FileHash, FileSize, UserId};
use towline_state::catalog::{Catalog, Document};
use towline_upload::{Phase, Progress, Refusal, Upload};

/// See the module's description.
pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) catalog: Catalog,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) tokens: Tokens,
    pub(crate) registry: Registry,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) mirror: Mirror,
    pub(crate) pool: Arc<Pool>,
    /// Connections and everything that works for them.
    pub(crate) tracker: TaskTracker,
    /// Cancelled when the server is to stop.
    pub(crate) stopping: CancellationToken,
}

impl Service {
    pub(crate) fn clock(&self) -> &Clock {
        &self.config.clock
    }

    /// The upload, read back from disk if nobody works on it. Blocks.
    pub(crate) fn live(&self, document: &Document) -> Result<Arc<Live>, Failure> {
        let id = document.document_id;
        self.registry.get_or(id, || {
            let blocks = self.catalog.blocks(id).wait()?;
            let progress = Progress::restore(document.filesize, document.durable_offset, blocks);
            let upload = Upload::restore(
                document.user_id,
                document.path.clone(),
                document.phase,
                progress,
                document.last_chunk_at,
            );
            Live::read_back(id, self.storage.open(id)?, upload)
        })
    }

    /// Gives an upload up that is being worked on. Whoever asks for it meanwhile
    /// finds it ended, here or in the catalog. Blocks.
    pub(crate) fn give_up(
        &self,
        live: &Arc<Live>,
        recording: &Recording<'_>,
        phase: Phase,
        why: &str,
    ) -> Result<(), Failure> {
        live.give_up(recording, phase)?;
        let ended = self.end(live.document_id, phase, why);
        self.registry.remove(live);
        ended
    }

    /// Ends an upload without a document. The row goes first: bytes without a
    /// promise are litter, a promise without bytes is a lie (P1).
    pub(crate) fn end(&self, id: DocumentId, phase: Phase, why: &str) -> Result<(), Failure> {
        self.catalog.finish(id, phase, why.to_owned(), self.clock().now()).wait()?;
        self.mirror.changed();
        if let Err(error) = self.storage.discard(id) {
            tracing::warn!(document_id = %id, %error, "the staging area could not be removed");
        }
        Ok(())
    }

    /// Gives an upload up because of what happened to it, and tells its writer.
    pub(crate) fn fail(&self, live: &Arc<Live>, recording: &Recording<'_>, failure: &Failure) {
        tracing::error!(document_id = %live.document_id, error = ?failure, "an upload has failed");
        live.notify(|channel| Reply::Error(failure.reply().on(channel, Some(live.document_id))));
        let why = failure.reply().message;
        if let Err(error) = self.give_up(live, recording, Phase::Failed, &why) {
            tracing::error!(document_id = %live.document_id, %error, "the failure was not recorded");
        }
    }

    /// The document, if the user owns it. Somebody else's does not exist.
    pub(crate) fn document_of(&self, user: UserId, id: DocumentId) -> Result<Document, Failure> {
        let document = self.catalog.document(id).wait()?;
        let own = document.filter(|document| document.user_id == user);
        own.ok_or(Failure::Refused(Refusal::NotFound))
    }

    /// The user's completed document with these very bytes, if its file is there.
    pub(crate) fn same_bytes(
        &self,
        user: UserId,
        filesize: FileSize,
        blake3: FileHash,
    ) -> Result<Option<Document>, Failure> {
        let documents = self.catalog.find_completed(user, filesize, blake3).wait()?;
        Ok(documents.into_iter().find(|document| {
            let path = document.file_path.as_ref();
            path.is_some_and(|path| {
                let size = self.storage.published_size(user, path);
                size.is_ok_and(|size| size == Some(filesize))
            })
        }))
    }

    /// Closes the files of paused uploads, where there are many. They lose
    /// nothing but the way back without a read of one block.
    pub(crate) fn close_idle(&self) {
        if self.registry.len() <= self.config.limits.paused_kept_open {
            return;
        }
        for live in self.registry.all() {
            if live.retire() {
                self.registry.remove(&live);
            }
        }
    }

    /// A catalog that takes no more changes makes promises impossible, so the
    /// volume takes no more bytes either (P5).
    pub(crate) fn storage_follows_catalog(&self) {
        if self.catalog.is_read_only() && !self.storage.is_read_only() {
            self.storage.make_read_only();
        }
    }

    /// How many bytes of room the rest of an upload is short of; at least one.
    pub(crate) fn missing_bytes(&self, filesize: FileSize, live: &Live) -> u64 {
        let received = live.progress(Channel::default()).received;
        let rest = filesize.get().saturating_sub(received.get());
        rest.saturating_sub(self.storage.free_bytes().unwrap_or(0)).max(1)
    }
}
