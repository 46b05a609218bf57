//! A verified upload gets its final place: reserved in the catalog before the
//! file is renamed, confirmed after the rename is durable.

use super::availability::Availability;
use super::document::{Bytes, Document, FileStamp, NewDocument, OnConflict, in_phase};
use super::durable::DurableOffset;
use super::error::Refusal;
use super::folder::Tree;
use super::needless::{self, Created, Unless};
use super::place::Kept;
use super::reservation::Wanted;
use super::scan_jobs::{self, JobKind};
use super::{Catalog, Reply, block_pages, description, quota};
use rusqlite::params;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use towline_types::{DocumentId, FileHash, NodeId, Sha256Hash, Timestamp};
use towline_upload::Phase;

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
    /// Where the document is to [replace](OnConflict::Replace) a file that is there, the place is
    /// that file's, and [`Document::replaces`] says which document it has until then.
    ///
    /// Refused: [`Refusal::PathTaken`] for [`OnConflict::Reject`] where copy 0 is
    /// not free or not asked for, and where no numbered name is legal;
    /// [`Refusal::FolderTaken`] where a file or link has the name of one of the folders;
    /// [`Refusal::Conflict`] where another version than the base version would be replaced, or the
    /// file is gone that was named by its number;
    /// [`Refusal::Busy`] where one of the folders is being moved, or another document is being
    /// published into the same file; [`Refusal::NoSuchDocument`];
    /// [`Refusal::WrongPhase`]; [`Refusal::BadLength`] where the length of the file is not
    /// declared.
    pub fn begin_publish(
        &self,
        document_id: DocumentId,
        blake3: FileHash,
        bytes: Bytes,
        on_conflict: OnConflict,
        first_copy: u32,
        now: Timestamp,
    ) -> Reply<(Document, u32)> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let document =
                in_phase(connection, document_id, &[Phase::Uploading, Phase::Publishing])?;
            if document.length_is_open {
                return Err(Refusal::BadLength.into());
            }
            let (cache, user_id) = (&shared.folders, document.user_id);
            let reservation = Tree { connection, cache, user_id }.reserve(Wanted {
                document_id,
                path: &document.path,
                on_conflict,
                wish: &document.wish,
                own: document.node_id,
                first_copy,
                now,
            })?;
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, blake3 = $2, on_conflict = $3, \
                     file_path = $4, node_id = $5, last_chunk_at = $6, cached_inode = $7 \
                     WHERE document_id = $8",
                )?
                .execute(params![
                    Phase::Publishing.as_str(),
                    blake3.as_bytes(),
                    on_conflict.as_str(),
                    reservation.place.to_string(),
                    reservation.node_id.to_i64(),
                    now.to_i64(),
                    cached_inode(bytes),
                    document_id.to_i64(),
                ])?;
            let document = Document {
                phase: Phase::Publishing,
                blake3: Some(blake3),
                bytes,
                on_conflict,
                file_path: Some(reservation.place),
                node_id: Some(reservation.node_id),
                replaces: reservation.replaces,
                last_chunk_at: now,
                ..document
            };
            Ok((document, reservation.copy))
        })
    }

    /// Records the SHA-256 hash of the whole file of an upload. Before
    /// [`begin_publish`](Self::begin_publish), so that the document has it from publishing on.
    /// From then on the hash is one that is asked for: where the upload is not published after
    /// all and gets other bytes, the next `complete` finds it anew.
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is not uploading.
    pub fn note_sha256(&self, document_id: DocumentId, sha256: Sha256Hash) -> Reply<()> {
        self.write(move |connection| {
            in_phase(connection, document_id, &[Phase::Uploading])?;
            connection
                .prepare_cached(
                    "UPDATE documents SET sha256 = $1, second_digest = 'sha-256' \
                     WHERE document_id = $2",
                )?
                .execute(params![sha256.as_bytes(), document_id.to_i64()])?;
            Ok(())
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
    /// Refused: [`Refusal::NoSuchUser`]; [`Refusal::QuotaUsedUp`]; [`Refusal::PathTaken`] and
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
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            if let Some(needless) = needless::needless(connection, &new, unless)? {
                return Ok(needless);
            }
            let more_bytes = new.length.bound().get();
            quota::require_room(connection, &shared.default_quota, new.user_id, more_bytes)?;
            let NewDocument { user_id, path, length, on_conflict, chunk_size, .. } = new;
            let (filesize, started_at) = (length.bound(), new.started_at);
            let second_digest = new.second_digest;
            let wish = new.wish;
            let tree = Tree { connection, cache: &shared.folders, user_id };
            let (own, first_copy) = (None, 0);
            let reservation = tree.reserve(Wanted {
                document_id,
                path: &path,
                on_conflict,
                wish: &wish,
                own,
                first_copy,
                now: started_at,
            })?;
            connection
                .prepare_cached(
                    "INSERT INTO documents (document_id, user_id, folder, filename, filesize, \
                     blake3, status, on_conflict, chunk_size, durable_offset, file_path, \
                     node_id, started_at, last_chunk_at, cached_inode, second_digest, onto_node, \
                     into_folder, base_version, mtime_ms, mode) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13, $14, $15, \
                     $16, $17, $18, $19, $20)",
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
                    reservation.place.to_string(),
                    reservation.node_id.to_i64(),
                    started_at.to_i64(),
                    started_at.to_i64(),
                    cached_inode(bytes),
                    second_digest.as_str(),
                    wish.onto_node.map(NodeId::to_i64),
                    wish.into_folder.map(NodeId::to_i64),
                    wish.base_version.map(DocumentId::to_i64),
                    wish.mtime.map(|mtime| mtime.as_ms()),
                    wish.mode.map(|mode| mode.bits()),
                ])?;
            description::record(connection, document_id, &new.description)?;
            let document = Document {
                document_id,
                user_id,
                path,
                filesize,
                length_is_open: false,
                blake3: Some(blake3),
                second_digest,
                sha256: None,
                phase: Phase::Publishing,
                on_conflict,
                chunk_size,
                durable_offset: DurableOffset::NOTHING,
                bytes,
                file_path: Some(reservation.place),
                availability: Availability::Available,
                kept: Kept::InPlace,
                node_id: Some(reservation.node_id),
                replaces: reservation.replaces,
                wish,
                stamp: None,
                reason: None,
                started_at,
                last_chunk_at: started_at,
                created_at: None,
                finished_at: None,
            };
            Ok(Created::New((document, reservation.copy)))
        })
    }

    /// Gives the reserved place back and takes bytes again: the place was taken, or
    /// could not be made. Blocks and durable offset stay, for the caller
    /// to withdraw what is bad.
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is
    /// not publishing.
    pub fn return_to_uploading(&self, document_id: DocumentId, now: Timestamp) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let document = in_phase(connection, document_id, &[Phase::Publishing])?;
            if let Some(node_id) = document.node_id {
                let (cache, user_id) = (&shared.folders, document.user_id);
                Tree { connection, cache, user_id }.give_back(node_id, document_id, now)?;
            }
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, blake3 = NULL, file_path = NULL, \
                     node_id = NULL, cached_inode = NULL WHERE document_id = $2",
                )?
                .execute(params![Phase::Uploading.as_str(), document_id.to_i64()])?;
            Ok(())
        })
    }

    /// Records that the file lies in its final place, durably, and what it is known by
    /// there. It is the version of its node from then on, and its user's log of changes tells of
    /// it, of the folders that it is the first file in, and of the version that it replaces. The
    /// values of its blocks are kept. Where there is a
    /// [scanner](Self::scan_what_completes), it waits for that, and the job is in the queue (P4).
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is
    /// not publishing, or completed already.
    pub fn complete_publish(
        &self,
        document_id: DocumentId,
        stamp: Option<FileStamp>,
        now: Timestamp,
    ) -> Reply<Document> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let document = in_phase(connection, document_id, &[Phase::Publishing])?;
            let (cache, user_id) = (&shared.folders, document.user_id);
            Tree { connection, cache, user_id }.settle(&document, now)?;
            let availability = match shared.scans.load(Ordering::Relaxed) {
                true => Availability::Scanning,
                false => Availability::Available,
            };
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, durable_offset = filesize, created_at = $2, \
                     finished_at = $3, cached_inode = NULL, file_inode = $4, \
                     file_modified = $5, file_mount_depth = $6, availability = $7 \
                     WHERE document_id = $8",
                )?
                .execute(params![
                    Phase::Completed.as_str(),
                    now.to_i64(),
                    now.to_i64(),
                    stamp.map(|stamp| stamp.inode.cast_signed()),
                    stamp.map(|stamp| stamp.modified_ns),
                    stamp.and_then(|stamp| stamp.mount_depth),
                    availability.as_str(),
                    document_id.to_i64(),
                ])?;
            if availability == Availability::Scanning {
                scan_jobs::enqueue(connection, document_id, user_id, JobKind::Scan, now)?;
            }
            block_pages::keep(connection, document_id, document.filesize)?;
            Ok(Document {
                phase: Phase::Completed,
                availability,
                replaces: None,
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
