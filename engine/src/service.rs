//! The rooms of a server, and what they need of each other.

use crate::buffer::BufferPool;
use crate::calendar::Calendar;
use crate::channel::ChannelDesk;
use crate::checkpoint::Checkpoints;
use crate::failpoint;
use crate::failure::Failure;
use crate::lane::Crew;
use crate::live::{Live, Recording};
use crate::log::{self, Summary, UploadEnd};
use crate::mirror::Mirror;
use crate::moving::{Move, Moving, Standing};
use crate::newborn::Newborns;
use crate::registry::Registry;
use crate::settling::Settling;
use crate::storage::FolderLock;
use crate::storage::{Loss, Storage, StorageError};
use crate::{Clock, EngineConfig, recovery};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towline_state::catalog::{Catalog, CatalogError, Document, DurableOffset};
use towline_types::{DocumentId, FileSize, UserId};
use towline_upload::{Phase, Progress, Refusal, Upload};

/// See the module's description.
pub(crate) struct Service {
    pub(crate) config: EngineConfig,
    pub(crate) catalog: Catalog,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) registry: Registry,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) settling: Settling,
    pub(crate) mirror: Mirror,
    pub(crate) calendar: Calendar,
    /// Counts log lines that a client could cause without limit.
    pub(crate) summary: Summary,
    pub(crate) pool: Arc<BufferPool>,
    /// Uploads that are just being begun: see [`Service::document_of`].
    pub(crate) newborns: Arc<Newborns>,
    /// The worker threads for the short work of all channels.
    pub(crate) crew: Arc<Crew<ChannelDesk>>,
    /// Documents that are being copied to another file system.
    pub(crate) moving: Arc<Moving>,
    /// Places for reading large files, to copy them or to look at them: see
    /// [`COPIES_MAX`](crate::channel::COPIES_MAX).
    pub(crate) copies: Arc<Semaphore>,
    /// Places for taps: one for each core, for each has a thread of its own.
    pub(crate) taps: Arc<Semaphore>,
    /// Connections and everything that works for them.
    pub(crate) tracker: TaskTracker,
    /// Cancelled when the server is to stop.
    pub(crate) stopping: CancellationToken,
    /// The data folder is this server's until the last of its threads has let go.
    pub(crate) lock: FolderLock,
}

impl Service {
    pub(crate) fn clock(&self) -> &Clock {
        &self.config.clock
    }

    /// The upload, read back from disk if nobody works on it. Blocks.
    ///
    /// The row is read where nobody else can take the upload up, so that it says
    /// what is true then.
    pub(crate) fn live(&self, id: DocumentId) -> Result<Arc<Live>, Failure> {
        self.registry.get_or(id, || {
            let row = self.catalog.document(id).wait()?;
            let row = row.ok_or(Failure::Refused(Refusal::NotFound))?;
            if row.phase != Phase::Uploading {
                return Err(Failure::Refused(Refusal::NotUploading(row.phase)));
            }
            let blocks = self.catalog.blocks(id).wait()?;
            let nothing_promised =
                row.durable_offset == DurableOffset::NOTHING && blocks.is_empty();
            let progress = Progress::restore(row.length(), row.durable_offset.get(), blocks);
            let last_byte_at = row.last_chunk_at;
            let upload = Upload::restore(row.user_id, row.path, row.phase, progress, last_byte_at);
            let staging = match self.storage.open(id) {
                // As at a start: of such an upload no byte can be missing.
                Err(StorageError::Lost(Loss::Missing)) if nothing_promised => {
                    self.storage.create(id, FileSize::MIN)?
                }
                opened => opened?,
            };
            Live::read_back(id, staging, upload, row.durable_offset)
        })
    }

    /// Gives an upload up, whether or not somebody works on it. Blocks.
    ///
    /// The caller has looked at it before, and it may have been published since, with
    /// `SUCCESS` said: the row is read where no other thread changes it. While it is being
    /// published the answer is [`Failure::StillPublishing`]: nothing waits for that with the
    /// slot taken, or all requests for the document would wait as well, each with a thread (P6).
    pub(crate) fn give_up(&self, id: DocumentId, phase: Phase, why: &str) -> Result<(), Failure> {
        failpoint::reach("end.decided");
        self.registry.exclusively(id, |live| {
            let recording = live.map(recording_unless_publishing).transpose()?;
            match self.catalog.document(id).wait()?.map(|row| row.phase) {
                Some(Phase::Uploading) => {}
                Some(phase) => return Err(Failure::Refused(Refusal::NotUploading(phase))),
                None => return Err(Failure::Refused(Refusal::NotFound)),
            }
            let writers = match (live, &recording) {
                (Some(live), Some(recording)) => Some(live.give_up(recording, phase)?),
                _ => None,
            };
            let ended = self.end_and_log(id, phase, why);
            if let Some(writers) = writers {
                writers.hear(match &ended {
                    Ok(()) => Failure::Refused(Refusal::NotUploading(phase)).rejection(),
                    Err(failure) => failure.rejection(),
                });
            }
            ended
        })
    }

    /// The staging area of an upload is not what was left. Unless the upload has
    /// ended in the meantime (its staging area was moved to its name, say), it is
    /// given up: an upload never goes on over a gap. While it is being published the answer is
    /// [`Failure::StillPublishing`], as above. Blocks.
    pub(crate) fn lose(&self, id: DocumentId, failure: Failure) -> Result<(), Failure> {
        self.registry.exclusively(id, |live| {
            let recording = live.map(recording_unless_publishing).transpose()?;
            let row = self.catalog.document(id).wait()?;
            if row.is_none_or(|row| row.phase != Phase::Uploading) {
                return Ok(());
            }
            match (live, &recording) {
                (Some(live), Some(recording)) => self.fail(live, recording, &failure),
                _ => self.end_failed(id, &failure)?,
            }
            Err(failure)
        })
    }

    /// Finishes a publishing that was begun and not ended, and tells the rules what the row
    /// says. `say` hears how far a copy to another file system is. Where another thread is at
    /// it the answer is [`Failure::StillPublishing`]. Blocks.
    pub(crate) fn settle(
        &self,
        id: DocumentId,
        say: &mut dyn FnMut(Standing),
    ) -> Result<(), Failure> {
        let turn = Arc::clone(&self.copies).try_acquire_owned().ok();
        self.settle_with(id, turn, say)
    }

    /// The same; a copy to another file system is made where there is a `turn`, else it is
    /// left to [`moving`](crate::moving).
    ///
    /// While the row says `publishing`, the upload takes no bytes and cannot be given up, and
    /// every thread that would finish it comes here. So neither its slot nor the settling of other
    /// documents is held while a copy is made.
    pub(crate) fn settle_with(
        &self,
        id: DocumentId,
        turn: Option<OwnedSemaphorePermit>,
        say: &mut dyn FnMut(Standing),
    ) -> Result<(), Failure> {
        let (row, copy) = match self.settle_at_once(id)? {
            Some(left) => left,
            None => return Ok(()),
        };
        if turn.is_none() {
            drop(copy);
            self.moving.leave(&row);
            return Err(Failure::StillPublishing);
        }
        let goes_on = &mut |copied| {
            copy.reached(copied);
            say(Standing::of(&row, copied));
            !self.stopping.is_cancelled()
        };
        let settled = recovery::finish_publishing(self, &row, goes_on).map(drop);
        self.registry.exclusively(id, |live| self.tell_what_row_says(id, live))?;
        settled
    }

    /// The same as far as nothing is to be copied to another file system; else the row, and
    /// the copy that is begun.
    fn settle_at_once(&self, id: DocumentId) -> Result<Option<(Document, Move)>, Failure> {
        self.registry.exclusively(id, |live| {
            let recording = live.map(|live| live.try_recording().ok_or(Failure::StillPublishing));
            let _recording = recording.transpose()?;
            // Not beside the settling of what was named: it may be about to complete this
            // very document, and the row has to say so.
            let _alone = self.settling.alone();
            let row = match self.catalog.document(id).wait()? {
                Some(row) if row.phase == Phase::Publishing => row,
                _ => return self.tell_what_row_says(id, live).map(|()| None),
            };
            let copy = self.moving.begin(&row).ok_or(Failure::StillPublishing)?;
            self.mirror.changed();
            match recovery::finish_publishing(self, &row, &mut |_| false) {
                Err(Failure::StillPublishing) => Ok(Some((row, copy))),
                settled => {
                    self.tell_what_row_says(id, live)?;
                    settled.map(|_| None)
                }
            }
        })
    }

    fn tell_what_row_says(&self, id: DocumentId, live: Option<&Arc<Live>>) -> Result<(), Failure> {
        let Some(live) = live else { return Ok(()) };
        match self.catalog.document(id).wait()?.map(|row| row.phase) {
            Some(Phase::Uploading) => self.checkpoints.unpublished(live),
            Some(Phase::Completed) => live.published(),
            _ => {}
        }
        Ok(())
    }

    /// Ends an upload without a document. The row goes first: bytes without a
    /// promise are litter, a promise without bytes is a lie (P1).
    pub(crate) fn end(&self, id: DocumentId, phase: Phase, why: &str) -> Result<(), Failure> {
        self.record_end(id, phase, why)?;
        if let Err(error) = self.storage.discard(id) {
            tracing::warn!(document_id = %id, error = log::chain(&error), "the staging area could not be removed");
        }
        Ok(())
    }

    /// The same for an upload without a staging file. Blocks.
    pub(crate) fn record_end(
        &self,
        id: DocumentId,
        phase: Phase,
        why: &str,
    ) -> Result<(), Failure> {
        self.catalog.finish(id, phase, why.to_owned(), self.clock().now()).wait()?;
        self.mirror.changed();
        failpoint::reach("end.recorded");
        Ok(())
    }

    /// Ends an upload because of that failure, with a line of the log.
    ///
    /// Where the bytes are not what was left, what has the name of the staging area is set
    /// aside, as a start does it: it may be bytes that were promised and can be used again
    /// (P1), or another program's file, which no upload may delete. The row goes first here
    /// too: a crash in between leaves a stray file, which the next start sets aside.
    fn end_failed(&self, id: DocumentId, failure: &Failure) -> Result<(), Failure> {
        let why = &failure.rejection().message;
        if !matches!(failure, Failure::Storage(StorageError::Lost(_))) {
            return self.end_and_log(id, Phase::Failed, why);
        }
        self.record_end(id, Phase::Failed, why)?;
        // Only on a disk can other bytes have got the name.
        let aside = self.storage.local_disk().map(|disk| disk.set_upload_aside(id));
        match aside.unwrap_or(Ok(None)) {
            Ok(Some(place)) => {
                let place = place.display();
                tracing::warn!(document_id = %id, %place, "what is there of it was set aside");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(document_id = %id, error = log::chain(&error), "the staging area could not be set aside; it stays");
            }
        }
        self.log_end(id, Phase::Failed, why);
        Ok(())
    }

    /// The same, with a line of the log: for an upload that its owner has heard of.
    pub(crate) fn end_and_log(
        &self,
        id: DocumentId,
        phase: Phase,
        why: &str,
    ) -> Result<(), Failure> {
        self.end(id, phase, why)?;
        self.log_end(id, phase, why);
        Ok(())
    }

    fn log_end(&self, id: DocumentId, phase: Phase, why: &str) {
        if tracing::enabled!(tracing::Level::INFO)
            && let Ok(Some(document)) = self.catalog.document(id).wait()
        {
            UploadEnd::of(&document).without_document(phase, why);
        }
    }

    /// Gives an upload up because of what happened to it, and tells its writers.
    pub(crate) fn fail(&self, live: &Live, recording: &Recording, failure: &Failure) {
        let document_id = live.document_id;
        if failure.is_for_operator() {
            self.summary.fault(Some(document_id), failure);
        }
        let why = failure.rejection();
        let writers = match live.give_up(recording, Phase::Failed) {
            Ok(writers) => writers,
            // It has ended otherwise: who gave it up has told all its writers.
            Err(_) => return,
        };
        if let Err(error) = self.end_failed(document_id, failure) {
            tracing::error!(%document_id, error = log::chain(&error), "the failure was not recorded");
        }
        writers.hear(why);
    }

    /// The document, if the user owns it. Somebody else's does not exist. Blocks.
    ///
    /// Its number can be guessed, or found, as soon as it has a row. One that is just
    /// being begun, or came whole and is on its way, is waited for, so that no other thread
    /// reads it back from disk beside its first writer, or takes it for lost. That wait ends
    /// before a copy to another file system begins.
    pub(crate) fn document_of(&self, user: UserId, id: DocumentId) -> Result<Document, Failure> {
        loop {
            let document = match self.catalog.document(id).wait() {
                Err(CatalogError::BadRow { owner, .. }) if owner != Some(user) => None,
                answer => answer?,
            };
            let own = document.filter(|document| document.user_id == user);
            let own = own.ok_or(Failure::Refused(Refusal::NotFound))?;
            let is_on_its_way = matches!(own.phase, Phase::Uploading | Phase::Publishing);
            if !is_on_its_way || self.registry.get(id).is_some() || !self.newborns.wait_for(id) {
                return Ok(own);
            }
        }
    }

    /// Closes the files of paused uploads, where there are many, the oldest pause first. They
    /// lose nothing but the way back without a read of one block. It looks at `looks` of
    /// them at the most. Blocks.
    pub(crate) fn close_idle(&self, looks: usize) {
        self.registry.retire_paused(self.config.limits.paused_kept_open, looks);
    }

    /// Refuses a file for which there is no room, before anything is made for it.
    pub(crate) fn check_room(&self, filesize: FileSize) -> Result<(), Failure> {
        let wanted = filesize.get().saturating_add(self.config.reserve_bytes);
        let missing_bytes = wanted.saturating_sub(self.storage.free_bytes()?);
        if filesize > FileSize::MIN && missing_bytes > 0 {
            return Err(Failure::NoRoom { missing_bytes });
        }
        Ok(())
    }

    /// A catalog that takes no more changes makes promises impossible, so the
    /// volume takes no more bytes either (P5).
    pub(crate) fn storage_follows_catalog(&self) {
        if self.catalog.is_read_only() && !self.storage.latch().is_closed() {
            self.storage.latch().close();
        }
    }

    /// How many bytes of room the rest of an upload is short of; at least one.
    pub(crate) fn missing_bytes(&self, filesize: FileSize, live: &Live) -> u64 {
        let received = live.ask(|upload| upload.progress().received());
        let rest = filesize.get().saturating_sub(received.get());
        rest.saturating_sub(self.storage.free_bytes().unwrap_or(0)).max(1)
    }
}

/// Keeps every other thread from changing what the catalog says of that upload, unless it is
/// being published.
fn recording_unless_publishing(live: &Arc<Live>) -> Result<Recording, Failure> {
    live.recording_unless_publishing().map_err(|_| Failure::StillPublishing)
}
