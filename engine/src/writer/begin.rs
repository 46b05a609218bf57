//! From [`Command::Begin`](crate::Command::Begin) to an upload that has begun.
//!
//! Each step ends before a wait for the catalog, so that many writers ask it together and no thread
//! waits for one of them alone.

use super::state::{OpenUpload, OrderedWriter, Room, WriterState};
use crate::active::ActiveUpload;
use crate::active::pending::PendingGuard;
use crate::command::NewUpload;
use crate::end;
use crate::error::Error;
use crate::event::{EventKind, Grant, GrantedBy};
use crate::failpoint;
use crate::log::Since;
use crate::presence;
use crate::shared::Shared;
use crate::storage::StorageError;
use crate::uploads;
use std::sync::Arc;
use towline_state::CatalogError;
use towline_state::catalog::Refusal::{self, FolderTaken, PathTaken};
use towline_state::catalog::{
    self, Created, Document, Located, NewDocument, NodeRef, NodeWish, Unless,
};
use towline_types::{
    DocumentId, FileSize, NodeKind, Offset, OnConflict, SecondDigest, Timestamp, UserId,
};
use towline_upload::{Length, Phase, Upload as Rules};

/// What an upload that is being begun waits for.
pub(super) enum BeginStep {
    /// The answer whether a document has this very place and these bytes, where no new document can
    /// be made.
    LookForSame { begun: Box<Begun>, documents: catalog::Reply<Vec<Document>> },
    /// The answer with a new row.
    MakeRow { begun: Box<Begun>, created: catalog::Reply<Created<PendingGuard>> },
    /// The other writers of the batch: they are to have their rows before one of them makes a file,
    /// because a disk may make that slow.
    MakeFile { begun: Box<Begun>, row: UnannouncedRow },
}

/// What follows from a step.
pub(super) enum BeginOutcome {
    Next(BeginStep),
    /// These documents have the place that was asked for: one of them may be the file that the
    /// client has.
    LookAt(Box<Begun>, Vec<Document>),
    /// These documents have the bytes that are wanted.
    Copy(Box<Begun>, Vec<Document>),
    /// There is an unfinished upload, or a document, that the client is told of instead.
    Found(Box<Begun>, Box<catalog::Found>),
    /// The upload has begun, and its client was told.
    Done,
}

/// An upload that is being begun.
pub(super) struct Begun {
    pub(super) request: NewUpload,
    pub(super) now: Timestamp,
    /// What would make a new upload needless, without what was looked at already.
    pub(super) unless: Unless,
    /// Why no document can be made, where that is so: the disk has no room, or the catalog takes no
    /// changes.
    no_room: Option<Error>,
    /// Documents without a file that kept its name were ended already.
    has_cleared: bool,
}

impl Begun {
    pub(super) fn new_document(&self, user_id: UserId) -> NewDocument {
        NewDocument {
            user_id,
            path: self.request.path.clone(),
            length: self.request.length,
            on_conflict: self.request.on_conflict,
            chunk_size: self.request.chunk_size,
            second_digest: self.request.second_digest,
            wish: self.request.wish,
            description: self.request.description.clone(),
            started_at: self.now,
        }
    }
}

impl OrderedWriter {
    pub(super) fn begin_upload(&mut self, mut request: NewUpload) -> Result<BeginStep, Error> {
        self.leave_for_another();
        self.since = Since::now(0);
        self.find_named_folder(&mut request)?;
        let largest = self.shared.config.max_filesize;
        match &mut request.length {
            Length::Declared(filesize) => Rules::admit(*filesize, largest)?,
            Length::Open { max } => {
                *max = largest.min(*max);
                // Without its length neither a document with the same bytes nor an unfinished
                // upload of them can be found.
                (request.hash, request.new_only) = (None, false);
            }
        }
        let room = if self.shared.catalog.is_read_only() {
            Err(Error::from(CatalogError::ReadOnly))
        } else {
            uploads::check_room(&self.shared, wanted(request.length))
        };
        let blake3 = request.hash;
        // The second hash of a copy would not be known.
        let same_bytes = blake3.filter(|_| request.second_digest == SecondDigest::None);
        let mut begun = Box::new(Begun {
            unless: Unless { same_place: blake3, same_bytes, unfinished: request.new_only },
            now: self.shared.clock().now(),
            request,
            no_room: None,
            has_cleared: false,
        });
        match (room, blake3) {
            (Ok(()), _) => self.make_row_if_free(begun),
            (Err(no_room), None) => Err(no_room),
            (Err(no_room), Some(_)) => {
                begun.no_room = Some(no_room);
                Ok(self.look_for_same(begun))
            }
        }
    }

    /// Puts the folder into the path that the request names by a number, or the folder of the file
    /// that it names so. The catalog goes by the number: at the end, the file lands where that
    /// folder, or file, lies by then. Where that is gone, the file goes to this path.
    fn find_named_folder(&self, request: &mut NewUpload) -> Result<(), Error> {
        let NodeWish { onto_node, into_folder, .. } = request.wish;
        if onto_node.is_some() {
            request.on_conflict = OnConflict::Replace;
        }
        let Some(named) = onto_node.or(into_folder) else { return Ok(()) };
        let no_such = || Error::Catalog(CatalogError::Refused(Refusal::NoSuchNode));
        let located = self.shared.catalog.locate(self.user, NodeRef::Id(named)).wait()?;
        let Located::Living { node, path } = located else { return Err(no_such()) };
        let folder = match (onto_node, node.kind) {
            (Some(_), NodeKind::File) => path.parent(),
            (None, NodeKind::Folder) => Some(path),
            _ => None,
        };
        let filename = request.path.filename().clone();
        let place = folder.ok_or_else(no_such)?.join(filename);
        let place = place.ok().and_then(|place| place.to_document());
        request.path = place.ok_or(Error::Catalog(CatalogError::Refused(Refusal::TooDeep)))?;
        Ok(())
    }

    fn look_for_same(&self, begun: Box<Begun>) -> BeginStep {
        let NewUpload { path, length, on_conflict, hash, .. } = &begun.request;
        let blake3 = hash.expect("only a file whose hash is known is looked for");
        let documents =
            self.shared.catalog.same_place(self.user, path, length.bound(), blake3, *on_conflict);
        BeginStep::LookForSame { begun, documents }
    }

    /// Asks for a row, unless the disk already says that there is no name for the file.
    fn make_row_if_free(&self, begun: Box<Begun>) -> Result<BeginStep, Error> {
        let storage = &self.shared.storage;
        // Where a document has the name of a folder, no name would help at the end.
        storage.check_folder(self.user, &begun.request.path)?;
        if matches!(begun.request.on_conflict, OnConflict::Reject | OnConflict::Skip) {
            let lies_there = match storage.published(self.user, &begun.request.path) {
                Err(StorageError::Unsafe { .. }) => true,
                answer => answer?.is_some(),
            };
            match begun.unless.same_place {
                // The file that lies there may be the very file that is to be uploaded.
                Some(_) if lies_there => return Ok(self.look_for_same(begun)),
                None if lies_there => return Err(StorageError::Exists.into()),
                _ => {}
            }
        }
        Ok(self.make_row(begun))
    }

    pub(super) fn make_row(&self, begun: Box<Begun>) -> BeginStep {
        let limit = self.shared.config.limits.unfinished_per_user;
        let pending = Arc::clone(&self.shared.pending);
        let guard = move |id| pending.begin(id);
        let (new, unless) = (begun.new_document(self.user), begun.unless);
        let created = self.shared.catalog.create_document(new, unless, limit, guard);
        BeginStep::MakeRow { begun, created }
    }

    /// Goes on after documents were looked at that did not make the upload needless.
    pub(super) fn begin_without(&self, mut begun: Box<Begun>) -> Result<BeginStep, Error> {
        match begun.no_room.take() {
            Some(no_room) => Err(no_room),
            None => self.make_row_if_free(begun),
        }
    }

    /// Waits for the answer, and goes on with it.
    pub(super) fn resume_begin(&mut self, step: BeginStep) -> Result<BeginOutcome, Error> {
        match step {
            BeginStep::LookForSame { begun, documents } => {
                Ok(BeginOutcome::LookAt(begun, documents.wait()?))
            }
            BeginStep::MakeRow { begun, created } => self.row_made(begun, created.wait()),
            BeginStep::MakeFile { begun, row } => {
                self.make_file(*begun, row).map(|()| BeginOutcome::Done)
            }
        }
    }

    fn row_made(
        &mut self,
        mut begun: Box<Begun>,
        created: Result<Created<PendingGuard>, CatalogError>,
    ) -> Result<BeginOutcome, Error> {
        match created {
            Ok(Created::New(guard)) => {
                let row = UnannouncedRow::new(Arc::clone(&self.shared), guard);
                Ok(BeginOutcome::Next(BeginStep::MakeFile { begun, row }))
            }
            Ok(Created::SamePlace(documents)) => Ok(BeginOutcome::LookAt(begun, documents)),
            Ok(Created::SameBytes(documents)) => Ok(BeginOutcome::Copy(begun, documents)),
            Ok(Created::Found(found)) => {
                self.state = WriterState::Rejected;
                Ok(BeginOutcome::Found(begun, found))
            }
            Err(CatalogError::Refused(PathTaken | FolderTaken))
                if !std::mem::replace(&mut begun.has_cleared, true)
                    && presence::fail_missing_at(
                        &self.shared,
                        self.user,
                        &begun.request.path,
                        1,
                    ) =>
            {
                Ok(BeginOutcome::Next(self.make_row(begun)))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn make_file(&mut self, begun: Begun, mut row: UnannouncedRow) -> Result<(), Error> {
        let Begun { request, now, .. } = begun;
        let NewUpload { path, length, on_conflict, mode, second_digest, .. } = request;
        let id = row.id();
        failpoint::reach("upload.row_made");
        let staging = match self.shared.storage.create(id, wanted(length)) {
            Ok(staging) => staging,
            Err(error) => {
                let error = Error::Storage(error);
                row.end(&error.rejection().message);
                return Err(error);
            }
        };
        row.has_file();
        failpoint::reach("upload.file_made");
        let (rules, lease) = Rules::begin(self.user, path, length, mode, now);
        let (active, writer) = ActiveUpload::begin(id, staging, rules, lease, self.subscriber());
        let active = Arc::new(active.with_second_digest(second_digest));
        self.shared.registry.begin(&active, || {
            let lease = Some(lease.generation());
            let grant = Grant { by: GrantedBy::Begin, offset: Offset::ZERO, length, lease };
            self.tell(Some(id), EventKind::Granted(grant));
        });
        row.was_announced();
        self.shared.state_copy.changed();
        let room = Room::of(length);
        self.state = WriterState::Active(OpenUpload { active, writer, on_conflict, room });
        self.observe_open();
        Ok(())
    }
}

/// The bytes for which there has to be room when an upload begins: those of the file, if its length
/// is known.
const fn wanted(length: Length) -> FileSize {
    match length {
        Length::Declared(filesize) => filesize,
        Length::Open { .. } => FileSize::MIN,
    }
}

/// A row of which no client was told. Either its client [is told](Self::was_announced), or the row
/// [ends](Self::end) and gives back its place among the unfinished uploads of the user.
pub(super) struct UnannouncedRow {
    shared: Arc<Shared>,
    guard: PendingGuard,
    staging: StagingFile,
    is_decided: bool,
}

/// Whether the staging file of a new row was made. Before that, a file of that name belongs to
/// another program, and no upload deletes it.
enum StagingFile {
    NotMade,
    Made,
}

impl UnannouncedRow {
    fn new(shared: Arc<Shared>, guard: PendingGuard) -> Self {
        Self { shared, guard, staging: StagingFile::NotMade, is_decided: false }
    }

    fn id(&self) -> DocumentId {
        self.guard.id
    }

    fn has_file(&mut self) {
        self.staging = StagingFile::Made;
    }

    fn was_announced(mut self) {
        self.is_decided = true;
    }

    fn end(mut self, why: &str) {
        self.end_now(why);
    }

    fn end_now(&mut self, why: &str) {
        self.is_decided = true;
        let id = self.guard.id;
        let ended = match self.staging {
            StagingFile::Made => end::end(&self.shared, id, Phase::Failed, why),
            StagingFile::NotMade => end::record(&self.shared, id, Phase::Failed, why),
        };
        if let Err(error) = ended {
            tracing::error!(document_id = %id, %error, "an upload that was not begun was not ended");
        }
    }
}

impl Drop for UnannouncedRow {
    /// After a panic between the row and its announcement the row is ended here.
    fn drop(&mut self) {
        if !self.is_decided {
            tracing::error!(document_id = %self.guard.id, "an upload was cut off at its beginning");
            self.end_now(CUT_OFF);
        }
    }
}

/// The reason of an upload that ended before its client was told of it.
const CUT_OFF: &str = "it was cut off at its beginning";
