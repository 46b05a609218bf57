//! Whether the file of a completed document is still the one that was promised. The catalog says
//! what should be there; the disk decides.

use crate::shared::Shared;
use crate::storage::{GoesOn, Published, Spot, StorageError};
use crate::{failpoint, log, read_and_hash};
use towline_state::CatalogError;
use towline_state::catalog::{Document, FileStamp, Refusal, Reply};
use towline_types::{BlockIndex, DocumentPath, Offset, UserId};
use towline_upload::Phase;

/// What lies in a document's place.
#[derive(Debug)]
pub(crate) enum Presence {
    /// The file that was published there: its length, inode and time of modification are
    /// those that the catalog knows.
    Promised(Published),
    /// A file of the right length that may be another: it has to be read.
    Unread(Published),
    /// A folder, a file of another length, or anything else.
    Other,
    /// Nothing. The file was removed.
    Gone,
    /// Not known: the place cannot be looked at, or may be on a disk that is not mounted. The row
    /// keeps its name, so the next file gets another name, and no client is told `SUCCESS` for this
    /// document.
    Unknown,
}

/// How many names are looked at for documents whose files may be gone, before a file gets a
/// numbered name: the plain name and the first numbered ones. A later name that such a document
/// keeps is passed over, since there is another one.
pub(crate) const NAMES_LOOKED_AT: u32 = 8;

/// The same where no name is free as far as the rows say: as many names as the catalog tries one by
/// one. Each of them costs two look-ups in the catalog, and a look at the disk where there is a
/// row.
pub(crate) const ALL_NAMES_LOOKED_AT: u32 = 100;

/// Looks at the file of a completed document, and reads nothing. Blocks.
///
/// A folder above the document may have been moved since its row was read, and the document may
/// have been replaced. So where another file lies in the place that the row says, or nothing, the
/// row is read again, and as long as its place changes the file is looked for in the new one. While
/// a move of this user is under way, nothing is known of a file that is not found.
pub(crate) fn of(shared: &Shared, document: &Document) -> Presence {
    let mut latest: Option<Document> = None;
    for _ in 0..PLACES_LOOKED_AT {
        let row = latest.as_ref().unwrap_or(document);
        let presence = in_place(shared, row);
        if matches!(presence, Presence::Promised(_) | Presence::Unknown) {
            return presence;
        }
        if being_replaced(shared, row).is_some() {
            return Presence::Unknown;
        }
        match shared.catalog.document(document.document_id).wait() {
            Ok(Some(again)) if again.file_path != row.file_path => latest = Some(again),
            Ok(Some(_))
                if matches!(presence, Presence::Gone)
                    && shared.places.may_differ(document.user_id) =>
            {
                return Presence::Unknown;
            }
            Ok(Some(_)) => return presence,
            _ => return Presence::Unknown,
        }
    }
    Presence::Unknown
}

/// The file of a document that another document is just replacing. Before the rename the old file
/// gets its place among the older versions, and its row says so only after the rename. Blocks.
pub(crate) fn being_replaced(shared: &Shared, document: &Document) -> Option<Published> {
    let version = Spot::Version(document.document_id);
    let kept = shared.storage.open_spot(document.user_id, &version, &[]).ok().flatten()?;
    is_known_apart(&kept, document).then_some(kept)
}

/// Whether a file that lies elsewhere than in its place is the one that was published, by its
/// length and its stamp. The depth of the mount point is left out, because it is the depth of
/// another folder.
pub(crate) fn is_known_apart(found: &Published, document: &Document) -> bool {
    let known = document.stamp.map(|stamp| FileStamp { mount_depth: None, ..stamp });
    let stamp = FileStamp { mount_depth: None, ..found.stamp };
    found.filesize == document.filesize && stamp.is_known_by(known)
}

/// How many places of one document are looked at, where it is moved again and again meanwhile.
const PLACES_LOOKED_AT: usize = 3;

/// Looks at the place that the row says.
fn in_place(shared: &Shared, document: &Document) -> Presence {
    // It has no file there, and was not removed.
    if document.availability.is_quarantined() {
        return Presence::Unknown;
    }
    let Some(path) = &document.file_path else { return Presence::Unknown };
    match shared.storage.published(document.user_id, path) {
        Ok(Some(found)) if found.filesize != document.filesize => Presence::Other,
        Ok(Some(found)) if found.stamp.is_known_by(document.stamp) => Presence::Promised(found),
        Ok(Some(found)) => Presence::Unread(found),
        Ok(None) => {
            let stamp = document.stamp;
            // Only a disk can be missing.
            let Some(disk) = shared.storage.local_disk() else { return Presence::Gone };
            match disk.may_be_unmounted(document.user_id, path, stamp) {
                Ok(false) => Presence::Gone,
                Ok(true) | Err(_) => Presence::Unknown,
            }
        }
        Err(StorageError::Unsafe { .. } | StorageError::NotAFolder) => Presence::Other,
        Err(_) => Presence::Unknown,
    }
}

/// Reads a file that may be the one of a document, and returns whether it is; nothing where
/// `goes_on` said not to go on. `goes_on` is called with the position of the read. If the file is
/// the right one, it is durable on return, and the catalog knows it by its stamp from then on.
/// Blocks.
///
/// Another program has written the file, and the bytes were read from the page cache: they may not
/// be on the device. So the file, its name and the folders above it are synced before the catalog
/// records the stamp and before any caller says `SUCCESS` (P3).
///
/// # Errors
/// Where the sync fails. Then the file does not count as the right one (P5).
pub(crate) fn verify(
    shared: &Shared,
    document: &Document,
    found: &Published,
    goes_on: GoesOn<'_>,
) -> Result<Option<bool>, StorageError> {
    let read = |buffer: &mut [u8], at: Offset| found.read_exact_at(buffer, at);
    let filesize = document.filesize;
    let take = |_: &[u8], index: BlockIndex| Ok(goes_on(index.end(filesize)));
    let hash = match read_and_hash::of_blocks(filesize, read, take) {
        Ok(Some(hash)) => hash,
        Ok(None) => return Ok(None),
        // The file is shorter than it was, or cannot be read: in both cases it is not the right
        // one.
        Err(error) => {
            shared.summary.damaged(document, &format!("it cannot be read: {}", log::chain(&error)));
            return Ok(Some(false));
        }
    };
    let (Some(path), true) = (&document.file_path, Some(hash) == document.blake3) else {
        shared.summary.damaged(document, "it does not have the bytes that were uploaded");
        return Ok(Some(false));
    };
    Ok(Some(trust(shared, document, path, found)?))
}

/// Makes a file durable that was read and has the bytes that were uploaded, and records its stamp:
/// from now on the catalog knows the file by it. Returns whether it is still the file of that name.
/// Blocks.
///
/// # Errors
/// Where the sync fails. Then the file does not count as the right one (P5).
pub(crate) fn trust(
    shared: &Shared,
    document: &Document,
    path: &DocumentPath,
    found: &Published,
) -> Result<bool, StorageError> {
    match shared.storage.sync_published(document.user_id, path) {
        // The file was removed since it was read.
        Err(StorageError::Lost(_)) => return Ok(false),
        settled => settled?,
    }
    // The file that was synced is the one that was read, unless another file has its name
    // meanwhile.
    let now = shared.storage.published(document.user_id, path)?;
    if now.is_none_or(|now| now.stamp != found.stamp) {
        return Ok(false);
    }
    let id = document.document_id;
    if let Err(error) = shared.catalog.note_stamp(id, found.stamp).wait() {
        tracing::debug!(document_id = %id, %error, "its file is read again the next time");
    }
    Ok(true)
}

/// The file of a document was read, and is damaged. From now on its stamp proves nothing: the next
/// question for the document reads the file again (P5). The document and the file stay, so that
/// `towlined verify --repair` can set the file aside. Blocks.
pub(crate) fn mark_damaged(shared: &Shared, document: &Document) {
    shared.summary.damaged(document, "it does not have the bytes that were uploaded");
    let id = document.document_id;
    if let Some(stamp) = document.stamp
        && let Err(error) = shared.catalog.doubt_file(id, stamp).wait()
    {
        tracing::error!(document_id = %id, %error, "that the file of a document is damaged was not recorded");
    }
}

/// Ends a completed document whose file is gone: its row keeps no name, and says why. Returns
/// whether the document was ended. Blocks.
///
/// The row changes only after the file is gone from the disk (P3), and the owner of the disk has
/// removed it: this function removes no byte.
///
/// The place of the document is read and looked at once more, while no other thread can move it: a
/// folder above it that was just moved takes the file to another place, and removes nothing. Where
/// the places of this user are being changed just now, nothing is ended.
pub(crate) fn fail_missing(shared: &Shared, document: &Document) -> bool {
    let Some(_look) = shared.places.try_look(document.user_id) else { return false };
    let row = match shared.catalog.document(document.document_id).wait() {
        Ok(Some(row)) if row.phase == Phase::Completed => row,
        _ => return false,
    };
    if !matches!(in_place(shared, &row), Presence::Gone) {
        return false;
    }
    let lost = ask_to_fail(shared, &row);
    has_failed(shared, &row, lost)
}

fn ask_to_fail(shared: &Shared, document: &Document) -> Reply<()> {
    let reason = missing_because(document, "was removed from the server's disk");
    failpoint::reach("gone.found");
    shared.catalog.lose(document.document_id, reason, shared.clock().now())
}

/// Ends those documents of a user whose files are gone and whose rows keep a name that a new file
/// needs: its place, one of the first `copies` numbered names of it, the name of one of its
/// folders, or a name in a folder that has the name of the file. Returns whether there were any.
/// Blocks.
pub(crate) fn fail_missing_at(
    shared: &Shared,
    owner: UserId,
    path: &DocumentPath,
    copies: u32,
) -> bool {
    let mut were_any = false;
    // Where the places of this user are being changed just now, a file that is not found was not
    // removed.
    let Some(_look) = shared.places.try_look(owner) else { return false };
    // A folder may have had more documents than are looked up at a time.
    while fail_some_missing_at(shared, owner, path, copies) {
        were_any = true;
    }
    were_any
}

fn fail_some_missing_at(shared: &Shared, owner: UserId, path: &DocumentPath, copies: u32) -> bool {
    let mut names = vec![path.clone()];
    names.extend((1..copies).map_while(|copy| path.numbered(copy)));
    let below = shared.catalog.below_places(owner, &names);
    for (depth, name) in path.folder().iter().enumerate() {
        let above = path.folder().iter().take(depth).cloned().collect();
        names.extend(DocumentPath::new(above, name.clone()));
    }
    let at = shared.catalog.at_places(owner, &names);
    let documents = at.wait().and_then(|mut documents| {
        documents.extend(below.wait()?);
        Ok(documents)
    });
    let documents = match documents {
        Ok(documents) => documents,
        Err(error) => {
            tracing::error!(user = %owner, %error, "the documents that keep a name cannot be looked up");
            return false;
        }
    };
    let is_gone = |document: &&Document| matches!(in_place(shared, document), Presence::Gone);
    // The catalog is asked about all of them before the first answer is waited for: many share a
    // commit.
    let gone: Vec<_> = documents.iter().filter(is_gone).collect();
    let gone: Vec<_> =
        gone.into_iter().map(|document| (document, ask_to_fail(shared, document))).collect();
    gone.into_iter()
        .map(|(document, lost)| has_failed(shared, document, lost))
        .filter(|lost| *lost)
        .count()
        > 0
}

/// Waits for the answer whether a document without a file was ended.
fn has_failed(shared: &Shared, document: &Document, lost: Reply<()>) -> bool {
    let id = document.document_id;
    match lost.wait() {
        Ok(()) => {
            shared.notifier.raise(document.user_id);
            let place = document.file_path.as_ref().map(tracing::field::display);
            tracing::warn!(
                document_id = %id, user = %document.user_id, place,
                "the file of a document was removed; its name is free again"
            );
            true
        }
        // Another writer has ended the document in the meantime.
        Err(CatalogError::Refused(Refusal::WrongPhase(_))) => true,
        Err(error) => {
            tracing::error!(document_id = %id, %error, "a document without a file was not ended");
            false
        }
    }
}

/// Whether this document counts as already there for an upload to the place `asked`: it lies there,
/// or it has that name with a number because something else lies there. Where nothing lies there,
/// the new file gets the place. A document that was moved to another name counts for that name
/// alone: a client that is told that its file is there believes that it is under the name that it
/// asked for. Blocks.
pub(crate) fn stands_for(shared: &Shared, document: &Document, asked: &DocumentPath) -> bool {
    let Some(path) = &document.file_path else { return false };
    path.key() == asked.key() || (path.is_numbered(asked) && is_taken(shared, document, asked))
}

/// Whether something else than the document has the name, or one that counts as the same: then a new
/// file would get a numbered name. Blocks.
fn is_taken(shared: &Shared, document: &Document, asked: &DocumentPath) -> bool {
    let user = document.user_id;
    if !matches!(shared.storage.published(user, asked), Ok(None)) {
        return true;
    }
    // The catalog takes some names for the same that the disk tells apart, and a link is in the
    // catalog alone.
    let twins = shared.catalog.at_places(user, std::slice::from_ref(asked));
    let others = shared.catalog.has_folder_or_link(user, asked);
    let is_there = |twin: &Document| {
        twin.document_id != document.document_id
            && !matches!(in_place(shared, twin), Presence::Gone)
    };
    // Where the catalog does not answer, the name counts as taken, so that no further copy of the
    // document is made.
    twins.wait().map_or(true, |twins| twins.iter().any(is_there)) || others.wait().unwrap_or(true)
}

/// The reason why a completed document has ended, for its owner. It also keeps what the row loses:
/// the place and the hash.
pub(crate) fn missing_because(document: &Document, what: &str) -> String {
    let place = document.file_path.as_ref().map_or_else(String::new, ToString::to_string);
    let blake3 = document.blake3.as_ref().map_or_else(String::new, ToString::to_string);
    format!("the file {what}; upload it again (it was {place}, with the BLAKE3 hash {blake3})")
}
