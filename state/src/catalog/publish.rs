//! A verified upload gets its final place: reserved in the catalog before the
//! file is renamed, confirmed after the rename is durable.

use super::document::{Bytes, Document, NewDocument, OnConflict};
use super::documents::{self, Created, Unless, in_phase};
use super::error::{CatalogError, Refusal};
use super::{Catalog, Reply, blocks, users};
use rusqlite::{Connection, params};
use towline_protocol::{DocumentId, DocumentPath, FileHash, Offset, Timestamp, UserId};
use towline_upload::Phase;

/// How many names are tried one by one before the search takes larger steps.
const SMALL_STEPS: u32 = 8;

impl Catalog {
    /// Reserves the final place of a document whose every byte is verified, and makes
    /// it `publishing`. `bytes` says whether they are durable too. Answers with the row
    /// as it is now, its `file_path` being the place, and with which copy that is: 0 is
    /// the place that was asked for, `n` the same [numbered](DocumentPath::numbered) `n`.
    ///
    /// The first free copy from `first_copy` on is taken; from the ninth try on
    /// the search takes larger steps, and where numbers are missing in between it
    /// may pass one over. A document that is publishing already may choose again,
    /// from a later copy, when a file that is not ours lies in its place.
    ///
    /// Refused: [`Refusal::PathTaken`] for [`OnConflict::Reject`] where copy 0 is
    /// not free or not asked for, and where no numbered name is legal;
    /// [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`].
    pub fn begin_publish(
        &self,
        document_id: DocumentId,
        blake3: FileHash,
        bytes: Bytes,
        on_conflict: OnConflict,
        first_copy: u32,
        now: Timestamp,
    ) -> Reply<(Document, u32)> {
        self.write(move |connection| {
            let document =
                in_phase(connection, document_id, &[Phase::Uploading, Phase::Publishing])?;
            let wish = Wish { owner: document.user_id, path: &document.path, on_conflict };
            let (place, copy) = free_place(connection, wish, document_id, first_copy)?;
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, blake3 = $2, on_conflict = $3, \
                     file_path = $4, path_key = $5, last_chunk_at = $6, cached_inode = $7 \
                     WHERE document_id = $8",
                )?
                .execute(params![
                    Phase::Publishing.as_str(),
                    blake3.as_bytes(),
                    on_conflict.as_str(),
                    place.to_string(),
                    place.key(),
                    now.to_i64(),
                    cached_inode(bytes),
                    document_id.to_i64(),
                ])?;
            let file_path = Some(place);
            let (phase, blake3) = (Phase::Publishing, Some(blake3));
            let last_chunk_at = now;
            Ok((
                Document {
                    phase,
                    blake3,
                    bytes,
                    on_conflict,
                    file_path,
                    last_chunk_at,
                    ..document
                },
                copy,
            ))
        })
    }

    /// Records a document of which every byte is here and verified, as `publishing`,
    /// where nothing told of it before: [`create_document`](Self::create_document) and
    /// [`begin_publish`](Self::begin_publish) at once, under a number that was
    /// [reserved](Self::reserve_document_id) for it. It is never among the uploads that
    /// wait for bytes, so their number does not keep it out.
    ///
    /// Refused: [`Refusal::NoSuchUser`]; [`Refusal::PathTaken`] as by
    /// [`begin_publish`](Self::begin_publish). Then there is no row.
    pub fn publish_new(
        &self,
        document_id: DocumentId,
        new: NewDocument,
        unless: Unless,
        blake3: FileHash,
        bytes: Bytes,
    ) -> Reply<Created<(Document, u32)>> {
        self.write(move |connection| {
            if let Some(needless) = documents::needless(connection, &new, unless)? {
                return Ok(needless);
            }
            users::require(connection, new.user_id)?;
            let NewDocument { user_id, path, filesize, on_conflict, chunk_size, started_at } = new;
            let wish = Wish { owner: user_id, path: &path, on_conflict };
            let (place, copy) = free_place(connection, wish, document_id, 0)?;
            connection
                .prepare_cached(
                    "INSERT INTO documents (document_id, user_id, folder, filename, filesize, \
                     blake3, status, on_conflict, chunk_size, durable_offset, file_path, \
                     path_key, started_at, last_chunk_at, cached_inode) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13, $14)",
                )?
                .execute(params![
                    document_id.to_i64(),
                    user_id.to_i64(),
                    path.folder_text(),
                    path.filename().as_str(),
                    filesize.to_i64(),
                    blake3.as_bytes(),
                    Phase::Publishing.as_str(),
                    on_conflict.as_str(),
                    chunk_size,
                    place.to_string(),
                    place.key(),
                    started_at.to_i64(),
                    started_at.to_i64(),
                    cached_inode(bytes),
                ])?;
            let document = Document {
                document_id,
                user_id,
                path,
                filesize,
                blake3: Some(blake3),
                phase: Phase::Publishing,
                on_conflict,
                chunk_size,
                durable_offset: Offset::ZERO,
                bytes,
                file_path: Some(place),
                reason: None,
                started_at,
                last_chunk_at: started_at,
                created_at: None,
                finished_at: None,
            };
            Ok(Created::New((document, copy)))
        })
    }

    /// Gives the reserved place back and takes bytes again: the place was taken, or
    /// could not be made. Blocks and durable offset stay, for the caller
    /// to withdraw what is bad.
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is
    /// not publishing.
    pub fn return_to_uploading(&self, document_id: DocumentId) -> Reply<()> {
        self.write(move |connection| {
            in_phase(connection, document_id, &[Phase::Publishing])?;
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, blake3 = NULL, file_path = NULL, \
                     path_key = NULL, cached_inode = NULL WHERE document_id = $2",
                )?
                .execute(params![Phase::Uploading.as_str(), document_id.to_i64()])?;
            Ok(())
        })
    }

    /// Records that the file lies in its final place, durably. Its blocks are
    /// forgotten.
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is
    /// not publishing, or completed already.
    pub fn complete_publish(&self, document_id: DocumentId, now: Timestamp) -> Reply<Document> {
        self.write(move |connection| {
            let document = in_phase(connection, document_id, &[Phase::Publishing])?;
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, durable_offset = filesize, created_at = $2, \
                     finished_at = $3, cached_inode = NULL WHERE document_id = $4",
                )?
                .execute(params![
                    Phase::Completed.as_str(),
                    now.to_i64(),
                    now.to_i64(),
                    document_id.to_i64(),
                ])?;
            blocks::forget(connection, document_id)?;
            Ok(Document {
                phase: Phase::Completed,
                durable_offset: document.filesize.end(),
                bytes: Bytes::Synced,
                created_at: Some(now),
                finished_at: Some(now),
                ..document
            })
        })
    }
}

fn cached_inode(bytes: Bytes) -> Option<i64> {
    match bytes {
        Bytes::Synced => None,
        Bytes::Cached { inode } => Some(inode.cast_signed()),
    }
}

/// Whether another document than `except` has that place or a twin of it.
pub(super) fn is_taken(
    connection: &Connection,
    user_id: UserId,
    path: &DocumentPath,
    except: Option<DocumentId>,
) -> Result<bool, CatalogError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM documents \
               WHERE user_id = $1 AND path_key = $2 AND document_id <> $3)";
    // Ids begin at 1.
    let except = except.map_or(0, DocumentId::to_i64);
    Ok(connection
        .prepare_cached(sql)?
        .query_row(params![user_id.to_i64(), path.key(), except], |row| row.get(0))?)
}

/// Which place is wanted.
#[derive(Clone, Copy)]
struct Wish<'a> {
    owner: UserId,
    path: &'a DocumentPath,
    on_conflict: OnConflict,
}

/// The first place from `first_copy` on that no document but this one has, and which
/// copy that is.
fn free_place(
    connection: &Connection,
    wish: Wish<'_>,
    document_id: DocumentId,
    first_copy: u32,
) -> Result<(DocumentPath, u32), CatalogError> {
    let is_free = |copy| {
        let place = numbered(wish.path, copy)?;
        Ok(!is_taken(connection, wish.owner, &place, Some(document_id))?)
    };
    let copy = match wish.on_conflict {
        OnConflict::Rename => first_free(first_copy, is_free)?,
        OnConflict::Reject if first_copy == 0 && is_free(0)? => 0,
        OnConflict::Reject => return Err(Refusal::PathTaken.into()),
    };
    Ok((numbered(wish.path, copy)?, copy))
}

/// Where that copy of a document would lie. The number makes a path longer;
/// one that is then too long for a path could never be read back.
fn numbered(path: &DocumentPath, copy: u32) -> Result<DocumentPath, CatalogError> {
    if copy == 0 {
        return Ok(path.clone());
    }
    let numbered = path.numbered(copy);
    DocumentPath::recorded(&numbered.to_string()).map_err(|_| Refusal::PathTaken.into())
}

/// The first copy from `first` on that is free: one by one for the few copies
/// that people make, then doubling the step and bisecting, so that the thousandth
/// upload of `scan.pdf` costs some twenty look-ups and not a thousand.
fn first_free(
    first: u32,
    mut is_free: impl FnMut(u32) -> Result<bool, CatalogError>,
) -> Result<u32, CatalogError> {
    let all_taken = || CatalogError::from(Refusal::PathTaken);
    let mut taken = first;
    for copy in (first..=u32::MAX).take(SMALL_STEPS as usize) {
        if is_free(copy)? {
            return Ok(copy);
        }
        taken = copy;
    }
    let mut step = SMALL_STEPS;
    let mut free = loop {
        let copy = taken.checked_add(step).ok_or_else(all_taken)?;
        if is_free(copy)? {
            break copy;
        }
        taken = copy;
        step = step.checked_mul(2).ok_or_else(all_taken)?;
    };
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_free(middle)? {
            free = middle;
        } else {
            taken = middle;
        }
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::first_free;

    fn search(first: u32, taken: impl Fn(u32) -> bool) -> (u32, u32) {
        let mut looks = 0;
        let found = first_free(first, |copy| {
            looks += 1;
            Ok(!taken(copy))
        });
        (found.unwrap(), looks)
    }

    #[test]
    fn the_first_free_copy_is_found() {
        for count in (0..40).chain([999, 1000, 1001, 100_000]) {
            assert_eq!(search(0, |copy| copy < count).0, count);
            assert_eq!(search(3, |copy| copy < count).0, count.max(3));
        }
    }

    #[test]
    fn a_gap_among_the_first_copies_is_used() {
        assert_eq!(search(0, |copy| copy < 100 && copy != 5), (5, 6));
    }

    #[test]
    fn many_copies_cost_few_look_ups() {
        assert!(search(0, |copy| copy < 1000).1 <= 25);
        assert!(search(0, |copy| copy < 1_000_000).1 <= 45);
    }

    #[test]
    fn a_search_that_finds_nothing_ends() {
        assert!(first_free(0, |_| Ok(false)).is_err());
        assert!(first_free(u32::MAX, |_| Ok(false)).is_err());
    }
}
