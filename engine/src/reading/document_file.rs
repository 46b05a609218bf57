//! The file of a completed document, open for reading.

use super::block_values::{BlockValues, Fit, Whole};
use crate::buffer::BlockBuffer;
use crate::command::Verifier;
use crate::error::Error;
use crate::jobs;
use crate::may_block::MayBlock;
use crate::presence::{self, Presence};
use crate::publish::finish_on_request;
use crate::read_and_hash;
use crate::shared::Shared;
use crate::storage::{GoesOn, Published, Spot, StorageError};
use crate::uploads;
use std::ops::Range;
use towline_state::catalog::{Document, FileStamp, Kept};
use towline_types::block::{BLOCK_SIZE_BYTES, BlockHasher, block_count};
use towline_types::{BlockIndex, ChainingValue, DocumentId, FileHash, FileSize, Offset, UserId};
use towline_upload::{Phase, Refusal};

/// See the module's description. What is read is this very file, also where another one gets its
/// name in the meantime.
pub(super) struct DocumentFile {
    document: Document,
    hash: FileHash,
    published: Published,
    values: BlockValues,
    proof: Proof,
    /// The block that was compared with its value last. Because of it, the parts of a block that
    /// are read one after another cost one comparison.
    compared: Option<BlockIndex>,
    /// The whole file was compared with its hash since it was opened.
    is_whole_compared: bool,
}

/// What proves that the bytes of a file are those that were uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The stamp of the file is the one that the catalog knows.
    Stamp,
    /// The values of its blocks, which the catalog keeps. The stamp proves nothing: another program
    /// may have written to the file since it was uploaded. Each block is compared before any byte
    /// of it is given out.
    Blocks {
        /// How many blocks, from the first one on, were compared in their order.
        in_order: u64,
    },
}

/// A file that is read as a whole before any byte of it is given out.
pub(super) struct UnreadFile {
    document: Document,
    hash: FileHash,
    published: Published,
    why: Why,
}

/// Why a file is read as a whole before any byte of it is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Another program may have written to it since it was uploaded.
    Stamp,
    /// The values of its blocks are not known, and the engine has to compare a part of it.
    Values,
}

/// What opening a document led to.
pub(super) enum Opening {
    /// The file is the one that was uploaded: its stamp says so, or its blocks are compared while
    /// they are read.
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
    proof: Proof,
    compared: Option<BlockIndex>,
}

/// The number of bytes of a block that are read at a time to compare it, where only a part of it
/// was asked for. The buffer of the answer may be much shorter.
const COMPARED_AT_A_TIME_BYTES: usize = 128 << 10;

/// How often a document is looked for, where its file is moved or replaced again and again.
const LOOKS_MAX: usize = 8;

/// Opens the file of a completed document. Blocks.
///
/// The file may be moved, replaced, removed or restored between the look at the row and the look at
/// the disk, and that is no damage. So where the file is not what the row says, this waits until no
/// change of the user's places is under way, and reads the row again. As long as the row says
/// another place, the file is looked for there.
pub(super) fn open(shared: &Shared, user: UserId, id: DocumentId) -> Result<Opening, Error> {
    let may_block = MayBlock::on_own_thread();
    let (mut document, mut hash) = completed(shared, user, id, may_block)?;
    for _ in 0..LOOKS_MAX {
        let found = look(shared, &document, hash);
        if matches!(&found, Ok(Opening::Open(file)) if file.proof == Proof::Stamp) {
            return found.map_err(|fault| fault.told(shared, &document));
        }
        if shared.places.may_differ(user) {
            drop(shared.places.change(user, may_block));
        }
        let (again, hash_again) = completed(shared, user, id, may_block)?;
        if (&again.kept, &again.file_path) == (&document.kept, &document.file_path) {
            return found.map_err(|fault| fault.told(shared, &document));
        }
        (document, hash) = (again, hash_again);
    }
    Err(Error::OutOfReach)
}

/// The row of a completed document, and the hash of its file. A publishing that was begun is
/// finished first: with relaxed durability a client has had `SUCCESS` for it (P4).
fn completed(
    shared: &Shared,
    user: UserId,
    id: DocumentId,
    may_block: MayBlock,
) -> Result<(Document, FileHash), Error> {
    let mut document = uploads::document_of(shared, user, id, may_block)?;
    if document.phase == Phase::Publishing {
        match finish_on_request::finish(shared, id, may_block, &mut |_| ()) {
            // Another thread is at it. Until it has done so the document is not complete.
            Ok(()) | Err(Error::StillPublishing) => {}
            Err(error) => return Err(error),
        }
        document = uploads::document_of(shared, user, id, may_block)?;
    }
    match (document.phase, document.blake3) {
        (Phase::Completed, Some(hash)) => {
            jobs::refuse_held(&document)?;
            Ok((document, hash))
        }
        _ => Err(not_readable(document)),
    }
}

/// Why a file was not opened.
enum Fault {
    /// The file is not the one of its document. `reason` is for the log, `what` for the client.
    Damaged { reason: &'static str, what: &'static str },
    /// The file could not be looked at.
    Error(Error),
}

impl Fault {
    fn told(self, shared: &Shared, document: &Document) -> Error {
        match self {
            Self::Damaged { reason, what } => damaged(shared, document, reason, what),
            Self::Error(error) => error,
        }
    }
}

/// Looks for the file where the row says that it is.
fn look(shared: &Shared, document: &Document, hash: FileHash) -> Result<Opening, Fault> {
    let open = |published| {
        let file = DocumentFile::new(document.clone(), hash, published);
        Ok(Opening::Open(Box::new(file)))
    };
    let fault = |reason, what| Err(Fault::Damaged { reason, what });
    if document.kept != Kept::InPlace {
        return look_apart(shared, document, hash);
    }
    let presence = match presence::of(shared, document) {
        Presence::Promised(published) => return open(published),
        presence => presence,
    };
    if let Some(kept) = presence::being_replaced(shared, document) {
        return open(kept);
    }
    match presence {
        Presence::Promised(published) => open(published),
        Presence::Unread(published) => Ok(doubted(shared, document, hash, published)),
        Presence::Other => fault("something else has its place", OTHER_FILE),
        Presence::Gone => fault("it was removed from the disk", "was removed"),
        Presence::Unknown => Err(Fault::Error(Error::OutOfReach)),
    }
}

/// Looks for the file of an old version, or of a file in the trash. It was renamed or linked there,
/// so its inode and its time of modification are those that it had in its place.
fn look_apart(shared: &Shared, document: &Document, hash: FileHash) -> Result<Opening, Fault> {
    let (spot, below) = match &document.kept {
        Kept::InTrash { root, below } => (Spot::Trash(*root), below.as_slice()),
        Kept::OldVersion | Kept::InPlace => (Spot::Version(document.document_id), [].as_slice()),
    };
    let found = shared.storage.open_spot(document.user_id, &spot, below);
    let Some(published) = found.map_err(|error| Fault::Error(error.into()))? else {
        let reason = "it was removed from the disk";
        return Err(Fault::Damaged { reason, what: "was removed" });
    };
    if published.filesize != document.filesize {
        let reason = "another file has its place";
        return Err(Fault::Damaged { reason, what: OTHER_FILE });
    }
    if !presence::is_known_apart(&published, document) {
        return Ok(doubted(shared, document, hash, published));
    }
    Ok(Opening::Open(Box::new(DocumentFile::new(document.clone(), hash, published))))
}

/// A file of the right length with another stamp: its blocks are compared one by one where their
/// values are kept, and else it is read as a whole before the first byte is given out.
fn doubted(shared: &Shared, document: &Document, hash: FileHash, published: Published) -> Opening {
    let are_kept = BlockValues::are_kept(shared, document.document_id, document.filesize);
    let document = document.clone();
    if !are_kept {
        let why = Why::Stamp;
        return Opening::Unread(Box::new(UnreadFile { document, hash, published, why }));
    }
    let proof = Proof::Blocks { in_order: 0 };
    let file = DocumentFile { proof, ..DocumentFile::new(document, hash, published) };
    Opening::Open(Box::new(file))
}

/// What a client hears of a file that is not the one that was uploaded.
const OTHER_FILE: &str = "is not the one that was uploaded";

/// Names the file in the log; `reason` is for the log and `what` for the client.
fn damaged(shared: &Shared, document: &Document, reason: &str, what: &'static str) -> Error {
    shared.summary.damaged(document, reason);
    Error::Damaged { what, index: None }
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

    pub(super) fn published(&self) -> &Published {
        &self.published
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
        let Self { document, hash, published, why } = self;
        if why == Why::Values {
            return learn_values(shared, document, hash, published, goes_on);
        }
        if document.kept != Kept::InPlace {
            return verify_kept(shared, document, hash, published, goes_on);
        }
        match presence::verify(shared, &document, &published, goes_on)? {
            Some(true) => Ok(DocumentFile::new(document, hash, published)),
            // The log names it already.
            Some(false) => Err(Error::Damaged { what: OTHER_FILE, index: None }),
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

/// Finds the values of the blocks, and compares the whole file with the hash of the document: until
/// then no part of it can be compared. The catalog keeps the values, so this is done once.
fn learn_values(
    shared: &Shared,
    document: Document,
    hash: FileHash,
    published: Published,
    goes_on: GoesOn<'_>,
) -> Result<DocumentFile, Error> {
    let filesize = document.filesize;
    let values = BlockValues::to_be_found();
    let mut file = DocumentFile { values, ..DocumentFile::new(document, hash, published) };
    let mut buffer = vec![0; COMPARED_AT_A_TIME_BYTES];
    for index in (0..block_count(filesize)).map_while(BlockIndex::new) {
        file.value_of_block(shared, index, Verifier::Engine, |file| {
            file.hash_in_parts(shared, index, &mut buffer)
        })?;
        if !goes_on(index.end(filesize)) {
            return Err(Error::CutShort);
        }
    }
    file.check_unchanged(shared)?;
    file.is_whole_compared = true;
    Ok(file)
}

impl DocumentFile {
    fn new(document: Document, hash: FileHash, published: Published) -> Self {
        let values = BlockValues::new(document.filesize, hash);
        let (proof, compared, is_whole_compared) = (Proof::Stamp, None, false);
        Self { document, hash, published, values, proof, compared, is_whole_compared }
    }

    pub(super) fn hash(&self) -> FileHash {
        self.hash
    }

    pub(super) fn published(&self) -> &Published {
        &self.published
    }

    /// Whether the stamp of the file proves that its bytes are those that were uploaded.
    pub(super) fn is_known(&self) -> bool {
        self.proof == Proof::Stamp
    }

    pub(super) fn filesize(&self) -> FileSize {
        self.document.filesize
    }

    /// Where its user sees it; `None` for an older version and for what is in the trash.
    pub(super) fn path(&self) -> Option<String> {
        self.document.file_path.as_ref().map(ToString::to_string)
    }

    /// Whether a part of the file can be compared only once the whole was: the values of its blocks
    /// are not kept yet. For a file whose values are never kept, because it is too long, this is
    /// false: each part would cost a read of the whole file. Blocks.
    pub(super) fn lacks_values(&mut self, shared: &Shared, at: Offset) -> bool {
        let (id, filesize) = (self.document.document_id, self.filesize());
        !self.is_whole_compared
            && self.proof == Proof::Stamp
            && BlockValues::can_be_kept(filesize)
            && self.values.known(shared, id, BlockIndex::at(at)).is_none()
    }

    /// The same file, to be read as a whole before any byte of it is given out.
    pub(super) fn into_unread(self) -> UnreadFile {
        let Self { document, hash, published, .. } = self;
        UnreadFile { document, hash, published, why: Why::Values }
    }

    /// Goes on where an earlier read of the same file ended.
    pub(super) fn recall(&mut self, known: KnownBlocks) {
        if known.id == self.document.document_id && known.stamp == self.published.stamp {
            (self.values, self.compared) = (known.values, known.compared);
            // What was compared counts as compared: the stamp is looked at again after each piece.
            if self.proof != Proof::Stamp {
                self.proof = known.proof;
            }
        }
    }

    /// What the next read of the same file can go on with.
    pub(super) fn into_known(self) -> KnownBlocks {
        let Self { document, published, values, proof, compared, .. } = self;
        KnownBlocks { id: document.document_id, stamp: published.stamp, values, proof, compared }
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
        if !has_block {
            self.compare_before_part(shared, index, verifier)?;
        }
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

    /// Compares the whole block before a part of it is given out: a stamp does not tell of a bit
    /// that has flipped on the disk (P5), and no reader can compare a part. A reader that verifies
    /// gets whole blocks with their values. For such a reader the engine compares no part, and
    /// hashes nothing, as long as the stamp is the one that the catalog knows.
    fn compare_before_part(
        &mut self,
        shared: &Shared,
        index: BlockIndex,
        verifier: Verifier,
    ) -> Result<(), Error> {
        let is_for_reader = verifier == Verifier::Reader && self.proof == Proof::Stamp;
        if is_for_reader || self.compared == Some(index) {
            return Ok(());
        }
        let mut buffer = vec![0; COMPARED_AT_A_TIME_BYTES];
        let hash = |file: &Self| file.hash_in_parts(shared, index, &mut buffer);
        self.value_of_block(shared, index, Verifier::Engine, hash).map(drop)
    }

    /// Takes note of a block that was compared with its value, where that is known. Once all blocks
    /// of a file whose stamp proves nothing were compared in their order, the catalog knows the
    /// file by its new stamp. Where that fails, they are compared again the next time.
    fn compared(&mut self, shared: &Shared, index: BlockIndex) {
        self.compared = Some(index);
        let Proof::Blocks { in_order } = &mut self.proof else { return };
        *in_order = match index.get() {
            0 => 1,
            at if at == *in_order => at + 1,
            _ => *in_order,
        };
        let is_whole = *in_order == block_count(self.document.filesize);
        if let (true, Some(path)) = (is_whole, &self.document.file_path)
            && let Ok(true) = presence::trust(shared, &self.document, path, &self.published)
        {
            self.proof = Proof::Stamp;
        }
    }

    /// The value of a block. `hash` hashes its bytes; it is not called where the value is known and
    /// the reader verifies, unless the stamp of the file proves nothing.
    fn value_of_block(
        &mut self,
        shared: &Shared,
        index: BlockIndex,
        verifier: Verifier,
        hash: impl FnOnce(&Self) -> Result<ChainingValue, Error>,
    ) -> Result<ChainingValue, Error> {
        let (id, filesize, whole_hash) = (self.document.document_id, self.filesize(), self.hash);
        let known = self.values.known(shared, id, index);
        match (known, verifier, self.proof) {
            (Some(known), Verifier::Reader, Proof::Stamp) => return Ok(known),
            // The values were kept when the file was opened.
            (None, _, Proof::Blocks { .. }) => return Err(Error::OutOfReach),
            _ => {}
        }
        let value = hash(self)?;
        let whole = Whole { id, filesize, hash: whole_hash };
        let fits = self.values.hashed(shared, index, value, whole) == Fit::Fits;
        let is_other = known.is_some_and(|known| known != value);
        if !fits || is_other {
            presence::mark_damaged(shared, &self.document);
            let index = is_other.then_some(index);
            return Err(Error::Damaged {
                what: "does not have the bytes that were uploaded",
                index,
            });
        }
        self.compared(shared, index);
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
