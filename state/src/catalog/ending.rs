//! Uploads that are given up, and documents that are lost.

use super::document::in_phase;
use super::error::Refusal;
use super::folder::Tree;
use super::{Catalog, Reply, block_pages, blocks, scan_jobs};
use rusqlite::params;
use std::sync::Arc;
use towline_types::{DocumentId, Timestamp};
use towline_upload::Phase;

impl Catalog {
    /// Records that an upload was given up as failed, cancelled or expired, and
    /// why. Its blocks are forgotten and a reserved place is free again.
    ///
    /// Refused: [`Refusal::NotAnEnding`] for another phase;
    /// [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is finished
    /// already.
    pub fn finish(
        &self,
        document_id: DocumentId,
        ending: Phase,
        reason: impl Into<String>,
        now: Timestamp,
    ) -> Reply<()> {
        let reason = reason.into();
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            if !matches!(ending, Phase::Failed | Phase::Cancelled | Phase::Expired) {
                return Err(Refusal::NotAnEnding(ending).into());
            }
            let phases = [Phase::Uploading, Phase::Publishing];
            let document = in_phase(connection, document_id, &phases)?;
            if let Some(node_id) = document.node_id {
                let (cache, user_id) = (&shared.folders, document.user_id);
                Tree { connection, cache, user_id }.give_back(node_id, document_id, now)?;
            }
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, reason = $2, finished_at = $3, \
                     blake3 = NULL, file_path = NULL, node_id = NULL, cached_inode = NULL \
                     WHERE document_id = $4",
                )?
                .execute(params![ending.as_str(), reason, now.to_i64(), document_id.to_i64()])?;
            blocks::forget(connection, document_id)
        })
    }

    /// Records that a completed document is no longer what was uploaded: its file
    /// is not in its place, and must not be vouched for again. The row becomes one
    /// of a failed upload, and its place is free: its node is gone, with the folders that were
    /// made for it alone, and the log of changes says so. A node with earlier versions stays, in
    /// the trash.
    ///
    /// Hash and place go with it; a `reason` that names them keeps them.
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is
    /// not completed; [`Refusal::Busy`] where it, or a folder above it, is just being moved.
    pub fn lose(
        &self,
        document_id: DocumentId,
        reason: impl Into<String>,
        now: Timestamp,
    ) -> Reply<()> {
        let reason = reason.into();
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let document = in_phase(connection, document_id, &[Phase::Completed])?;
            let (cache, user_id) = (&shared.folders, document.user_id);
            let tree = Tree { connection, cache, user_id };
            // What is just being renamed is missing at its old name, and is not lost.
            tree.refuse_moving_chain(document.node_id)?;
            tree.unsettle(&document, now)?;
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, reason = $2, finished_at = $3, \
                     created_at = NULL, blake3 = NULL, file_path = NULL, node_id = NULL, \
                     file_inode = NULL, file_modified = NULL, file_mount_depth = NULL, \
                     availability = NULL WHERE document_id = $4",
                )?
                .execute(params![
                    Phase::Failed.as_str(),
                    reason,
                    now.to_i64(),
                    document_id.to_i64(),
                ])?;
            scan_jobs::forget(connection, document_id)?;
            block_pages::forget(connection, document_id)?;
            Ok(())
        })
    }
}
