//! Requests about documents that are not being uploaded: their state, and cancelling them.

use super::Client;
use crate::attempt_end::AttemptEnd;
use crate::failure::{Failure, ends_upload};
use crate::route::no_server::Unreached;
#[cfg(doc)]
use crate::security::Security;
use towline_protocol::reply::{Cancelled, Status};
use towline_protocol::request::DocumentRef;
use towline_protocol::{Code, Reply, Request};
use towline_types::{DocumentId, Fingerprint};

/// After one run the client asks the server about at most this number of old entries.
const ASKED_ABOUT_MAX: usize = 64;

impl Client {
    /// Asks for the key of the server. A client with [`Security::UnknownKey`] sends nothing but the
    /// handshake for that.
    ///
    /// # Errors
    /// Where the server cannot be reached (one attempt is made) or speaks no TLS.
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing.
    pub async fn key_of_server(&mut self) -> Result<Fingerprint, Failure> {
        match self.connected().await.map(drop) {
            Err(AttemptEnd::Failed(Failure::KeyUnknown { found, .. })) => Ok(found),
            Err(end) => Err(self.unanswered(end, None)),
            Ok(()) => Err(Failure::Protocol("a connection without a key".to_owned())),
        }
    }

    /// How far a document is.
    ///
    /// # Errors
    /// Where the server cannot be reached (one attempt is made) or refuses the question.
    ///
    /// # Cancel safety
    /// A call that is dropped changes nothing; its connection is used again.
    pub async fn status(&mut self, document_id: DocumentId) -> Result<Status, Failure> {
        match self.ask_about(document_id, Request::Status).await? {
            Reply::Status(status) => Ok(status),
            other => Err(Failure::Protocol(format!("'status' was answered {other:?}"))),
        }
    }

    /// Cancels an upload on the server and takes it off the list. A document that is complete
    /// stays on the server, and is taken off the list as well.
    ///
    /// # Errors
    /// Where the server cannot be reached (one attempt is made) or refuses.
    ///
    /// # Cancel safety
    /// A call that is dropped may have cancelled the upload on the server and left it in the
    /// list; to call again completes it.
    pub async fn cancel(&mut self, document_id: DocumentId) -> Result<Cancelled, Failure> {
        let answer = self.ask_about(document_id, Request::Cancel).await;
        let over = match &answer {
            Ok(Reply::Cancel(_)) => true,
            // The server answers in the same way about an upload of another user, which must stay
            // in the list.
            Err(failure) => {
                failure.code().is_some_and(|code| ends_upload(code) && code != Code::NotFound)
            }
            Ok(_) => false,
        };
        let is_refused = matches!(&answer, Err(failure) if failure.code() == Some(Code::BadState));
        if over || (is_refused && self.is_completed(document_id).await) {
            self.uploads.remove(&self.known, document_id).await?;
        }
        match answer? {
            Reply::Cancel(cancelled) => Ok(cancelled),
            other => Err(Failure::Protocol(format!("'cancel' was answered {other:?}"))),
        }
    }

    /// Whether the server says that the document is completed; a document that is still being
    /// published is not.
    async fn is_completed(&mut self, document_id: DocumentId) -> bool {
        self.status(document_id).await.is_ok_and(|status| status.status == "completed")
    }

    /// Asks the server about uploads of the list that have rested for more than a week by the
    /// clock of this machine, and takes those off the list that the server has given up. Returns
    /// their numbers. It asks only over a connection that is open already, and an error of that
    /// connection ends it without a failure.
    ///
    /// # Cancel safety
    /// A call that is dropped has taken some of the uploads off the list.
    pub async fn forget_what_is_gone(&mut self) -> Vec<DocumentId> {
        let mut gone = Vec::new();
        let Some(connection) = self.connection.as_mut() else { return gone };
        let user = connection.welcome().user_id;
        let server = self.known.clone();
        let resting = self.uploads.resting(&server, user).await;
        for document_id in resting.into_iter().take(ASKED_ABOUT_MAX) {
            let Some(connection) = self.connection.as_mut() else { break };
            let channel = connection.new_channel();
            let status = Request::Status(DocumentRef { channel, document_id });
            let is_gone = match connection.ask(&status).await {
                Ok(Reply::Status(status)) => {
                    !matches!(status.status.as_str(), "uploading" | "publishing")
                }
                // The entry is of this user and of this server.
                Ok(Reply::Error(error)) => ends_upload(error.code),
                Ok(_) => false,
                Err(_) => {
                    self.connection = None;
                    break;
                }
            };
            if is_gone && self.uploads.remove(&server, document_id).await.is_ok() {
                gone.push(document_id);
            }
        }
        gone
    }

    async fn ask_about(
        &mut self,
        document_id: DocumentId,
        request: impl FnOnce(DocumentRef) -> Request,
    ) -> Result<Reply, Failure> {
        let answer = async {
            let connection = self.connected().await?;
            let channel = connection.new_channel();
            match connection.ask(&request(DocumentRef { channel, document_id })).await? {
                Reply::Error(error) => Err(AttemptEnd::refused(error)),
                reply => Ok(reply),
            }
        };
        let answer = answer.await;
        answer.map_err(|end| self.unanswered(end, Some(document_id)))
    }

    /// Why a question has no answer, of which one attempt is made.
    pub(super) fn unanswered(
        &mut self,
        end: AttemptEnd,
        document_id: Option<DocumentId>,
    ) -> Failure {
        self.connection = None;
        let server = self.server().clone();
        let (attempts, kept) = (1, None);
        match end {
            AttemptEnd::Failed(Failure::OtherServer { server, .. }) => {
                Failure::OtherServer { document_id, server }
            }
            AttemptEnd::Failed(failure) | AttemptEnd::Garbled(failure) => failure,
            AttemptEnd::Later(reply) => Failure::Refused { reply, kept },
            AttemptEnd::Unreached(Unreached::Definite(why)) => {
                Failure::NoServer { server, attempts, why, kept }
            }
            AttemptEnd::Unreached(Unreached::ForNow(reason))
            | AttemptEnd::Lost(reason)
            | AttemptEnd::Silent(reason) => Failure::Unreachable { server, attempts, reason, kept },
            AttemptEnd::Realign => Failure::Protocol("client and server differ".to_owned()),
        }
    }
}
