//! Whose request it is: the user of a token, and what the token is good for.

use super::client::Context;
use super::problem::Problem;
use super::sender::Sender;
use crate::access::{self, Access};
use crate::audit::AuditedClient;
use crate::places::NoPlace;
use crate::tcp::{Privacy, crowded};
use crate::token::{
    DocumentRight, DocumentToken, Identity, TokenError, Verified, is_document_token,
};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::Deserialize;
use std::sync::{Arc, OnceLock};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use towline_engine::{Account, AuditObserver, Origin};
use towline_protocol::ErrorReply;
use towline_protocol::limits::TOKEN_BYTES_MAX;
use towline_state::catalog::User;
use towline_types::{DocumentId, Timestamp};

/// See the module's description. A clone is the same caller.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) account: Account,
    pub(super) identity: Identity,
    /// When the token of the person ends.
    pub(super) until: Timestamp,
    scope: Scope,
    access: Arc<WatchedAccess>,
}

/// What the token of a request is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All that belongs to its user.
    Person,
    /// One document.
    One(DocumentRight, DocumentId),
}

/// Whether the user may still be here: a task of its own looks at it, also while the client takes or
/// sends nothing. The task ends with this.
struct WatchedAccess {
    ended: CancellationToken,
    problem: Arc<OnceLock<ErrorReply>>,
    task: AbortHandle,
}

impl WatchedAccess {
    /// Begins to watch. The connection is cut soon after the access has ended, whatever it does.
    fn begin(mut access: Access, cut: CancellationToken) -> Self {
        let (ended, problem) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let (told, why) = (ended.clone(), Arc::clone(&problem));
        let task = tokio::spawn(async move {
            let _ = why.set(access.ends().await);
            told.cancel();
            cut.cancel();
        });
        Self { ended, problem, task: task.abort_handle() }
    }
}

impl Drop for WatchedAccess {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The parameters of a URL that this module reads.
#[derive(Deserialize)]
struct Parameters {
    token: Option<String>,
}

/// The message for a client that connects from another machine without TLS.
const NOT_PRIVATE: &str = "this server takes requests from other machines only over https: without \
                           it the token and the files could be read on the way";

const NO_TOKEN: &str = "the request has no token: send the header Authorization: Bearer TOKEN";

fn of_one_document() -> Problem {
    let message =
        "this token is good for one upload or one download alone, and not for this request";
    Problem::new(StatusCode::FORBIDDEN, "forbidden", message)
}

impl Caller {
    /// Finds out who sends the request, and gives the connection's place to that user. The rules
    /// are those of a login at the TCP door.
    pub(super) async fn of(context: &Context, parts: &Parts) -> Result<Self, Problem> {
        let sender = Sender::of(context, &parts.headers);
        let caller = Self::look_up(context, parts, sender).await;
        match &caller {
            Ok(_) => context.shared.logins.accepted.increment(),
            Err(problem) => context.shared.logins.refused(sender.address, problem.code()),
        }
        caller.map_err(Refusal::problem)
    }

    async fn look_up(context: &Context, parts: &Parts, sender: Sender) -> Result<Self, Refusal> {
        let Context { shared, client, .. } = context;
        if sender.privacy == Privacy::Lost {
            // The token is not even looked at: everybody who reads the connection has it.
            return Err(Refusal::TlsRequired);
        }
        let token = token(parts).ok_or(Refusal::NoToken)?;
        let (identity, user, of_document) = if is_document_token(&token) {
            let token = shared.tokens.check_for_document(&token)?;
            let verified = &token.person;
            let standing = shared.engine.standing(verified.user.clone(), verified.token).await;
            let standing = standing.map_err(|error| access::not_checked(&error))?;
            let (user, identity) = access::admitted(standing, verified)?;
            (identity, user, Some(token))
        } else {
            let verified: Verified = shared.tokens.check(&token)?;
            let standing = shared.engine.standing(verified.user.clone(), verified.token).await;
            let standing = standing.map_err(|error| access::not_checked(&error))?;
            let (user, identity) = access::admitted(standing, &verified)?;
            (identity, user, None)
        };
        match &of_document {
            Some(DocumentToken { right: DocumentRight::Fetch, .. }) => {
                client.is_guest_of(user.user_id)?;
            }
            _ => {
                client.belongs_to(user.user_id)?;
                shared.token_use.note(&shared.engine, &identity);
            }
        }
        Ok(Self::admitted(context, sender, user, identity, of_document))
    }

    fn admitted(
        context: &Context,
        sender: Sender,
        user: User,
        identity: Identity,
        token: Option<DocumentToken>,
    ) -> Self {
        let Context { shared, client, .. } = context;
        let mut origin = Origin::new(sender.address);
        let user_id = user.user_id;
        let audited = shared
            .audit
            .clone()
            .map(|log| Arc::new(AuditedClient::new(log, user, sender.address, identity)));
        if let Some(client) = &audited {
            origin = origin.observed_by(Arc::clone(client) as Arc<dyn AuditObserver>);
        }
        let account = shared.engine.account(user_id, origin);
        let access = Access::granted(Arc::clone(shared), identity, audited);
        let access = Arc::new(WatchedAccess::begin(access, client.cut.clone()));
        let until = token.as_ref().map_or(identity.expires_at, |token| token.until);
        let scope = token.map_or(Scope::Person, |token| Scope::One(token.right, token.document));
        Self { account, identity, until, scope, access }
    }

    /// Refuses a token that is good for one document alone.
    pub(super) fn is_person(&self) -> Result<(), Problem> {
        match self.scope {
            Scope::Person => Ok(()),
            Scope::One(..) => Err(of_one_document()),
        }
    }

    /// Whether the token is good for one upload alone. It fills the upload, and does nothing to
    /// other documents.
    pub(super) const fn has_upload_token(&self) -> bool {
        matches!(self.scope, Scope::One(DocumentRight::Fill, _))
    }

    /// Refuses a token that is good for something else than filling this upload.
    pub(super) fn may_write(&self, upload: DocumentId) -> Result<(), Problem> {
        match self.scope {
            Scope::Person => Ok(()),
            Scope::One(DocumentRight::Fill, own) if own == upload => Ok(()),
            Scope::One(..) => Err(of_one_document()),
        }
    }

    /// Whether the request comes by a link.
    pub(super) const fn has_link(&self) -> bool {
        matches!(self.scope, Scope::One(DocumentRight::Fetch, _))
    }

    /// Refuses a token that is good for something else than the bytes of this document.
    pub(super) fn may_read(&self, document: DocumentId) -> Result<(), Problem> {
        match self.scope {
            Scope::Person => Ok(()),
            Scope::One(DocumentRight::Fetch, own) if own == document => Ok(()),
            Scope::One(..) => Err(of_one_document()),
        }
    }

    /// Waits until the user may be here no longer, and says why. Cancel-safe.
    pub(super) async fn ends(&self) -> Problem {
        self.access.ended.cancelled().await;
        match self.access.problem.get() {
            Some(error) => error.clone().into(),
            None => Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "the access has ended"),
        }
    }
}

/// The token of a request: in the header, or in the URL, where people put the one of an upload.
fn token(parts: &Parts) -> Option<String> {
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let token = bearer.or_else(|| {
        let query = axum::extract::Query::<Parameters>::try_from_uri(&parts.uri).ok()?;
        query.0.token
    })?;
    (token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

/// Why a request has no caller.
enum Refusal {
    TlsRequired,
    NoToken,
    Told(ErrorReply),
}

impl Refusal {
    fn problem(self) -> Problem {
        match self {
            Self::TlsRequired => {
                Problem::new(StatusCode::UPGRADE_REQUIRED, "tls_required", NOT_PRIVATE)
            }
            Self::NoToken => Problem::new(StatusCode::UNAUTHORIZED, "auth_required", NO_TOKEN),
            Self::Told(error) => error.into(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TlsRequired => "tls_required",
            Self::NoToken => "auth_required",
            Self::Told(error) => error.code.as_str(),
        }
    }
}

impl From<ErrorReply> for Refusal {
    fn from(error: ErrorReply) -> Self {
        Self::Told(error)
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::Told(access::refusal(error))
    }
}

impl From<NoPlace> for Refusal {
    fn from(error: NoPlace) -> Self {
        Self::Told(match error {
            NoPlace::OfUser { .. } | NoPlace::Crowded => crowded(),
        })
    }
}
