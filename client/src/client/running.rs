//! The uploads of a user that are not complete, as the server sees them.

use super::Client;
use super::get::GetListener;
use super::retry::Attempts;
use super::tree::{PAGE_ENTRIES, Page, Part, unexpected};
use crate::attempt_end::AttemptEnd;
use crate::failure::Failure;
use towline_protocol::reply::{UploadState, Uploads};
use towline_protocol::{Reply, Request, request};

/// The most uploads that are followed: no screen shows more, and a server could name as many as it
/// likes.
const UPLOADS_MAX: usize = 10_000;

impl Client {
    /// All of these uploads, however often the connection is lost.
    ///
    /// # Errors
    /// Where there is no answer.
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub(crate) async fn running(
        &mut self,
        listener: GetListener<'_>,
    ) -> Result<Vec<UploadState>, Failure> {
        let mut attempts = Attempts::new(self.retries);
        loop {
            match self.running_once().await {
                Ok(all) => return Ok(all),
                Err(end) => self.wait_after(end, &mut attempts, listener).await?,
            }
        }
    }

    async fn running_once(&mut self) -> Result<Vec<UploadState>, AttemptEnd> {
        let mut all: Vec<UploadState> = Vec::new();
        let mut after = None;
        loop {
            let Page { entries, next, .. } = self.running_page(after).await?;
            for upload in entries {
                if all.last().is_some_and(|last| last.document_id >= upload.document_id) {
                    return Err(AttemptEnd::protocol("uploads that are not in order"));
                }
                all.push(upload);
            }
            after = next;
            if after.is_none() || all.len() >= UPLOADS_MAX {
                return Ok(all);
            }
        }
    }

    async fn running_page(
        &mut self,
        after: Option<String>,
    ) -> Result<Page<UploadState>, AttemptEnd> {
        let asked_after = after.clone();
        let limit = Some(PAGE_ENTRIES);
        let request = |channel| Request::Uploads(request::Uploads { channel, limit, after });
        let part = |reply| match reply {
            Reply::Uploads(Uploads { uploads, end, next, channel: _ }) => {
                let page = Page { node: None, entries: uploads, next };
                Ok(Part { page, is_last: end })
            }
            other => Err(unexpected(&other)),
        };
        self.page("uploads", request, asked_after, part).await
    }
}
