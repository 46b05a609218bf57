//! One upload, found by its number: in the registry, or read back from disk.

use crate::active::ActiveUpload;
use crate::end;
use crate::error::Error;
use crate::may_block::MayBlock;
use crate::shared::Shared;
use crate::storage::{Loss, StorageError, wanted_bytes};
use std::sync::Arc;
use towline_state::catalog::{CatalogError, Document, DurableOffset};
use towline_types::{DocumentId, FileSize, UserId};
use towline_upload::{Phase, Progress, Refusal, Upload};

/// The upload; it is read back from disk where it is not in the registry. Blocks.
///
/// The row is read with the slot of the registry locked, so that no other thread can load or end
/// the upload before this one has loaded it.
pub(crate) fn find_or_load(shared: &Shared, id: DocumentId) -> Result<Arc<ActiveUpload>, Error> {
    shared.registry.get_or(id, || {
        let row = shared.catalog.document(id).wait()?;
        let row = row.ok_or(Error::Refused(Refusal::NotFound))?;
        if row.phase != Phase::Uploading {
            return Err(Error::Refused(Refusal::NotUploading(row.phase)));
        }
        let blocks = shared.catalog.blocks(id).wait()?;
        let nothing_promised = row.durable_offset == DurableOffset::NOTHING && blocks.is_empty();
        let progress = Progress::restore(row.length(), row.durable_offset.get(), blocks);
        let last_byte_at = row.last_chunk_at;
        let upload = Upload::restore(row.user_id, row.path, row.phase, progress, last_byte_at);
        let staging = match shared.storage.open(id) {
            // As recovery does it: nothing was promised of this upload, so a file that is missing
            // has lost nothing.
            Err(StorageError::Lost(Loss::Missing)) if nothing_promised => {
                shared.storage.create(id, FileSize::MIN)?
            }
            opened => opened?,
        };
        let active = ActiveUpload::read_back(id, staging, upload, row.durable_offset)?;
        Ok(active.with_second_digest(row.second_digest))
    })
}

/// The document, if the user owns it. A document of another user does not exist for this one.
/// Blocks.
///
/// The number of a document can be guessed, or found in a list, as soon as it has a row. If the
/// upload is just being begun, or came whole and has no name yet, this waits: else another thread
/// might read it back from disk beside its first writer, or believe that its file is lost. The wait
/// ends before a copy to another file system begins.
pub(crate) fn document_of(
    shared: &Shared,
    user: UserId,
    id: DocumentId,
    may_block: MayBlock,
) -> Result<Document, Error> {
    loop {
        let document = match shared.catalog.document(id).wait() {
            Err(CatalogError::BadRow { owner, .. }) if owner != Some(user) => None,
            answer => answer?,
        };
        let own = document.filter(|document| document.user_id == user);
        let own = own.ok_or(Error::Refused(Refusal::NotFound))?;
        let is_unfinished = matches!(own.phase, Phase::Uploading | Phase::Publishing);
        if !is_unfinished
            || shared.registry.get(id).is_some()
            || !shared.pending.wait_for(id, may_block)
        {
            return Ok(own);
        }
    }
}

/// Fails an upload, whether or not a writer has it open, unless it has ended since; its staging file
/// may have got its final name. The error is returned where the upload has failed by this call. For
/// a staging file without the bytes that were written to it, because an upload never goes on over
/// missing bytes, and for other faults that end an upload. While it is being published the answer is [`Error::StillPublishing`], as
/// in [`end::give_up`]. Blocks.
pub(crate) fn fail(
    shared: &Shared,
    id: DocumentId,
    error: Error,
    may_block: MayBlock,
) -> Result<(), Error> {
    shared.registry.exclusively(id, |active| {
        let row_guard =
            active.map(|active| end::lock_row_unless_publishing(active, may_block)).transpose()?;
        let row = shared.catalog.document(id).wait()?;
        if row.is_none_or(|row| row.phase != Phase::Uploading) {
            return Ok(());
        }
        match (active, &row_guard) {
            (Some(active), Some(row_guard)) => end::fail(shared, active, row_guard, &error),
            _ => end::fail_unopened(shared, id, &error)?,
        }
        Err(error)
    })
}

/// Closes the files of paused uploads, if there are many, the oldest pause first. They can be
/// resumed as before; that costs a read of at most one block. At most `looks` uploads are looked
/// at. Blocks.
pub(crate) fn close_idle(shared: &Shared, looks: usize) {
    shared.registry.retire_paused(shared.config.limits.paused_kept_open, looks);
}

/// Refuses a file for which the disk has no room, before anything is made for it. An empty file
/// takes some room, too, and so does a folder or a link.
pub(crate) fn check_room(shared: &Shared, filesize: FileSize) -> Result<(), Error> {
    match lacking_bytes(shared, wanted_bytes(filesize, shared.config.reserve_bytes))? {
        0 => Ok(()),
        missing_bytes => Err(Error::NoRoom { missing_bytes }),
    }
}

/// Refuses bytes that would take of the room that uploads never use: the catalog must be able to
/// grow on a disk full of files. For an upload of unknown length.
pub(crate) fn check_room_to_write(shared: &Shared, length_bytes: u64) -> Result<(), Error> {
    match lacking_bytes(shared, length_bytes)? {
        0 => Ok(()),
        missing_bytes => Err(StorageError::no_room(missing_bytes).into()),
    }
}

/// How many bytes the disk lacks, so that it can take that many and leave the reserve free.
fn lacking_bytes(shared: &Shared, wanted_bytes: u64) -> Result<u64, StorageError> {
    let free_bytes = shared.storage.free_bytes()?;
    let with_reserve = wanted_bytes.saturating_add(shared.config.reserve_bytes);
    Ok(if wanted_bytes == 0 { 0 } else { with_reserve.saturating_sub(free_bytes) })
}

/// How many bytes the disk lacks for the rest of an upload; at least one.
pub(crate) fn missing_bytes(shared: &Shared, filesize: FileSize, active: &ActiveUpload) -> u64 {
    let received = active.ask(|upload| upload.progress().received());
    let rest = filesize.get().saturating_sub(received.get());
    lacking_bytes(shared, rest).unwrap_or(rest).max(1)
}
