//! From a question for a file to an upload that has begun.
//!
//! Each step ends where the catalog is asked, so that many channels ask together and
//! none has a thread wait for it alone.

use super::parcel::{Parcel, Posted};
use super::{ChannelDesk, Open, Slot, order};
use crate::failpoint;
use crate::failure::Failure;
use crate::live::Live;
use crate::newborn::Birth;
use crate::publish::{Publishing, Receipt};
use crate::service::Service;
use std::sync::Arc;
use towline_protocol::reply::{Found, Granted, Reply, Unfinished};
use towline_protocol::request::{Find, Upload};
use towline_protocol::{DocumentId, DocumentPath, FileSize, Offset, Timestamp};
use towline_state::CatalogError;
use towline_state::catalog::{self, Created, Document, NewDocument, Unless};
use towline_upload::{Phase, Upload as Rules};

/// What is waited for.
pub(super) enum Asked {
    /// What there is that an upload could go on with, or need not send.
    Find { same_bytes: Option<DocumentId>, found: catalog::Reply<catalog::Found> },
    /// Documents with the very bytes that are to be uploaded, and for which there is no
    /// room.
    SameBytes { filesize: FileSize, documents: catalog::Reply<Vec<Document>>, no_room: Failure },
    /// A row.
    Row { begun: Box<Begun>, created: catalog::Reply<Created<Birth>> },
    /// How an upload that is whole gets to its place.
    Publishing(Box<Publishing>),
    /// How a file that came whole does.
    Parcel(Parcel, Box<Posted>),
    /// Nothing but the other channels: they are to have their rows before one of
    /// them makes a file, which a disk may hold up.
    File { begun: Box<Begun>, newborn: Newborn },
}

/// An upload that is being begun.
pub(super) struct Begun {
    request: Upload,
    path: DocumentPath,
    now: Timestamp,
}

impl ChannelDesk {
    /// Goes on once the answer is there.
    pub(super) fn heard(&mut self, asked: Asked) -> Result<Option<Asked>, Failure> {
        match asked {
            Asked::Find { same_bytes, found } => match found.wait() {
                Ok(found) => self.found(same_bytes, found),
                Err(error) => self.answer_no(&error.into(), None),
            },
            Asked::SameBytes { filesize, documents, no_room } => {
                let receipt = self.receipt_of_same(filesize, documents.wait()?).ok_or(no_room)?;
                self.finish(receipt, true);
            }
            Asked::Row { begun, created } => match created.wait()? {
                Created::New(birth) => {
                    let newborn = Newborn::new(Arc::clone(&self.service), birth);
                    return Ok(Some(Asked::File { begun, newborn }));
                }
                Created::SameBytes(documents) => {
                    let Begun { mut request, path, .. } = *begun;
                    let Some(receipt) = self.receipt_of_same(request.filesize, documents) else {
                        request.blake3 = None;
                        return self.ask_for_row(request, path).map(Some);
                    };
                    self.finish(receipt, true);
                }
                Created::Found(found) => {
                    self.slot = Slot::Refused;
                    self.found(None, *found);
                }
            },
            Asked::Publishing(publishing) => return self.publish(*publishing),
            Asked::Parcel(parcel, posted) => return self.go_on_with_parcel(parcel, posted),
            Asked::File { begun, newborn } => self.make_file(*begun, newborn)?,
        }
        Ok(None)
    }

    /// A no to it leaves the channel's own upload as it is.
    pub(super) fn find(&self, request: &Find) -> Option<Asked> {
        let asked = self.ask_for_known(request);
        asked.inspect_err(|failure| self.answer_no(failure, None)).ok()
    }

    fn ask_for_known(&self, request: &Find) -> Result<Asked, Failure> {
        let path = request.path()?;
        let filesize = request.filesize;
        let same_bytes = match request.blake3 {
            Some(blake3) => {
                let documents = self.service.catalog.find_completed(self.user, filesize, blake3);
                let same = self.service.still_there(self.user, filesize, documents.wait()?);
                same.map(|document| document.document_id)
            }
            None => None,
        };
        let found = self.service.catalog.find(self.user, &path, filesize);
        Ok(Asked::Find { same_bytes, found })
    }

    fn found(&self, same_bytes: Option<DocumentId>, found: catalog::Found) {
        self.reply(Reply::Find(Found {
            channel: self.channel,
            same_size: found.same_size,
            document_id: same_bytes,
            unfinished: found.unfinished.map(|document| Unfinished {
                document_id: document.document_id,
                offset: document.durable_offset,
            }),
        }));
    }

    pub(super) fn upload(&mut self, request: Upload) -> Result<Asked, Failure> {
        self.leave_for_another();
        self.check_user(request.user_id)?;
        let path = request.path()?;
        Rules::admit(request.filesize, self.service.config.max_filesize)?;
        let room = if self.service.catalog.is_read_only() {
            Err(Failure::from(CatalogError::ReadOnly))
        } else {
            self.service.check_room(request.filesize)
        };
        match (room, request.blake3) {
            (Ok(()), _) => self.ask_for_row(request, path),
            (Err(no_room), None) => Err(no_room),
            (Err(no_room), Some(blake3)) => {
                let catalog = &self.service.catalog;
                let documents = catalog.find_completed(self.user, request.filesize, blake3);
                Ok(Asked::SameBytes { filesize: request.filesize, documents, no_room })
            }
        }
    }

    /// The receipt of the first of these documents whose file is there.
    fn receipt_of_same(&self, filesize: FileSize, documents: Vec<Document>) -> Option<Receipt> {
        self.service.still_there(self.user, filesize, documents).and_then(Receipt::of)
    }

    fn ask_for_row(&self, request: Upload, path: DocumentPath) -> Result<Asked, Failure> {
        if !path.folder().is_empty() {
            // A document may have the name of a folder: no name would help at the end.
            self.service.storage.published_size(self.user, &path)?;
        }
        let now = self.service.clock().now();
        let new = NewDocument {
            user_id: self.user,
            path: path.clone(),
            filesize: request.filesize,
            on_conflict: request.on_conflict,
            chunk_size: request.chunk_size,
            started_at: now,
        };
        let unless = Unless { same_bytes: request.blake3, unfinished: request.new_only };
        let limit = self.service.config.limits.unfinished_per_user;
        let newborns = Arc::clone(&self.service.newborns);
        let birth = move |id| newborns.begin(id);
        let created = self.service.catalog.create_document(new, unless, limit, birth);
        let begun = Box::new(Begun { request, path, now });
        Ok(Asked::Row { begun, created })
    }

    fn make_file(&mut self, begun: Begun, mut newborn: Newborn) -> Result<(), Failure> {
        let Begun { request, path, now } = begun;
        let Upload { filesize, on_conflict, blocks, .. } = request;
        let id = newborn.birth.id;
        failpoint::reach("upload.row_made");
        let staging = match self.service.storage.create(id, filesize) {
            Ok(staging) => staging,
            Err(error) => {
                let failure = Failure::Storage(error);
                newborn.why = failure.to_string();
                return Err(failure);
            }
        };
        failpoint::reach("upload.file_made");
        let (rules, lease) = Rules::begin(self.user, path, filesize, order(blocks), now);
        let (live, part) = Live::begin(id, staging, rules, lease, self.writer());
        let live = Arc::new(live);
        self.service.registry.begin(&live, || {
            let lease = Some(lease.generation());
            self.reply(Reply::Upload(Granted { lease, ..self.standing(&live, Offset::ZERO) }));
        });
        newborn.was_announced = true;
        self.service.mirror.changed();
        self.slot = Slot::Open(Open { live, part, on_conflict });
        Ok(())
    }
}

/// A row that nobody has heard of. Where it comes to nothing, by a mistake of our own
/// too, its place among the user's unfinished uploads is given back at once.
pub(super) struct Newborn {
    service: Arc<Service>,
    birth: Birth,
    was_announced: bool,
    why: String,
}

impl Newborn {
    fn new(service: Arc<Service>, birth: Birth) -> Self {
        Self { service, birth, was_announced: false, why: CUT_OFF.to_owned() }
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if self.was_announced {
            return;
        }
        let id = self.birth.id;
        if let Err(error) = self.service.end(id, Phase::Failed, &self.why) {
            tracing::error!(document_id = %id, %error, "an upload that was not begun was not ended");
        }
    }
}

/// Why an upload ended of which its writer never heard.
const CUT_OFF: &str = "it was cut off at its beginning";
