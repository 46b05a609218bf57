//! A verified upload gets its final place: reserved in the catalog before the
//! file is renamed, confirmed after the rename is durable.

use super::document::{Bytes, Document, FileStamp, NewDocument, OnConflict};
use super::documents::{self, Created, Unless, in_phase};
use super::durable::DurableOffset;
use super::error::{CatalogError, Refusal};
use super::{Catalog, Reply, blocks, users};
use rusqlite::{Connection, params};
use std::iter;
use towline_types::{DocumentId, DocumentPath, FileHash, Timestamp, UserId};
use towline_upload::Phase;

/// How many names are tried one by one before the search takes larger steps.
const SMALL_STEPS: u32 = 8;

/// How many are tried one by one after these, where the last name that the path has room for
/// is taken. Each costs a key of a path that may have 2 KiB, and all other writes of the
/// catalog wait meanwhile. So all names with one or two digits are tried; a free one beyond
/// these is not found, and the path counts as taken.
const SCANNED_MAX: usize = 92;

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
    /// [`Refusal::FolderTaken`] where a document has the name of one of the folders;
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

    /// Records that the bytes of a document that is publishing were synced. They were in the
    /// page cache only when its row was written.
    ///
    /// Refused: [`Refusal::WrongPhase`] where it is not publishing.
    pub fn bytes_synced(&self, document_id: DocumentId) -> Reply<Document> {
        self.write(move |connection| {
            let document = in_phase(connection, document_id, &[Phase::Publishing])?;
            connection
                .prepare_cached("UPDATE documents SET cached_inode = NULL WHERE document_id = $1")?
                .execute([document_id.to_i64()])?;
            Ok(Document { bytes: Bytes::Synced, ..document })
        })
    }

    /// Records a document of which every byte is here and verified, as `publishing`,
    /// where nothing told of it before: [`create_document`](Self::create_document) and
    /// [`begin_publish`](Self::begin_publish) at once, under a number that was
    /// [reserved](Self::reserve_document_id) for it. It is never among the uploads that
    /// wait for bytes, so their number does not keep it out.
    ///
    /// Refused: [`Refusal::NoSuchUser`]; [`Refusal::PathTaken`] and
    /// [`Refusal::FolderTaken`] as by [`begin_publish`](Self::begin_publish). Then there
    /// is no row.
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
                durable_offset: DurableOffset::NOTHING,
                bytes,
                file_path: Some(place),
                stamp: None,
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

    /// Records that the file lies in its final place, durably, and what it is known by
    /// there. Its blocks are forgotten.
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is
    /// not publishing, or completed already.
    pub fn complete_publish(
        &self,
        document_id: DocumentId,
        stamp: Option<FileStamp>,
        now: Timestamp,
    ) -> Reply<Document> {
        self.write(move |connection| {
            let document = in_phase(connection, document_id, &[Phase::Publishing])?;
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, durable_offset = filesize, created_at = $2, \
                     finished_at = $3, cached_inode = NULL, file_inode = $4, \
                     file_modified = $5, file_mount_depth = $6 WHERE document_id = $7",
                )?
                .execute(params![
                    Phase::Completed.as_str(),
                    now.to_i64(),
                    now.to_i64(),
                    stamp.map(|stamp| stamp.inode.cast_signed()),
                    stamp.map(|stamp| stamp.modified_ns),
                    stamp.and_then(|stamp| stamp.mount_depth),
                    document_id.to_i64(),
                ])?;
            blocks::forget(connection, document_id)?;
            Ok(Document {
                phase: Phase::Completed,
                durable_offset: DurableOffset::recorded(document.filesize.end()),
                bytes: Bytes::Synced,
                stamp,
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

/// Whether another document than `except` has the place with that key, or lies in a
/// folder that has.
pub(super) fn is_taken(
    connection: &Connection,
    user_id: UserId,
    key: &str,
    except: Option<DocumentId>,
) -> Result<bool, CatalogError> {
    // What lies below begins with the key and a slash; behind all of that comes '0', the
    // character behind the slash.
    let sql = "SELECT EXISTS (SELECT 1 FROM documents \
               WHERE user_id = $1 AND path_key = $2 AND document_id <> $3) \
               OR EXISTS (SELECT 1 FROM documents \
               WHERE user_id = $1 AND path_key > $2 || '/' AND path_key < $2 || '0')";
    // Ids begin at 1.
    let except = except.map_or(0, DocumentId::to_i64);
    Ok(connection
        .prepare_cached(sql)?
        .query_row(params![user_id.to_i64(), key, except], |row| row.get(0))?)
}

/// Refuses a place in a folder whose name, or a twin of it, a document has: another
/// name for the file would not help.
pub(super) fn refuse_taken_folder(
    connection: &Connection,
    user_id: UserId,
    path: &DocumentPath,
) -> Result<(), CatalogError> {
    if path.folder().is_empty() {
        return Ok(());
    }
    let key = path.key();
    let sql = "SELECT EXISTS (SELECT 1 FROM documents WHERE user_id = $1 AND path_key = $2)";
    let mut statement = connection.prepare_cached(sql)?;
    for (end, _) in key.match_indices('/') {
        let above = params![user_id.to_i64(), &key[..end]];
        if statement.query_row(above, |row| row.get(0))? {
            return Err(Refusal::FolderTaken.into());
        }
    }
    Ok(())
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
    refuse_taken_folder(connection, wish.owner, wish.path)?;
    let keys = Keys::of(wish.path);
    let is_free = |copy| {
        let key = keys.of_copy(&numbered(wish.path, copy)?);
        Ok(!is_taken(connection, wish.owner, &key, Some(document_id))?)
    };
    let copy = match wish.on_conflict {
        OnConflict::Rename if first_copy == 0 && is_free(0)? => 0,
        OnConflict::Rename => first_free(first_copy, last_copy(wish.path), is_free)?,
        OnConflict::Reject if first_copy == 0 && is_free(0)? => 0,
        OnConflict::Reject => return Err(Refusal::PathTaken.into()),
    };
    Ok((numbered(wish.path, copy)?, copy))
}

/// The keys of many names in one folder, whose own part of the key is made once: a
/// path of 2 KiB takes longer to make a key of than to look up.
struct Keys {
    folder: String,
}

impl Keys {
    fn of(path: &DocumentPath) -> Self {
        let mut folder = path.key();
        folder.truncate(folder.rfind('/').map_or(0, |slash| slash + 1));
        Self { folder }
    }

    fn of_copy(&self, path: &DocumentPath) -> String {
        let name = DocumentPath::new(Vec::new(), path.filename().clone());
        let name = name.map_or_else(|_| path.filename().to_string(), |name| name.key());
        format!("{}{name}", self.folder)
    }
}

/// Where that copy of a document would lie. The number makes a path longer: a long one
/// may leave no room for it.
fn numbered(path: &DocumentPath, copy: u32) -> Result<DocumentPath, CatalogError> {
    if copy == 0 {
        return Ok(path.clone());
    }
    path.numbered(copy).ok_or_else(|| Refusal::PathTaken.into())
}

/// The last copy that the path has room for.
fn last_copy(path: &DocumentPath) -> u32 {
    // All numbers of as many digits take the same room.
    let longest = iter::successors(Some(u32::MAX), |copy| {
        let digits = copy.ilog10();
        (digits > 0).then(|| 10_u32.pow(digits) - 1)
    });
    longest.into_iter().find(|copy| path.numbered(*copy).is_some()).unwrap_or(0)
}

/// The first copy from `first` to `last` that is free: one by one for the few copies
/// that people make, then doubling the step and bisecting, so that the thousandth
/// upload of `scan.pdf` costs some twenty look-ups and not a thousand. Where `last` is
/// taken, there may be a free one before it: [`SCANNED_MAX`] are tried one by one.
fn first_free(
    first: u32,
    last: u32,
    mut is_free: impl FnMut(u32) -> Result<bool, CatalogError>,
) -> Result<u32, CatalogError> {
    let mut taken = first;
    for copy in (first..=last).take(SMALL_STEPS as usize) {
        if is_free(copy)? {
            return Ok(copy);
        }
        taken = copy;
    }
    let looked_at = taken;
    let mut step = SMALL_STEPS;
    let mut free = loop {
        let copy = taken.saturating_add(step).min(last);
        if copy > taken && is_free(copy)? {
            break copy;
        }
        if copy >= last {
            for copy in (looked_at..last).skip(1).take(SCANNED_MAX) {
                if is_free(copy)? {
                    return Ok(copy);
                }
            }
            return Err(Refusal::PathTaken.into());
        }
        taken = copy;
        step = step.saturating_mul(2);
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
    use super::{Keys, SCANNED_MAX, SMALL_STEPS, first_free, last_copy};
    use towline_types::DocumentPath;

    #[test]
    fn the_key_of_a_name_in_a_folder_is_that_of_its_path() {
        for path in ["doc.pdf", "Ordner/CAFÉ.txt", "a/B/ΟΔΟΣ", "a/\u{338}b", "x\u{338}/\u{301}"]
        {
            let path = DocumentPath::parse(path).unwrap();
            let keys = Keys::of(&path);
            assert_eq!(keys.of_copy(&path), path.key());
            let third = path.numbered(3).unwrap();
            assert_eq!(keys.of_copy(&third), third.key());
        }
    }

    fn search(first: u32, taken: impl Fn(u32) -> bool) -> (u32, u32) {
        let mut looks = 0;
        let found = first_free(first, u32::MAX, |copy| {
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
        for (first, last) in [(0, u32::MAX), (u32::MAX, u32::MAX), (0, 0), (0, 9), (3, 99), (10, 9)]
        {
            assert!(first_free(first, last, |_| Ok(false)).is_err(), "{first} to {last}");
        }
    }

    #[test]
    fn a_long_path_whose_names_are_all_taken_costs_few_look_ups() {
        for last in [9, 99, 999, 9_999_999] {
            let mut looks = 0;
            let found = first_free(0, last, |_| {
                looks += 1;
                Ok(false)
            });
            assert!(found.is_err());
            assert!(looks <= 125, "{looks} look-ups of {last} names");
        }
    }

    #[test]
    fn every_free_copy_among_the_first_is_found() {
        for last in [0, 1, 7, 8, 9, 15, 16, 99, 999] {
            for free in 0..=last {
                if (free as usize) < SMALL_STEPS as usize + SCANNED_MAX {
                    let found = first_free(0, last, |copy| Ok(copy == free));
                    assert_eq!(found.unwrap(), free, "{last}");
                }
                // In order, as uploads take them.
                assert_eq!(first_free(0, last, |copy| Ok(copy >= free)).unwrap(), free, "{last}");
            }
        }
    }

    #[test]
    fn the_last_copy_is_the_longest_number_that_fits() {
        for (digits, last) in [(1, 9), (2, 99), (5, 99_999), (10, u32::MAX)] {
            let folder = "d".repeat(255);
            let mut path = [folder.as_str(); 7].join("/");
            path.push('/');
            // Seven bytes for the extension, three for a blank and brackets, one for a letter.
            let last_folder_bytes = 2048 - path.len() - "/".len() - digits - 7 - 3 - 1;
            path.push_str(&"e".repeat(last_folder_bytes));
            path.push_str("/a.234567");
            let path = DocumentPath::parse(&path).unwrap();
            assert_eq!(last_copy(&path), last, "{digits}");
        }
        assert_eq!(last_copy(&DocumentPath::parse("doc.pdf").unwrap()), u32::MAX);
    }
}
