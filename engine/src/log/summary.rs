//! Log lines that would fill the log, because a client can cause them as often as it likes. One
//! line of each kind is written at once, and then one a second, with the number of those that were
//! left out.

use super::Limiter;
use crate::error::Error;
use crate::origin::Origin;
use crate::rejection::Rejection;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;
use towline_state::catalog::Document;
use towline_types::{DocumentId, UserId};
use tracing::field::{debug, display};

/// The time between two reports of the lines that were left out.
const EVERY: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    refusals: Limiter<(&'static str, UserId)>,
    /// By the code and the error number of the operating system.
    faults: Limiter<(&'static str, Option<i32>)>,
    damaged: Limiter<DocumentId>,
}

impl Summary {
    /// A request was refused.
    pub(crate) fn refused(
        &self,
        origin: &Origin,
        user: UserId,
        id: Option<DocumentId>,
        rejection: &Rejection,
    ) {
        let code = rejection.kind.as_str();
        if let Some(others) = self.refusals.due((code, user)) {
            let (document, reason) = (id.map(display), &rejection.message);
            tracing::info!(peer = %origin, %user, document, %code, others, ?reason, "a request was refused");
        }
    }

    /// A fault that the operator has to repair.
    pub(crate) fn fault(&self, id: Option<DocumentId>, failure: &Error) {
        let (code, errno) = (failure.rejection().kind.as_str(), failure.errno());
        if let Some(others) = self.faults.due((code, errno)) {
            let (document, path) = (id.map(display), failure.path().map(debug));
            let error = chain(failure);
            tracing::warn!(
                document,
                path,
                errno,
                %code,
                others,
                error,
                "the server's storage refused or failed"
            );
        }
    }

    /// The file of a completed document is not what was uploaded.
    pub(crate) fn damaged(&self, document: &Document, reason: &str) {
        let id = document.document_id;
        if let Some(others) = self.damaged.due(id) {
            let path = document.file_path.as_ref().map(|path| debug(path.to_string()));
            tracing::error!(
                document = %id, user = %document.user_id, path, others, reason,
                "the file of a document is damaged; stop the server and run towlined verify --repair"
            );
        }
    }

    fn tell(&self) {
        let refusals = self.refusals.left_out();
        refusals
            .named(|(code, user)| format!("{code} to user {user}"))
            .tell("requests were refused");
        self.damaged.left_out().named(|id| format!("document {id}")).tell("damaged files were met");
        let faults = self.faults.left_out().named(|(code, _)| (*code).to_owned());
        faults.tell("requests met the same fault of the storage");
    }
}

/// Reports every second the lines that were left out, until the task is dropped.
pub(crate) async fn run(summary: Arc<Summary>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        summary.tell();
    }
}

/// An error and all its sources, in one line.
#[must_use]
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
