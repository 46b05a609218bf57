//! From the last byte to the end of an upload, and what the server says it did.

use super::Upload;
use crate::progress::{Snapshot, Voucher};
use crate::{Integrity, Lease, Phase, Refusal};
use towline_types::FileHash;

impl Upload {
    /// Everything is sent. The upload is publishing from here on; no byte may come any more.
    ///
    /// # Errors
    /// Where bytes are missing or not confirmed, the length was not declared, or the whole is
    /// not what the writer claims.
    pub fn complete(
        &mut self,
        lease: Lease,
        claimed: Option<FileHash>,
    ) -> Result<FileHash, Refusal> {
        self.check_lease(lease)?;
        // A block that its writer meant to announce and did not is vouched for by
        // the hash of the whole, or by nothing.
        let is_vouched_for = lease.mode.integrity == Integrity::Unannounced || claimed.is_some();
        let voucher = if is_vouched_for { Voucher::Given } else { Voucher::Missing };
        let actual = self.progress.file_hash(voucher)?;
        match claimed {
            Some(claimed) if claimed != actual => Err(Refusal::HashMismatch { claimed, actual }),
            _ => {
                self.progress.accept_unannounced();
                self.phase = Phase::Publishing;
                Ok(actual)
            }
        }
    }

    /// The name was taken: the upload waits for another word of its writer.
    pub fn unpublish(&mut self) {
        if self.phase == Phase::Publishing {
            self.phase = Phase::Uploading;
        }
    }

    /// The document is in its place.
    pub fn published(&mut self) {
        self.phase = Phase::Completed;
        self.lease = None;
    }

    /// The upload ends without a document.
    ///
    /// # Errors
    /// Where it has ended already.
    pub fn give_up(&mut self, phase: Phase) -> Result<(), Refusal> {
        match self.phase {
            Phase::Uploading | Phase::Publishing => {
                self.phase = phase;
                self.lease = None;
                Ok(())
            }
            ended => Err(Refusal::NotUploading(ended)),
        }
    }

    /// The data of the snapshot is synced and the catalog has recorded it.
    pub fn recorded(&mut self, snapshot: &Snapshot) {
        self.progress.recorded(snapshot);
    }
}
