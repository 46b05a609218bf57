//! A file that is here whole before there is a row of it: it came in one piece, or is a
//! copy of another.
//!
//! 1. It is written to a file of its own, under a name that says that nothing was promised
//!    of it: where that is all there is, recovery removes it.
//! 2. It is synced, unless durability is relaxed and there is a place (P2).
//! 3. The row is made, and says `publishing` from the beginning (P4).
//!
//! From there it goes as with all files: see [`Publishing`].

use super::begin::{Asked, Begun};
use super::{ChannelDesk, Slot};
use crate::command::WholeUpload;
use crate::event::{EventKind, Grant, GrantedBy};
use crate::failpoint;
use crate::failure::Failure;
use crate::newborn::Birth;
use crate::publish::{Order, Publishing};
use crate::service::Service;
use crate::settling::Place;
use crate::storage::Publishable;
use std::sync::Arc;
use towline_state::CatalogError;
use towline_state::catalog::{self, Bytes, Catalog, Created, Document, NewDocument, Unless};
use towline_types::{DocumentId, Offset};
use towline_upload::Phase;

/// See the module's description: step 1 is done.
pub(super) struct Posted {
    order: Order,
    new: NewDocument,
    unless: Unless,
    file: File,
    birth: Birth,
    /// Where it need not be durable at once.
    room: Option<Place>,
    /// Nothing yet, where the bytes are to be synced first.
    created: Option<catalog::Reply<Created<(Document, u32)>>>,
    source: Source,
}

/// Where its bytes are from, and so what is done where it comes to nothing.
pub(super) enum Source {
    /// They are still to be said.
    Unsaid,
    /// The client: the resumable path begins with them.
    Whole(Box<WholeUpload>),
    /// Another document: the upload begins anew.
    Copy(Box<Begun>),
}

/// Its file.
struct File {
    service: Arc<Service>,
    staging: Arc<dyn Publishable>,
    id: DocumentId,
    /// No row speaks of it, nor will: it goes where this goes.
    is_nobodys: bool,
}

impl Drop for File {
    fn drop(&mut self) {
        let Self { service, id, is_nobodys, .. } = self;
        if *is_nobodys && let Err(error) = service.storage.discard_whole(*id) {
            tracing::warn!(document_id = %id, %error, "the staging area could not be removed");
        }
    }
}

impl Posted {
    /// Begins with step 2, for a file that was written.
    pub(super) fn new(
        service: &Arc<Service>,
        order: Order,
        begun: &Begun,
        (staging, birth): (Arc<dyn Publishable>, Birth),
        room: Option<Place>,
    ) -> Self {
        let new = begun.new_document(order.owner);
        let unless = Unless { same_bytes: None, ..begun.unless };
        Self::written(service, order, (new, unless), (staging, birth), room)
    }

    /// The same, for what is known of a file that came whole.
    pub(super) fn written(
        service: &Arc<Service>,
        order: Order,
        (new, unless): (NewDocument, Unless),
        (staging, birth): (Arc<dyn Publishable>, Birth),
        room: Option<Place>,
    ) -> Self {
        let (service, id) = (Arc::clone(service), order.document_id);
        let file = File { service, staging, id, is_nobodys: true };
        failpoint::reach("whole.file_made");
        let (created, source) = (None, Source::Unsaid);
        let mut posted = Self { order, new, unless, file, birth, room, created, source };
        if posted.room.is_some() {
            posted.ask_for_row();
        } else {
            // Where many are published, the first sync finds the bytes of all of them on
            // the device.
            posted.file.staging.start_writeback(Offset::ZERO, posted.new.length.bound().get());
        }
        posted
    }

    pub(super) fn of(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// Step 3.
    fn ask_for_row(&mut self) {
        let bytes = match self.room {
            Some(_) => Bytes::Cached { inode: self.file.staging.file_number() },
            None => Bytes::Synced,
        };
        self.file.is_nobodys = false;
        let (Order { document_id, blake3, .. }, new) = (self.order, self.new.clone());
        let catalog: &Catalog = &self.file.service.catalog;
        self.created = Some(catalog.publish_new(document_id, new, self.unless, blake3, bytes));
    }
}

impl ChannelDesk {
    /// The next step.
    pub(super) fn go_on_with_posted(
        &mut self,
        mut posted: Box<Posted>,
    ) -> Result<Option<Asked>, Failure> {
        let Some(created) = posted.created.take() else {
            let synced = posted.file.staging.sync_data();
            if let (Err(_), Source::Whole(_)) = (&synced, &posted.source) {
                self.backlog.settled();
            }
            synced?;
            failpoint::reach("publish.synced");
            posted.ask_for_row();
            return Ok(Some(Asked::Posted(posted)));
        };
        let Posted { order, new, mut file, birth, room, source, .. } = *posted;
        let row = match created.wait() {
            Ok(Created::New(row)) => row,
            needless => {
                // After these answers no row was committed, so the file belongs to no document
                // and is removed: on a full disk it would take the room of the next try. After
                // any other failure of the catalog the row may be there after a restart, and
                // the file stays for it.
                file.is_nobodys = matches!(
                    needless,
                    Ok(_)
                        | Err(CatalogError::Refused(_)
                            | CatalogError::Busy
                            | CatalogError::DiskFull
                            | CatalogError::ReadOnly)
                );
                drop((file, birth));
                return self.came_to_nothing(source, needless.err());
            }
        };
        let id = order.document_id;
        let whole = (Arc::clone(&file.staging), birth);
        let stage = Publishing::of_whole(&self.service, order, whole, row, room);
        if let Source::Copy(_) = source {
            self.slot = Slot::Whole(id);
            return Ok(self.went(stage?));
        }
        if stage.is_err() {
            let row = self.service.catalog.document(id).wait();
            if row.is_ok_and(|row| row.is_some_and(|row| row.phase == Phase::Failed)) {
                // The row has failed and the client was not answered yet: the resumable path
                // answers with the reason, and may keep the bytes.
                return self.came_to_nothing(source, None);
            }
        }
        self.backlog.settled();
        self.slot = Slot::Whole(id);
        let (offset, filesize) = (Offset::ZERO, new.length.bound());
        let grant = Grant { by: GrantedBy::Begin, offset, filesize, lease: None };
        self.tell(Some(id), EventKind::Granted(grant));
        Ok(self.went(stage?))
    }

    /// The file that came whole, or was copied, got no row. The steps of a resumable upload
    /// follow instead: they find out the reason, and answer with it.
    fn came_to_nothing(
        &mut self,
        source: Source,
        error: Option<CatalogError>,
    ) -> Result<Option<Asked>, Failure> {
        match (source, error) {
            (Source::Whole(whole), _) => {
                self.begin_as_upload(*whole);
                Ok(None)
            }
            (Source::Copy(mut begun), None | Some(CatalogError::Refused(_))) => {
                // What refused the copy would refuse the next one as well, and the bytes
                // would be copied again without an end (P6).
                begun.unless.same_bytes = None;
                Ok(Some(self.ask_for_row(begun)))
            }
            (_, error) => Err(error.map_or(Failure::CutShort, Failure::from)),
        }
    }
}
