//! Whether the file of a completed document is still what was promised. The catalog says
//! what should be there; the disk decides.

use crate::shared::Shared;
use crate::storage::{GoesOn, Published, StorageError};
use crate::{failpoint, file_hash, log};
use towline_state::CatalogError;
use towline_state::catalog::{Document, Refusal, Reply};
use towline_types::{BlockIndex, DocumentPath, Offset, UserId};

/// What lies in a document's place.
#[derive(Debug)]
pub(crate) enum Presence {
    /// The file that was published there: its length, inode and time of modification are
    /// those that the catalog knows.
    Promised,
    /// A file of the right length that may be another: it has to be read.
    Unread(Published),
    /// Something else.
    Other,
    /// Nothing. The file was removed.
    Gone,
    /// Not known: it cannot be looked at, or it may be on a disk that is not mounted. Its row
    /// keeps its name, and `SUCCESS` is not said for it: the next file gets another name.
    Unknown,
}

/// How many names, the plain one and numbered ones, of rows whose files may be gone are looked
/// at where a file gets a numbered name. A name that a row keeps beyond these is passed over:
/// there is another.
pub(crate) const NAMES_LOOKED_AT: u32 = 8;

/// The same where no name is free, as far as the rows say: as many as the catalog tries one by
/// one. Each costs two look-ups, and a look at the disk where there is a row.
pub(crate) const ALL_NAMES_LOOKED_AT: u32 = 100;

/// Looks at the file of a completed document, and reads nothing. Blocks.
pub(crate) fn of(shared: &Shared, document: &Document) -> Presence {
    let Some(path) = &document.file_path else { return Presence::Unknown };
    match shared.storage.published(document.user_id, path) {
        Ok(Some(found)) if found.filesize != document.filesize => Presence::Other,
        Ok(Some(found)) if found.stamp.is_known_by(document.stamp) => Presence::Promised,
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

/// Reads a file that may be a document's, and says whether it is; nothing where it was
/// not to go on. `goes_on` hears how far it is. Where the file is the right one, it is
/// durable, and the catalog knows it by its stamp from then on. Blocks.
///
/// The bytes were read from memory, and another program has written them: they may not
/// be on the device. So the file, its name and the folders above are synced before the
/// stamp vouches for them and before any caller says `SUCCESS` (P3).
///
/// # Errors
/// Where the sync fails: the file is not vouched for (P5).
pub(crate) fn verify(
    shared: &Shared,
    document: &Document,
    found: &Published,
    goes_on: GoesOn<'_>,
) -> Result<Option<bool>, StorageError> {
    let read = |buffer: &mut [u8], at: Offset| found.read_exact_at(buffer, at);
    let filesize = document.filesize;
    let take = |_: &[u8], index: BlockIndex| Ok(goes_on(index.end(filesize)));
    let hash = match file_hash::of_blocks(filesize, read, take) {
        Ok(Some(hash)) => hash,
        Ok(None) => return Ok(None),
        // Shorter than it was, or not to be read: either way it is not vouched for.
        Err(error) => {
            shared.summary.damaged(document, &format!("it cannot be read: {}", log::chain(&error)));
            return Ok(Some(false));
        }
    };
    let (Some(path), true) = (&document.file_path, Some(hash) == document.blake3) else {
        shared.summary.damaged(document, "it does not have the bytes that were uploaded");
        return Ok(Some(false));
    };
    match shared.storage.sync_published(document.user_id, path) {
        // It was removed since it was read.
        Err(StorageError::Lost(_)) => return Ok(Some(false)),
        settled => settled?,
    }
    // What was synced is what was read, unless another file has the name meanwhile.
    let now = shared.storage.published(document.user_id, path)?;
    if now.is_none_or(|now| now.stamp != found.stamp) {
        return Ok(Some(false));
    }
    let id = document.document_id;
    if let Err(error) = shared.catalog.note_stamp(id, found.stamp).wait() {
        tracing::debug!(document_id = %id, %error, "its file is read again the next time");
    }
    Ok(Some(true))
}

/// The file of a document was read, and is damaged. From now on its stamp vouches for
/// nothing: the next question for the document reads the file again (P5). The document and
/// the file stay, for `towlined verify --repair` to set the file aside. Blocks.
pub(crate) fn mark_damaged(shared: &Shared, document: &Document) {
    shared.summary.damaged(document, "it does not have the bytes that were uploaded");
    let id = document.document_id;
    if let Some(stamp) = document.stamp
        && let Err(error) = shared.catalog.doubt_file(id, stamp).wait()
    {
        tracing::error!(document_id = %id, %error, "that its file is damaged was not recorded");
    }
}

/// Ends a completed document whose file is gone: its row keeps no name, and says why.
/// Says whether it has. Blocks.
///
/// The row changes after what it says has become true on the disk (P3), and it was the
/// owner of the disk who made it so: no byte is removed by this.
pub(crate) fn fail_missing(shared: &Shared, document: &Document) -> bool {
    let lost = ask_to_fail(shared, document);
    has_failed(document, lost)
}

fn ask_to_fail(shared: &Shared, document: &Document) -> Reply<()> {
    let reason = missing_because(document, "was removed from the server's disk");
    failpoint::reach("gone.found");
    shared.catalog.lose(document.document_id, reason, shared.clock().now())
}

/// Gives up those documents of a user whose files are gone and whose rows keep a name that
/// a new file needs: the place itself, one of its first `copies` numbered names, the name
/// of one of its folders, or a name in a folder that has the file's own. Says whether there
/// were any. Blocks.
pub(crate) fn fail_missing_at(
    shared: &Shared,
    owner: UserId,
    path: &DocumentPath,
    copies: u32,
) -> bool {
    let mut were_any = false;
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
    let is_gone = |document: &&Document| matches!(of(shared, document), Presence::Gone);
    // All are asked for before the first answer: many share a commit.
    let gone: Vec<_> = documents.iter().filter(is_gone).collect();
    let gone: Vec<_> =
        gone.into_iter().map(|document| (document, ask_to_fail(shared, document))).collect();
    gone.into_iter().map(|(document, lost)| has_failed(document, lost)).filter(|lost| *lost).count()
        > 0
}

/// Hears whether a document without a file was ended.
fn has_failed(document: &Document, lost: Reply<()>) -> bool {
    let id = document.document_id;
    match lost.wait() {
        Ok(()) => {
            let place = document.file_path.as_ref().map(tracing::field::display);
            tracing::warn!(
                document_id = %id, user = %document.user_id, place,
                "the file of a document was removed; its name is free again"
            );
            true
        }
        // Another writer has found out as well.
        Err(CatalogError::Refused(Refusal::WrongPhase(_))) => true,
        Err(error) => {
            tracing::error!(document_id = %id, %error, "a document without a file was not ended");
            false
        }
    }
}

/// Whether the document is what a put to this place would lead to: it lies there, or under
/// a numbered name while something else has the name itself. Where the name is free, the
/// file belongs there. Blocks.
pub(crate) fn stands_for(shared: &Shared, document: &Document, asked: &DocumentPath) -> bool {
    let lies_there = document.file_path.as_ref().is_some_and(|path| path.key() == asked.key());
    lies_there || !matches!(shared.storage.published(document.user_id, asked), Ok(None))
}

/// Why a completed document is one no longer. For its owner; and it keeps what the row loses,
/// the place and the hash.
pub(crate) fn missing_because(document: &Document, what: &str) -> String {
    let place = document.file_path.as_ref().map_or_else(String::new, ToString::to_string);
    let blake3 = document.blake3.as_ref().map_or_else(String::new, ToString::to_string);
    format!("the file {what}; upload it again (it was {place}, with the BLAKE3 hash {blake3})")
}
