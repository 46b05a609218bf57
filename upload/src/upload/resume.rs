//! Whether an upload goes on, and from which byte.

use super::Upload;
use super::lease::Lease;
use crate::{BlockOrder, Integrity, Length, Refusal, SendingMode};
use std::time::Duration;
use towline_types::{FileSize, Offset, Timestamp, UserId};

/// What a writer says of an upload that it wants to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeClaim<'a> {
    /// The user that it writes for.
    pub user: UserId,
    /// How it sends.
    pub mode: SendingMode,
    /// The file's name, where it says one.
    pub filename: Option<&'a str>,
    /// The file's size, where it says one.
    pub filesize: Option<FileSize>,
    /// The file may have become longer since: a larger size is then no other file.
    pub grow: bool,
    /// Where it believes that the upload stands, if it says so.
    pub offset: Option<Offset>,
}

impl Upload {
    /// Continues the upload. The new lease is in force at once; the writers of every earlier
    /// one can never write again.
    ///
    /// Where the file has grown, `progress` has another size and fewer blocks afterwards:
    /// the caller records that before anything else is written.
    ///
    /// Blocks and ranges that were begun behind the first gap are forgotten, for only their
    /// writers knew of them. A writer that sends ranges in any order keeps them: it is told by
    /// [`received_ranges`](crate::Progress::received_ranges) which of them are here.
    ///
    /// # Errors
    /// In the order of the questions: does the user have such an upload, is it still
    /// uploading, has it expired, is it the same file, does it continue where it stands.
    pub fn resume(
        &mut self,
        claim: &ResumeClaim<'_>,
        now: Timestamp,
        patience: Duration,
    ) -> Result<Lease, Refusal> {
        if claim.user != self.owner {
            return Err(Refusal::NotFound);
        }
        self.check_uploading()?;
        if self.has_expired(now, patience) {
            return Err(Refusal::Expired { days: patience.as_secs() / 86_400 });
        }
        let grown = self.grown_size(claim)?.map(|filesize| self.progress.grown(filesize));
        let expected = grown.as_ref().unwrap_or(&self.progress).received();
        if claim.offset.is_some_and(|offset| offset != expected) {
            return Err(Refusal::OffsetMismatch { expected });
        }
        if let Some(grown) = grown {
            self.progress = grown;
        }
        self.progress.confirm_all_requests();
        match claim.mode.order {
            BlockOrder::InOrder | BlockOrder::AnyBlock => {
                self.progress.forget_open_beyond_frontier();
            }
            BlockOrder::AnyRange => self.progress.forget_announcements(),
        }
        if claim.mode.integrity == Integrity::Unannounced {
            self.progress.accept_unannounced();
        }
        Ok(self.grant(claim.mode, now))
    }

    /// The size that the file has grown to, if it has.
    fn grown_size(&self, claim: &ResumeClaim<'_>) -> Result<Option<FileSize>, Refusal> {
        if claim.filename.is_some_and(|filename| filename != self.path.filename().as_str()) {
            return self.check_size(claim).and(Err(Refusal::FileChanged { what: "filename" }));
        }
        self.check_size(claim)
    }

    fn check_size(&self, claim: &ResumeClaim<'_>) -> Result<Option<FileSize>, Refusal> {
        match (claim.filesize, self.progress.length()) {
            (None, _) => Ok(None),
            (Some(filesize), Length::Declared(before)) if filesize == before => Ok(None),
            (Some(filesize), Length::Declared(before)) if claim.grow && filesize > before => {
                Ok(Some(filesize))
            }
            // A file whose length was not declared is not known by a size.
            (Some(_), Length::Declared(_) | Length::Open { .. }) => {
                Err(Refusal::FileChanged { what: "filesize" })
            }
        }
    }
}
