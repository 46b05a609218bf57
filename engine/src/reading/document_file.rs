//! The file of a completed document, open for reading.

use super::block_values::{BlockValues, Fit, Whole};
use crate::buffer::BlockBuffer;
use crate::command::Verifier;
use crate::error::Error;
use crate::may_block::MayBlock;
use crate::presence::{self, Presence};
use crate::publish::finish_on_request;
use crate::read_and_hash;
use crate::shared::Shared;
use crate::storage::{GoesOn, Published, Spot, StorageError};
use crate::uploads;
use std::ops::Range;
use towline_state::catalog::{Document, FileStamp, Kept};
use towline_types::block::{BLOCK_SIZE_BYTES, BlockHasher};
use towline_types::{BlockIndex, ChainingValue, DocumentId, FileHash, FileSize, Offset, UserId};
use towline_upload::{Phase, Refusal};

/// See the module's description. What is read is this very file, also where another one gets its
/// name in the meantime.
pub(super) struct DocumentFile {
    document: Document,
    hash: FileHash,
    published: Published,
    values: BlockValues,
}

/// A file that another program may have written since it was uploaded.
pub(super) struct UnreadFile {
    document: Document,
    hash: FileHash,
    published: Published,
}

/// What opening a document led to.
pub(super) enum Opening {
    /// The file is the one that was uploaded, as far as its stamp tells.
    Open(Box<DocumentFile>),
    /// It has to be verified before.
    Unread(Box<UnreadFile>),
}

/// What is known of the blocks of the document that was read last: a client reads a large file in
/// many reads, and the whole file is compared with its hash all the same.
pub(super) struct KnownBlocks {
    id: DocumentId,
    stamp: FileStamp,
    values: BlockValues,
}

/// Opens the file of a completed document. Blocks.
///
/// A publishing that was begun is finished first: with relaxed durability a client has had
/// `SUCCESS` for it (P4).
pub(super) fn open(shared: &Shared, user: UserId, id: DocumentId) -> Result<Opening, Error> {
    let may_block = MayBlock::on_own_thread();
    let mut document = uploads::document_of(shared, user, id, may_block)?;
    if document.phase == Phase::Publishing {
        finish_on_request::finish(shared, id, may_block, &mut |_| ())?;
        document = uploads::document_of(shared, user, id, may_block)?;
    }
    let (Phase::Completed, Some(hash)) = (document.phase, document.blake3) else {
        return Err(not_readable(document));
    };
    if document.kept != Kept::InPlace {
        return open_kept(shared, document, hash);
    }
    match presence::of(shared, &document) {
        Presence::Promised(published) => {
            Ok(Opening::Open(Box::new(DocumentFile::new(document, hash, published))))
        }
        Presence::Unread(published) => {
            Ok(Opening::Unread(Box::new(UnreadFile { document, hash, published })))
        }
        Presence::Other => {
            Err(damaged(shared, &document, "something else has its place", OTHER_FILE))
        }
        Presence::Gone => {
            Err(damaged(shared, &document, "it was removed from the disk", "was removed"))
        }
        Presence::Unknown => Err(Error::OutOfReach),
    }
}

/// Opens the file of an old version, or of a file in the trash. It was renamed or linked there, so
/// its inode and its time of modification are those that it had in its place.
fn open_kept(shared: &Shared, document: Document, hash: FileHash) -> Result<Opening, Error> {
    let (spot, below) = match &document.kept {
        Kept::InTrash { root, below } => (Spot::Trash(*root), below.as_slice()),
        Kept::OldVersion | Kept::InPlace => (Spot::Version(document.document_id), [].as_slice()),
    };
    let Some(found) = shared.storage.open_spot(document.user_id, &spot, below)? else {
        return Err(damaged(shared, &document, "it was removed from the disk", "was removed"));
    };
    let known = document.stamp.map(|stamp| FileStamp { mount_depth: None, ..stamp });
    let is_known = FileStamp { mount_depth: None, ..found.stamp }.is_known_by(known);
    if found.filesize != document.filesize {
        return Err(damaged(shared, &document, "another file has its place", OTHER_FILE));
    }
    Ok(match is_known {
        true => Opening::Open(Box::new(DocumentFile::new(document, hash, found))),
        false => Opening::Unread(Box::new(UnreadFile { document, hash, published: found })),
    })
}

/// What a client hears of a file that is not the one that was uploaded.
const OTHER_FILE: &str = "is not the one that was uploaded";

/// Names the file in the log; `reason` is for the log and `what` for the client.
fn damaged(shared: &Shared, document: &Document, reason: &str, what: &'static str) -> Error {
    shared.summary.damaged(document, reason);
    Error::Damaged { what }
}

fn not_readable(document: Document) -> Error {
    match (document.phase, document.reason) {
        (phase @ (Phase::Failed | Phase::Cancelled | Phase::Expired), Some(reason)) => {
            Error::Ended { phase, reason }
        }
        (phase, _) => Error::Refused(Refusal::NotUploading(phase)),
    }
}

impl UnreadFile {
    pub(super) fn filesize(&self) -> FileSize {
        self.document.filesize
    }

    /// Whether it takes a permit to read it.
    pub(super) fn is_large(&self) -> bool {
        self.filesize().get() > BLOCK_SIZE_BYTES
    }

    /// Reads all of it, and compares it with the hash of the document. Blocks.
    pub(super) fn verify(
        self,
        shared: &Shared,
        goes_on: GoesOn<'_>,
    ) -> Result<DocumentFile, Error> {
        let Self { document, hash, published } = self;
        if document.kept != Kept::InPlace {
            return verify_kept(shared, document, hash, published, goes_on);
        }
        match presence::verify(shared, &document, &published, goes_on)? {
            Some(true) => Ok(DocumentFile::new(document, hash, published)),
            // The log names it already.
            Some(false) => Err(Error::Damaged { what: OTHER_FILE }),
            None => Err(Error::CutShort),
        }
    }
}

/// As [`presence::verify`], of a file that has no place: its stamp is not recorded, so it is read
/// again the next time.
fn verify_kept(
    shared: &Shared,
    document: Document,
    hash: FileHash,
    published: Published,
    goes_on: GoesOn<'_>,
) -> Result<DocumentFile, Error> {
    let filesize = document.filesize;
    let read = |buffer: &mut [u8], at: Offset| published.read_exact_at(buffer, at);
    let take = |_: &[u8], index: BlockIndex| Ok(goes_on(index.end(filesize)));
    match read_and_hash::of_blocks(filesize, read, take)? {
        Some(found) if found == hash => Ok(DocumentFile::new(document, hash, published)),
        Some(_) => {
            Err(damaged(shared, &document, "it has other bytes than were uploaded", OTHER_FILE))
        }
        None => Err(Error::CutShort),
    }
}

impl DocumentFile {
    fn new(document: Document, hash: FileHash, published: Published) -> Self {
        let values = BlockValues::new(document.filesize, hash);
        Self { document, hash, published, values }
    }

    pub(super) fn hash(&self) -> FileHash {
        self.hash
    }

    pub(super) fn filesize(&self) -> FileSize {
        self.document.filesize
    }

    /// Goes on where an earlier read of the same file ended.
    pub(super) fn recall(&mut self, known: KnownBlocks) {
        if known.id == self.document.document_id && known.stamp == self.published.stamp {
            self.values = known.values;
        }
    }

    /// What the next read of the same file can go on with.
    pub(super) fn into_known(self) -> KnownBlocks {
        let Self { document, published, values, .. } = self;
        KnownBlocks { id: document.document_id, stamp: published.stamp, values }
    }

    /// Fills the buffer with the first bytes of `range`, of one block. The answer is the value of
    /// that block, if it begins with these bytes and lies wholly in the range. Blocks.
    ///
    /// # Errors
    /// `Damaged` where the file is found not to be the one that was uploaded; then the bytes in the
    /// buffer are not to be given out (P5).
    pub(super) fn read(
        &mut self,
        shared: &Shared,
        range: &Range<Offset>,
        verifier: Verifier,
        buffer: &mut BlockBuffer,
    ) -> Result<Option<(BlockIndex, ChainingValue)>, Error> {
        let (at, index) = (range.start, BlockIndex::at(range.start));
        let block_end = index.end(self.filesize());
        let has_block = at == index.start() && range.end >= block_end;
        let end = block_end.min(range.end).get();
        let left = usize::try_from(end - at.get()).expect("a block fits in memory");
        let is_short = buffer.space().len() < left;
        let mut value = None;
        if has_block && is_short {
            value = Some(self.value_of_block(shared, index, verifier, |file| {
                file.hash_in_parts(shared, index, buffer.space())
            })?);
        }
        let room = buffer.space();
        let length = left.min(room.len());
        self.read_exact_at(shared, &mut room[..length], at)?;
        buffer.filled(length);
        if has_block && !is_short {
            value = Some(self.value_of_block(shared, index, verifier, |file| {
                let mut hasher = BlockHasher::new(index, file.filesize());
                hasher.update(buffer.bytes());
                Ok(hasher.finish())
            })?);
        }
        self.check_unchanged(shared)?;
        Ok(value.map(|value| (index, value)))
    }

    /// The value of a block. `hash` hashes its bytes; it is not called where the value is known and
    /// the reader verifies.
    fn value_of_block(
        &mut self,
        shared: &Shared,
        index: BlockIndex,
        verifier: Verifier,
        hash: impl FnOnce(&Self) -> Result<ChainingValue, Error>,
    ) -> Result<ChainingValue, Error> {
        let (id, filesize, whole_hash) = (self.document.document_id, self.filesize(), self.hash);
        let known = self.values.known(shared, id, index);
        if let (Some(known), Verifier::Reader) = (known, verifier) {
            return Ok(known);
        }
        let value = hash(self)?;
        let whole = Whole { id, filesize, hash: whole_hash };
        let fits = self.values.hashed(shared, index, value, whole) == Fit::Fits;
        if !fits || known.is_some_and(|known| known != value) {
            presence::mark_damaged(shared, &self.document);
            return Err(Error::Damaged { what: "does not have the bytes that were uploaded" });
        }
        Ok(value)
    }

    /// Hashes a block through a buffer that is smaller than the block.
    fn hash_in_parts(
        &self,
        shared: &Shared,
        index: BlockIndex,
        buffer: &mut [u8],
    ) -> Result<ChainingValue, Error> {
        let mut hasher = BlockHasher::new(index, self.filesize());
        let (mut at, end) = (index.start(), index.end(self.filesize()));
        while at < end {
            let left = usize::try_from(end.get() - at.get()).expect("a block fits in memory");
            let length = left.min(buffer.len());
            let part = &mut buffer[..length];
            self.read_exact_at(shared, part, at)?;
            hasher.update(part);
            at = at.plus(length as u64);
        }
        Ok(hasher.finish())
    }

    fn read_exact_at(&self, shared: &Shared, part: &mut [u8], at: Offset) -> Result<(), Error> {
        self.published.read_exact_at(part, at).map_err(|error| match error {
            StorageError::Lost(_) => self.changed(shared, "it became shorter while it was read"),
            error => Error::Storage(error),
        })
    }

    /// The bytes that were read are those of the document only if no program has written to the
    /// file since it was opened.
    fn check_unchanged(&self, shared: &Shared) -> Result<(), Error> {
        if self.published.is_unchanged()? {
            return Ok(());
        }
        Err(self.changed(shared, "it was written to while it was read"))
    }

    fn changed(&self, shared: &Shared, reason: &str) -> Error {
        damaged(shared, &self.document, reason, "was changed while it was read")
    }
}
