//! Uploads that are given up, and documents that are lost.

use super::document::in_phase;
use super::error::Refusal;
use super::{Catalog, Reply, blocks};
use rusqlite::params;
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
        self.write(move |connection| {
            if !matches!(ending, Phase::Failed | Phase::Cancelled | Phase::Expired) {
                return Err(Refusal::NotAnEnding(ending).into());
            }
            in_phase(connection, document_id, &[Phase::Uploading, Phase::Publishing])?;
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, reason = $2, finished_at = $3, \
                     blake3 = NULL, file_path = NULL, path_key = NULL, cached_inode = NULL \
                     WHERE document_id = $4",
                )?
                .execute(params![ending.as_str(), reason, now.to_i64(), document_id.to_i64()])?;
            blocks::forget(connection, document_id)
        })
    }

    /// Records that a completed document is no longer what was uploaded: its file
    /// is not in its place, and must not be vouched for again. The row becomes one
    /// of a failed upload, and its place is free.
    ///
    /// Hash and place go with it; a `reason` that names them keeps them.
    ///
    /// Refused: [`Refusal::NoSuchDocument`]; [`Refusal::WrongPhase`] where it is
    /// not completed.
    pub fn lose(
        &self,
        document_id: DocumentId,
        reason: impl Into<String>,
        now: Timestamp,
    ) -> Reply<()> {
        let reason = reason.into();
        self.write(move |connection| {
            in_phase(connection, document_id, &[Phase::Completed])?;
            connection
                .prepare_cached(
                    "UPDATE documents SET status = $1, reason = $2, finished_at = $3, \
                     created_at = NULL, blake3 = NULL, file_path = NULL, path_key = NULL, \
                     file_inode = NULL, file_modified = NULL, file_mount_depth = NULL \
                     WHERE document_id = $4",
                )?
                .execute(params![
                    Phase::Failed.as_str(),
                    reason,
                    now.to_i64(),
                    document_id.to_i64(),
                ])?;
            Ok(())
        })
    }
}
