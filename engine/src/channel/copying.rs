//! An upload whose bytes are here already: in its very place, so that nothing is to be
//! done, or elsewhere, so that a copy of them becomes the document.
//!
//! The copy goes the way of a file that came whole (see [`posted`](super::posted)): it has
//! a file under a name that says that nothing was promised of it, which is read, verified
//! and synced, and only then a row. So a crash leaves nothing of a copy that was not
//! finished (P4), nothing has the final name that was not read (P2), and no row speaks of
//! bytes that a power cut could take (P3).

use super::begin::{Asked, Begun};
use super::posted::{Posted, Source};
use super::{ChannelDesk, SHORT_FILE_BYTES};
use crate::event::{EventKind, Position};
use crate::failure::Failure;
use crate::moving::Standing;
use crate::presence::Presence;
use crate::publish::Order;
use crate::receipt::Receipt;
use crate::storage::{Copied, Published};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use towline_state::catalog::{Document, DurableOffset};
use towline_types::block::BLOCK_SIZE_BYTES;
use towline_types::{DocumentId, FileHash, FileSize, Offset};

/// Large files that are read at a time, over all connections, to be copied or to be looked
/// at: each of them is as much work for the disk as many clients together. A client that
/// finds no place for a copy sends the bytes; a look waits for its place (P6).
pub(crate) const COPIES_MAX: usize = 4;

/// Documents that may have the bytes that the client is about to send.
pub(super) struct Known {
    begun: Box<Begun>,
    documents: Vec<Document>,
    wanted: Wanted,
    /// For a look at large ones.
    place: Option<OwnedSemaphorePermit>,
}

/// What is wanted of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// To know whether one of them is what was asked for.
    Look,
    /// Their bytes.
    Copy,
}

impl Known {
    pub(super) fn filesize(&self) -> FileSize {
        self.begun.request.filesize
    }

    /// The document that is looked at first.
    pub(super) fn first(&self) -> Option<(DocumentId, FileSize)> {
        self.documents.first().map(|document| (document.document_id, self.filesize()))
    }

    /// The same when it is its turn. Without a place nothing is said of the files: the answer
    /// is [`Failure::CutShort`], and not that they are not there.
    pub(super) fn with_place(self, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { place, ..self }
    }

    /// Whether there is something to read, and it has no place yet.
    pub(super) fn wants_place(&self) -> bool {
        let is_large = self.filesize().get() > BLOCK_SIZE_BYTES;
        is_large
            && !self.documents.is_empty()
            && self.wanted == Wanted::Look
            && self.place.is_none()
    }
}

impl ChannelDesk {
    /// Looks whether the file of one of these documents, which have the place that was
    /// asked for, is there.
    pub(super) fn look_at(
        &mut self,
        begun: Box<Begun>,
        documents: Vec<Document>,
    ) -> Result<Option<Asked>, Failure> {
        let mut unread = Vec::new();
        for document in documents {
            match self.service.presence(&document) {
                _ if !self.service.stands_for(&document, &begun.request.path) => {}
                Presence::Promised => return Ok(self.is_there(document)),
                Presence::Unread(_) => unread.push(document),
                Presence::Gone => drop(self.service.give_up_gone(&document)),
                Presence::Other | Presence::Unknown => {}
            }
        }
        let known = Known { begun, documents: unread, wanted: Wanted::Look, place: None };
        if known.filesize().get() > SHORT_FILE_BYTES && !known.documents.is_empty() {
            return Ok(Some(Asked::Known(Box::new(known))));
        }
        self.make_use_of(known)
    }

    /// Makes the document from one of these, whatever their places.
    pub(super) fn copy_one_of(
        &mut self,
        begun: Box<Begun>,
        documents: Vec<Document>,
    ) -> Result<Option<Asked>, Failure> {
        let known = Known { begun, documents, wanted: Wanted::Copy, place: None };
        if known.filesize().get() > SHORT_FILE_BYTES {
            return Ok(Some(Asked::Known(Box::new(known))));
        }
        self.make_use_of(known)
    }

    /// Waits for a turn among the large files that are read at a time, or for the end of the
    /// connection, and has `say` tell the client now and then that it is not forgotten.
    pub(super) fn turn<S: FnMut() + Send>(
        &self,
        mut say: S,
    ) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<S> {
        let turns = Arc::clone(&self.service.copies);
        let (ending, every) = (self.ending.clone(), self.service.config.timings.report);
        async move {
            let mut turn = pin!(turns.acquire_owned());
            loop {
                tokio::select! {
                    // Where there is a place, it is taken: what was begun goes on without its
                    // client, or finds out itself that it is not wanted any more.
                    biased;
                    turn = &mut turn => return turn.ok(),
                    () = ending.cancelled() => return None,
                    () = tokio::time::sleep(every) => say(),
                }
            }
        }
    }

    /// Whether a request waits while another thread publishes the document that it names. A
    /// client that has closed its sending half still waits for its answers, so only two things
    /// end the wait: a copy to another file system, which may take long, when the connection
    /// ends; and the stop of the server.
    pub(super) fn may_wait_for(&self, id: DocumentId) -> bool {
        let moving = &self.service.moving;
        let is_copied = || moving.standing(id).is_some() || moving.waiting(id).is_some();
        !self.ending.is_cancelled() || !(self.service.stopping.is_cancelled() || is_copied())
    }

    /// Waits until another thread has copied a document to the file system of its folder, or
    /// for the end of the connection, and says now and then how far that is.
    pub(super) fn copied(&self, id: DocumentId) -> impl Future<Output = ()> + Send + use<> {
        let service = Arc::clone(&self.service);
        let (ending, every) = (self.ending.clone(), self.service.config.timings.report);
        let has_ended = ending.is_cancelled();
        let mut say = self.says_copied(id);
        async move {
            let mut was_under_way = false;
            while let Some(standing) = service.moving.standing(id) {
                was_under_way = true;
                say(standing);
                tokio::select! {
                    () = service.moving.over(id) => return,
                    () = ending.cancelled() => return,
                    () = tokio::time::sleep(every) => {}
                }
            }
            // It is before its copy, or behind it, for a moment; or it waits for its turn.
            if !was_under_way {
                tokio::select! {
                    () = ending.cancelled(), if !has_ended => {}
                    () = service.stopping.cancelled() => {}
                    () = tokio::time::sleep(every) => {
                        if let Some(standing) = service.moving.waiting(id) {
                            say(standing);
                        }
                    }
                }
            }
        }
    }

    /// Does what may take long: it reads the files.
    pub(super) fn make_use_of(&mut self, known: Known) -> Result<Option<Asked>, Failure> {
        if known.wants_place() {
            return Err(Failure::CutShort);
        }
        let Known { mut begun, documents, wanted, place } = known;
        match wanted {
            Wanted::Look => {
                for document in documents {
                    if self.is_read_and_right(&document)? {
                        return Ok(self.is_there(document));
                    }
                }
                begun.unless.same_place = None;
            }
            Wanted::Copy => {
                if let Some(blake3) = begun.request.hash
                    && let Some(posted) = self.copy(&begun, &documents, blake3)?
                {
                    return Ok(Some(Asked::Posted(Box::new(posted.of(Source::Copy(begun))))));
                }
                begun.unless.same_bytes = None;
            }
        }
        drop(place);
        self.begin_without(begun).map(Some)
    }

    /// The document is what was asked for, and nothing is to be done.
    fn is_there(&mut self, document: Document) -> Option<Asked> {
        if let Some(receipt) = Receipt::of(document) {
            self.finish(receipt, true);
        }
        None
    }

    fn is_read_and_right(&self, document: &Document) -> Result<bool, Failure> {
        let Presence::Unread(found) = self.service.presence(document) else { return Ok(false) };
        let id = document.document_id;
        let goes_on = &mut self.at_work(id, document.filesize);
        self.service.is_document(document, &found, goes_on)?.ok_or(Failure::CutShort)
    }

    /// A file with the bytes of the first of these documents that has them still; nothing
    /// where the client is to send them.
    fn copy(
        &self,
        begun: &Begun,
        documents: &[Document],
        blake3: FileHash,
    ) -> Result<Option<Posted>, Failure> {
        let service = &self.service;
        let filesize = begun.request.filesize;
        // A copy of one block is finished once it was begun: see [`Self::at_work`].
        if self.ending.is_cancelled() {
            return Err(Failure::CutShort);
        }
        let Some(storage) = service.storage.copies() else { return Ok(None) };
        let is_large = filesize.get() > BLOCK_SIZE_BYTES;
        let place = service.copies.clone().try_acquire_owned().ok();
        if is_large && place.is_none() {
            return Ok(None);
        }
        for document in documents {
            let Some(found) = self.source(document) else { continue };
            let document_id = service.catalog.reserve_document_id(self.user)?;
            let birth = service.newborns.begin(document_id);
            let room = service.settling.place(filesize);
            let goes_on = &mut self.at_work(document_id, filesize);
            let content = (filesize, blake3);
            let copied = storage.create_copy(document_id, &found, content, goes_on);
            let from = document.document_id;
            match copied {
                Ok(Copied::Whole(staging)) => {
                    let on_conflict = begun.request.on_conflict;
                    let owner = self.user;
                    let order = Order { document_id, owner, blake3, on_conflict, is_copy: true };
                    tracing::debug!(%document_id, %from, "copied");
                    return Ok(Some(Posted::new(service, order, begun, (staging, birth), room)));
                }
                Ok(Copied::Stopped) => return Err(Failure::CutShort),
                Ok(Copied::OtherBytes) => service.doubt(document),
                // What stands in the way of a copy the upload meets as well, and says so.
                Err(error) => {
                    tracing::debug!(document_id = %from, %error, "its file could not be copied");
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// The file of a document, if it may be the right one.
    fn source(&self, document: &Document) -> Option<Published> {
        let path = document.file_path.as_ref()?;
        match self.service.storage.published(self.user, path) {
            Ok(Some(found)) => (found.filesize == document.filesize).then_some(found),
            Ok(None) => {
                if let Presence::Gone = self.service.presence(document) {
                    self.service.give_up_gone(document);
                }
                None
            }
            Err(_) => None,
        }
    }

    /// Tells the client now and then how far such work is, and whether it is still wanted:
    /// it ends with the connection and with the server, unless it is done anyway.
    pub(super) fn at_work(
        &self,
        document_id: DocumentId,
        filesize: FileSize,
    ) -> impl FnMut(Offset) -> bool + use<> {
        let (ending, mut say) = (self.ending.clone(), self.now_and_then(document_id));
        move |received| {
            let position = Position { received, durable: DurableOffset::NOTHING, filesize };
            say(&|| EventKind::AtWork { position, copied: None });
            received == filesize.end() || !ending.is_cancelled()
        }
    }

    /// Tells the client now and then how far the copy of a document to the file system of its
    /// folder is.
    pub(super) fn says_copied(&self, id: DocumentId) -> impl FnMut(Standing) + Send + use<> {
        let mut say = self.now_and_then(id);
        move |standing| say(&|| has_copied(standing))
    }

    /// Says how far long work is, unless that was said a moment ago or the client does not
    /// read.
    fn now_and_then(
        &self,
        document: DocumentId,
    ) -> impl FnMut(&dyn Fn() -> EventKind) + Send + use<> {
        let (tag, events) = (self.tag, self.events.clone());
        let every = self.service.config.timings.report;
        let mut reported = Instant::now();
        move |kind| {
            if reported.elapsed() >= every && !events.is_backed_up() {
                reported = Instant::now();
                events.send(tag, Some(document), kind());
            }
        }
    }
}

/// Of a document that is copied all bytes are there and durable.
fn has_copied(standing: Standing) -> EventKind {
    let Standing { copied, filesize, durable } = standing;
    let position = Position { received: filesize.end(), durable, filesize };
    EventKind::AtWork { position, copied: Some(copied) }
}
