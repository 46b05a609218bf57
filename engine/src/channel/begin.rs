//! From a question for a file to an upload that has begun.
//!
//! Each step ends where the catalog is asked, so that many channels ask together and
//! none has a thread wait for it alone.

use super::copying::Known;
use super::posted::Posted;
use super::{ChannelDesk, Open, SHORT_FILE_BYTES, Slot};
use crate::command::NewUpload;
use crate::event::{Answer, EventKind, Found, Grant, GrantedBy};
use crate::failpoint;
use crate::failure::Failure;
use crate::live::Live;
use crate::log::Since;
use crate::newborn::Birth;
use crate::presence::Presence;
use crate::publish::Publishing;
use crate::service::Service;
use crate::storage::StorageError;
use std::borrow::Cow;
use std::sync::Arc;
use towline_state::CatalogError;
use towline_state::catalog::Refusal::{FolderTaken, PathTaken};
use towline_state::catalog::{self, Created, Document, NewDocument, Unless};
use towline_types::{
    DocumentPath, FileHash, FileSize, Offset, OnConflict, SecondDigest, Timestamp, UserId,
};
use towline_upload::{Length, Phase, Upload as Rules};

/// What is waited for.
pub(super) enum Asked {
    /// What there is that an upload could go on with, or need not send.
    Find { path: DocumentPath, found: catalog::Reply<catalog::Found> },
    /// Whether a document has this very place and these bytes, where no other can be
    /// made.
    SamePlace { begun: Box<Begun>, documents: catalog::Reply<Vec<Document>> },
    /// A row.
    Row { begun: Box<Begun>, created: catalog::Reply<Created<Birth>> },
    /// How an upload that is whole gets to its place.
    Publishing(Box<Publishing>),
    /// How a file that came whole does.
    Posted(Box<Posted>),
    /// Bytes that are here already, to be looked at or copied.
    Known(Box<Known>),
    /// Nothing but the other channels: they are to have their rows before one of
    /// them makes a file, which a disk may hold up.
    File { begun: Box<Begun>, newborn: Newborn },
}

impl Asked {
    /// Whether it reads a large file: other channels of the batch do not wait for it.
    pub(super) fn is_long(&self) -> bool {
        matches!(self, Self::Known(known) if known.filesize().get() > SHORT_FILE_BYTES)
    }
}

/// An upload that is being begun.
pub(super) struct Begun {
    pub(super) request: NewUpload,
    pub(super) now: Timestamp,
    /// What would make it needless, as far as that was not looked at yet.
    pub(super) unless: Unless,
    /// Why nothing can be made for it, where that is so.
    no_room: Option<Failure>,
    /// Documents without a file that were in its way have given their names up.
    has_cleared: bool,
}

impl Begun {
    pub(super) fn new_document(&self, user_id: UserId) -> NewDocument {
        NewDocument {
            user_id,
            path: self.request.path.clone(),
            length: Length::Declared(self.request.filesize),
            on_conflict: self.request.on_conflict,
            chunk_size: self.request.chunk_size,
            second_digest: SecondDigest::None,
            started_at: self.now,
        }
    }
}

impl ChannelDesk {
    /// Goes on once the answer is there.
    pub(super) fn heard(&mut self, asked: Asked) -> Result<Option<Asked>, Failure> {
        match asked {
            Asked::Find { path, found } => {
                match found.wait() {
                    Ok(found) => self.found(&path, found),
                    Err(error) => self.answer_no(&error.into(), None),
                }
                Ok(None)
            }
            Asked::SamePlace { begun, documents } => self.look_at(begun, documents.wait()?),
            Asked::Row { begun, created } => self.row(begun, created.wait()),
            Asked::Publishing(publishing) => self.publish(*publishing),
            Asked::Posted(posted) => self.go_on_with_posted(posted),
            Asked::Known(known) => self.make_use_of(*known),
            Asked::File { begun, newborn } => self.make_file(*begun, newborn).map(|()| None),
        }
    }

    fn row(
        &mut self,
        mut begun: Box<Begun>,
        created: Result<Created<Birth>, CatalogError>,
    ) -> Result<Option<Asked>, Failure> {
        match created {
            Ok(Created::New(birth)) => {
                let newborn = Newborn::new(Arc::clone(&self.service), birth);
                Ok(Some(Asked::File { begun, newborn }))
            }
            Ok(Created::SamePlace(documents)) => self.look_at(begun, documents),
            Ok(Created::SameBytes(documents)) => self.copy_one_of(begun, documents),
            Ok(Created::Found(found)) => {
                self.slot = Slot::Refused;
                self.found(&begun.request.path, *found);
                Ok(None)
            }
            Err(CatalogError::Refused(PathTaken | FolderTaken))
                if !std::mem::replace(&mut begun.has_cleared, true)
                    && self.service.give_up_gone_at(self.user, &begun.request.path, 1) =>
            {
                Ok(Some(self.ask_for_row(begun)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A no to it leaves the channel's own upload as it is.
    pub(super) fn find(
        &self,
        path: DocumentPath,
        filesize: FileSize,
        hash: Option<FileHash>,
    ) -> Asked {
        let found = self.service.catalog.find(self.user, &path, filesize, hash);
        Asked::Find { path, found }
    }

    fn found(&self, path: &DocumentPath, found: catalog::Found) {
        // A file that takes long to read is not vouched for: `upload` reads it.
        let is_there = |document: &&Document| match self.service.presence(document) {
            _ if !self.service.stands_for(document, path) => false,
            Presence::Promised => true,
            Presence::Unread(file) if document.filesize.get() <= SHORT_FILE_BYTES => {
                let is_document = self.service.is_document(document, &file, &mut |_| true);
                matches!(is_document, Ok(Some(true)))
            }
            _ => false,
        };
        let same = found.same_place.iter().find(is_there).map(|document| document.document_id);
        let found = Found {
            same_size: found.same_size,
            same_place: same,
            is_known: found.is_known && same.is_none(),
            unfinished: found
                .unfinished
                .map(|document| (document.document_id, document.durable_offset)),
        };
        self.answer_with(None, Answer::Found(found));
    }

    pub(super) fn upload(&mut self, request: NewUpload) -> Result<Asked, Failure> {
        self.leave_for_another();
        self.since = Since::now(0);
        Rules::admit(request.filesize, self.service.config.max_filesize)?;
        let room = if self.service.catalog.is_read_only() {
            Err(Failure::from(CatalogError::ReadOnly))
        } else {
            self.service.check_room(request.filesize)
        };
        let (filesize, on_conflict) = (request.filesize, request.on_conflict);
        let blake3 = request.hash;
        let mut begun = Box::new(Begun {
            unless: Unless { same_place: blake3, same_bytes: blake3, unfinished: request.new_only },
            now: self.service.clock().now(),
            request,
            no_room: None,
            has_cleared: false,
        });
        match (room, blake3) {
            (Ok(()), _) => self.ask_if_free(begun),
            (Err(no_room), None) => Err(no_room),
            (Err(no_room), Some(blake3)) => {
                let catalog = &self.service.catalog;
                let documents = catalog.same_place(
                    self.user,
                    &begun.request.path,
                    filesize,
                    blake3,
                    on_conflict,
                );
                begun.no_room = Some(no_room);
                Ok(Asked::SamePlace { begun, documents })
            }
        }
    }

    /// Asks for a row, unless the disk already says that there is no name for the file.
    fn ask_if_free(&self, begun: Box<Begun>) -> Result<Asked, Failure> {
        let storage = &self.service.storage;
        // Where a document has the name of a folder, no name would help at the end.
        storage.check_folder(self.user, &begun.request.path)?;
        if begun.request.on_conflict == OnConflict::Reject {
            let lies_there = match storage.published(self.user, &begun.request.path) {
                Err(StorageError::Unsafe { .. }) => true,
                answer => answer?.is_some(),
            };
            match begun.unless.same_place {
                // It may be the very file that is to be uploaded.
                Some(blake3) if lies_there => {
                    let NewUpload { filesize, on_conflict, .. } = begun.request;
                    let (catalog, path) = (&self.service.catalog, &begun.request.path);
                    let documents =
                        catalog.same_place(self.user, path, filesize, blake3, on_conflict);
                    return Ok(Asked::SamePlace { begun, documents });
                }
                None if lies_there => return Err(StorageError::Exists.into()),
                _ => {}
            }
        }
        Ok(self.ask_for_row(begun))
    }

    pub(super) fn ask_for_row(&self, begun: Box<Begun>) -> Asked {
        let limit = self.service.config.limits.unfinished_per_user;
        let newborns = Arc::clone(&self.service.newborns);
        let birth = move |id| newborns.begin(id);
        let (new, unless) = (begun.new_document(self.user), begun.unless);
        let created = self.service.catalog.create_document(new, unless, limit, birth);
        Asked::Row { begun, created }
    }

    /// What was looked at did not make the upload needless: it goes on without.
    pub(super) fn begin_without(&self, mut begun: Box<Begun>) -> Result<Asked, Failure> {
        match begun.no_room.take() {
            Some(no_room) => Err(no_room),
            None => self.ask_if_free(begun),
        }
    }

    fn make_file(&mut self, begun: Begun, mut newborn: Newborn) -> Result<(), Failure> {
        let Begun { request, now, .. } = begun;
        let NewUpload { path, filesize, on_conflict, mode, .. } = request;
        let id = newborn.birth.id;
        failpoint::reach("upload.row_made");
        let staging = match self.service.storage.create(id, filesize) {
            Ok(staging) => staging,
            Err(error) => {
                let failure = Failure::Storage(error);
                newborn.why = failure.rejection().message;
                return Err(failure);
            }
        };
        newborn.has_file = true;
        failpoint::reach("upload.file_made");
        let (rules, lease) = Rules::begin(self.user, path, Length::Declared(filesize), mode, now);
        let (live, part) = Live::begin(id, staging, rules, lease, self.writer());
        let live = Arc::new(live);
        self.service.registry.begin(&live, || {
            let lease = Some(lease.generation());
            let grant = Grant { by: GrantedBy::Begin, offset: Offset::ZERO, filesize, lease };
            self.tell(Some(id), EventKind::Granted(grant));
        });
        newborn.was_announced = true;
        self.service.mirror.changed();
        self.slot = Slot::Open(Open { live, part, on_conflict });
        Ok(())
    }
}

/// A row that no client has heard of. Where the upload does not begin, by a mistake of our own
/// too, its place among the user's unfinished uploads is given back at once.
pub(super) struct Newborn {
    service: Arc<Service>,
    birth: Birth,
    /// Its staging file was made. Before that a file of that name is another program's, and
    /// no upload deletes it.
    has_file: bool,
    was_announced: bool,
    why: Cow<'static, str>,
}

impl Newborn {
    fn new(service: Arc<Service>, birth: Birth) -> Self {
        Self { service, birth, has_file: false, was_announced: false, why: CUT_OFF.into() }
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if self.was_announced {
            return;
        }
        let id = self.birth.id;
        let ended = match self.has_file {
            true => self.service.end(id, Phase::Failed, &self.why),
            false => self.service.record_end(id, Phase::Failed, &self.why),
        };
        if let Err(error) = ended {
            tracing::error!(document_id = %id, %error, "an upload that was not begun was not ended");
        }
    }
}

/// Why an upload ended of which its writer never heard.
const CUT_OFF: &str = "it was cut off at its beginning";
