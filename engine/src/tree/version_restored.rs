//! A file gets the bytes of one of its older versions again.
//!
//! They become a new version, with a number of its own, by the steps of a file that came whole:
//! the bytes are copied into a staging file and verified while they are read, the copy is synced
//! (P2), a row that says `publishing` is made (P4), and the [publishing](crate::publish) replaces
//! the current version, which stays as an older one (P1). So the older version stays too, nothing
//! that was told of a version ever changes, and the change is one of the content like any other.

use super::change::LOOK_AGAIN;
use super::request::PlacedNode;
use crate::error::Error;
use crate::jobs;
use crate::large_reads;
use crate::may_block::MayBlock;
use crate::presence;
use crate::publish::reserved_name::PublishSpec;
use crate::publish::{Advance, Publishing};
use crate::read_and_hash;
use crate::shared::Shared;
use crate::storage::{Copied, Publishable, Published, Spot};
use crate::uploads;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use towline_state::CatalogError;
use towline_state::catalog::{
    Bytes, Created, Description, Document, Kept, Located, NewDocument, NodeRef, NodeWish, Refusal,
    Unless,
};
use towline_types::{
    DocumentId, FileHash, NodeId, NodeKind, Offset, OnConflict, SecondDigest, UserId,
};
use towline_upload::{Length, Phase};

/// Gives the file that version's bytes again; the copying stops where the session comes to its end
/// (`ending`). Blocks, on a thread of the runtime.
pub(crate) fn restore_version(
    shared: &Shared,
    user: UserId,
    file: NodeRef,
    version: DocumentId,
    may_block: MayBlock,
    ending: &CancellationToken,
) -> Result<PlacedNode, Error> {
    let goes_on = &mut |_| !ending.is_cancelled();
    let no_such = || Error::Catalog(CatalogError::Refused(Refusal::NoSuchNode));
    let placed = current(shared, user, file, version, may_block)?;
    let node_id = placed.node.node_id;
    if placed.node.version.is_some_and(|current| current.document_id == version) {
        return Ok(placed);
    }
    let old = uploads::document_of(shared, user, version, may_block)?;
    let is_its_version = old.phase == Phase::Completed && old.node_id == Some(node_id);
    let (Some(blake3), true, Kept::OldVersion) = (old.blake3, is_its_version, &old.kept) else {
        return Err(no_such());
    };
    jobs::refuse_held(&old)?;
    let spot = Spot::Version(version);
    let found = shared.storage.open_spot(user, &spot, &[])?.ok_or_else(no_such)?;
    uploads::check_room(shared, old.filesize)?;
    let document_id = shared.catalog.reserve_document_id(user)?;
    // While this lives, a request that names the new number waits.
    let guard = shared.pending.begin(document_id);
    let Some(staging) = copy(shared, document_id, &old, &found, blake3, goes_on)? else {
        presence::mark_damaged(shared, &old);
        return Err(no_such());
    };
    shared.metrics.syncs.timed(|| staging.sync_data())?;
    let on_conflict = OnConflict::Replace;
    let spec = PublishSpec { document_id, owner: user, blake3, on_conflict, is_copy: true };
    let unless = Unless { same_place: None, same_bytes: None, unfinished: false };
    let new = successor(shared, &old, node_id);
    let row = shared.catalog.publish_new(document_id, new, unless, blake3, Bytes::Synced).wait();
    let row = match row {
        Ok(Created::New(row)) => row,
        refused => {
            // No row was committed: the copy belongs to no document.
            shared.storage.discard(document_id)?;
            return Err(match refused {
                // The file was removed meanwhile.
                Err(CatalogError::Refused(Refusal::Conflict { current: None })) => no_such(),
                refused => refused.err().map_or(Error::Contended, Error::from),
            });
        }
    };
    let advance = Publishing::of_whole(shared, spec, (staging, guard), row, None)?;
    complete(shared, user, advance, (may_block, ending))?;
    super::stat(shared, user, NodeRef::Id(node_id))
}

/// The file as it is now. A file whose current version was lost is in the trash, with the versions
/// that are kept. It comes back with the last of them, and then any other can be restored (P1).
fn current(
    shared: &Shared,
    user: UserId,
    file: NodeRef,
    version: DocumentId,
    may_block: MayBlock,
) -> Result<PlacedNode, Error> {
    let no_such = || Error::Catalog(CatalogError::Refused(Refusal::NoSuchNode));
    let node = match super::stat(shared, user, file.clone()) {
        Ok(placed) if placed.path.is_some() => return Ok(placed),
        Ok(placed) => placed.node,
        Err(Error::Catalog(CatalogError::Refused(Refusal::NoSuchNode))) => {
            let NodeRef::Path(path) = file else { return Err(no_such()) };
            match shared.catalog.find_in_trash(user, path).wait()? {
                Some(Located::InTrash { node, .. }) => node,
                _ => return Err(no_such()),
            }
        }
        Err(error) => return Err(error),
    };
    let old = uploads::document_of(shared, user, version, may_block)?;
    let has_lost_content = node.kind == NodeKind::File && node.version.is_none();
    if !has_lost_content || old.node_id != Some(node.node_id) {
        return Err(no_such());
    }
    super::restore(shared, user, NodeRef::Id(node.node_id), may_block)
}

/// The row of the new version.
fn successor(shared: &Shared, old: &Document, node_id: NodeId) -> NewDocument {
    NewDocument {
        user_id: old.user_id,
        path: old.path.clone(),
        length: Length::Declared(old.filesize),
        on_conflict: OnConflict::Replace,
        chunk_size: None,
        second_digest: SecondDigest::None,
        description: Description::default(),
        wish: NodeWish { onto_node: Some(node_id), base_version: None, ..old.wish },
        started_at: shared.clock().now(),
    }
}

/// A staging file with the bytes of that version; nothing where they are not the right ones.
fn copy(
    shared: &Shared,
    document_id: DocumentId,
    old: &Document,
    found: &Published,
    blake3: FileHash,
    goes_on: &mut dyn FnMut(Offset) -> bool,
) -> Result<Option<Arc<dyn Publishable>>, Error> {
    let filesize = old.filesize;
    if found.filesize != filesize {
        return Ok(None);
    }
    if let Some(storage) = shared.storage.copies() {
        let copied = storage.create_copy(document_id, found, (filesize, blake3), goes_on)?;
        return match copied {
            Copied::Whole(staging) => Ok(Some(staging)),
            Copied::OtherBytes => Ok(None),
            Copied::Stopped => Err(Error::CutShort),
        };
    }
    let staging = shared.storage.create(document_id, filesize)?;
    let read = |buffer: &mut [u8], at: Offset| found.read_exact_at(buffer, at);
    let hash = read_and_hash::of_blocks(filesize, read, |block, index| {
        staging.write_all_at(block, index.start())?;
        Ok(goes_on(index.end(filesize)))
    });
    match hash {
        Ok(Some(hash)) if hash == blake3 => Ok(Some(staging)),
        unusable => {
            shared.storage.discard(document_id)?;
            match unusable? {
                Some(_) => Ok(None),
                None => Err(Error::CutShort),
            }
        }
    }
}

/// Does all steps of a publishing, on this thread.
fn complete(
    shared: &Shared,
    user: UserId,
    mut advance: Advance,
    (may_block, ending): (MayBlock, &CancellationToken),
) -> Result<(), Error> {
    let mut others = None;
    loop {
        let mut publishing = match advance {
            Advance::Done(receipt) => {
                receipt.upload_end().completed_by_server();
                return Ok(());
            }
            Advance::Continue(publishing) => publishing,
        };
        if publishing.waits_for_move() {
            match &mut others {
                // What was in the way may have ended before this thread listens, so it looks once
                // more first.
                None => others = Some(shared.notifier.wait_for(user)),
                Some(others) => others.change_or(LOOK_AGAIN),
            }
        }
        if publishing.wants_turn() {
            let permit = large_reads::permit(shared, ending.clone(), || {});
            publishing.take_turn(Handle::current().block_on(permit));
        }
        advance = publishing.advance(shared, Some(may_block), &mut |_| {})?;
    }
}
