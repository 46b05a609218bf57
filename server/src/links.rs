//! Links: addresses at which whoever has them fetches one document by HTTP, for a time. A link ends
//! before that with the token by which it was asked for, and with the server's key that has signed
//! it. The rules of links are here, for all doors at which they can be asked for.

use crate::shared::Shared;
use crate::token::{DocumentRight, Identity};
use std::fmt::Write as _;
use std::time::Duration;
use towline_engine::{Account, Phase, ReadTarget, Rejection, RejectionKind};
use towline_protocol::limits::{LINK_SECONDS_DEFAULT, LINK_SECONDS_MAX};
use towline_state::catalog::NodeRef;
use towline_types::{DocumentId, Timestamp};

/// A link, without scheme and host: each door knows another name of the server.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) document_id: DocumentId,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) expires_at: Timestamp,
}

/// How long a link is good where its token does not end before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkTime(Duration);

impl LinkTime {
    /// The time that a client asks for, or the usual one; `None` for one that no link may have.
    pub(crate) fn of_seconds(asked_for: Option<u64>) -> Option<Self> {
        let seconds = asked_for.unwrap_or(LINK_SECONDS_DEFAULT);
        (1..=LINK_SECONDS_MAX).contains(&seconds).then(|| Self(Duration::from_secs(seconds)))
    }

    /// What is said of a time that no link may have.
    pub(crate) fn out_of_range(field: &str) -> String {
        format!("{field}: at least 1 and at most {LINK_SECONDS_MAX} seconds")
    }
}

/// The person for whom a link is made, by the token of the request.
pub(crate) struct LinkMaker<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) account: &'a Account,
    pub(crate) identity: &'a Identity,
    /// When the token ends.
    pub(crate) until: Timestamp,
}

impl LinkMaker<'_> {
    /// A link to a complete document of that person. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `NotFound` where the person has no such document, `NoBytes` where it is no file, `WrongPhase`
    /// where it is not complete, and why its bytes are not given out where they are held back.
    pub(crate) async fn make(&self, target: ReadTarget, time: LinkTime) -> Result<Link, Rejection> {
        let id = match target {
            ReadTarget::Version(id) => id,
            ReadTarget::Current(node) => self.current(node).await?,
        };
        // The answer is the same for a document of another user and for one that is not there.
        let status = self.account.status(id).await?;
        if status.phase != Phase::Completed {
            let kind = RejectionKind::WrongPhase { phase: status.phase };
            let message = "the document is not complete: its upload is unfinished or was given up";
            return Err(Rejection::new(kind, message));
        }
        if let Some(held) = status.held() {
            return Err(held);
        }
        let issued = self.shared.tokens.issue_for_document(
            self.identity,
            self.until,
            DocumentRight::Fetch,
            id,
            time.0,
        );
        let (token, expires_at) = issued.map_err(|error| {
            tracing::error!(%error, "a token for a download could not be made");
            Rejection::new(RejectionKind::Internal, "no token could be made")
        })?;
        let name = percent_encoded(status.path.filename().as_str());
        Ok(Link { document_id: id, path: format!("/d/{id}/{name}?token={token}"), expires_at })
    }

    /// The version that a file has now.
    async fn current(&self, node: NodeRef) -> Result<DocumentId, Rejection> {
        let no_bytes =
            || Rejection::new(RejectionKind::NoBytes, "it is no file, so it has no bytes");
        // The user's own folder is no node of the tree.
        if matches!(&node, NodeRef::Path(path) if path.is_root()) {
            return Err(no_bytes());
        }
        let placed = self.account.stat(node).await?;
        placed.node.version.map(|version| version.document_id).ok_or_else(no_bytes)
    }
}

/// A name as a part of a URL (RFC 3986, section 2.3).
fn percent_encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
