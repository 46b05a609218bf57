//! Uploads that are given up.

use super::documents::in_phase;
use super::error::Refusal;
use super::{Catalog, Reply, blocks};
use rusqlite::params;
use towline_protocol::{DocumentId, Timestamp};
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
                     blake3 = NULL, file_path = NULL, path_key = NULL WHERE document_id = $4",
                )?
                .execute(params![ending.as_str(), reason, now.to_i64(), document_id.to_i64()])?;
            blocks::forget(connection, document_id)
        })
    }
}
