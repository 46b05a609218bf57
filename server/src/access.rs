//! Ends a connection when its token expires, and soon after its user was removed, its token was
//! revoked or the key of its token was retired.
//!
//! The catalog is asked in one look whether the user is still there and the token still good. Its answer is valid for
//! `Timings::recheck` (30 s), beginning with the login. The next question is asked after two
//! thirds of that time, so that an answer may take 10 s. If there is no answer by the end of
//! the 30 s, the connection is closed: a removed user must not stay connected because the
//! catalog is too busy to say so.

use crate::audit::AuditedClient;
use crate::shared::Shared;
use crate::token::{Identity, TokenError, Verified};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};
use towline_engine::log;
use towline_protocol::{Code, ErrorReply};
use towline_state::catalog::{CatalogError, Reply, Standing, User, UserRef};
use towline_types::UserId;

/// See the module's description.
pub(crate) struct Access {
    server: Arc<Shared>,
    /// What the token says.
    identity: Identity,
    /// The audit log of the client, where there is one.
    audited: Option<Arc<AuditedClient>>,
    /// Until when the catalog's last answer is valid.
    holds_until: Instant,
    /// When the next look begins.
    next_look: Instant,
    look: Option<Reply<Option<Standing>>>,
    timer: Pin<Box<Sleep>>,
}

/// What is said of a user who was removed.
const REMOVED: &str = "this account was removed on the server";

/// What is said of a token that was revoked.
const REVOKED: &str = "this token was revoked on the server; ask for a new one";

/// The user, where the user may be logged in with that token.
///
/// # Errors
/// What the client is told.
pub(crate) fn admitted(
    standing: Option<Standing>,
    token: &Verified,
) -> Result<(User, Identity), ErrorReply> {
    let user = still_admitted(standing, token.token.is_none())?;
    // The token may have been issued to an earlier user of that number, whose catalog was lost. A
    // token that gives a name has no such number.
    let is_of_earlier = matches!(token.user, UserRef::Number(_))
        && token.issued_at_secs.is_some_and(|issued| issued < user.created_at.as_secs());
    if is_of_earlier {
        return Err(refusal(TokenError::Bad));
    }
    let identity = token.of(user.user_id);
    Ok((user, identity))
}

/// The same check for each later look.
fn still_admitted(standing: Option<Standing>, of_provider: bool) -> Result<User, ErrorReply> {
    let unauthorized = |message| Err(ErrorReply::new(Code::Unauthorized, message));
    match standing {
        None if of_provider => unauthorized(NO_ACCOUNT),
        None | Some(Standing { user: User { removed_at: Some(_), .. }, .. }) => {
            unauthorized(REMOVED)
        }
        Some(Standing { token_revoked_at: Some(_), .. }) => unauthorized(REVOKED),
        Some(Standing { user, token_revoked_at: None }) => Ok(user),
    }
}

/// The message for a valid token of an identity provider whose user has no account here.
const NO_ACCOUNT: &str = "the user of this token has no account on this server; ask its operator for \
                          one (towlined user add NAME)";

/// The error reply where the catalog does not say whether a login is good.
pub(crate) fn not_checked(error: &CatalogError) -> ErrorReply {
    tracing::error!(error = log::chain(error), "a login could not be checked");
    ErrorReply::new(Code::Internal, "the server could not look the user up; try again")
}

/// The error reply that refuses a token.
pub(crate) fn refusal(error: TokenError) -> ErrorReply {
    let code = match error {
        TokenError::Expired => Code::AuthExpired,
        TokenError::OtherServer | TokenError::UnknownKey | TokenError::Bad => Code::Unauthorized,
    };
    ErrorReply::new(code, error.to_string())
}

/// How long to wait before a busy catalog is asked again.
const AGAIN: Duration = Duration::from_millis(500);

impl Access {
    /// The access of a user who has just logged in with a token that says this.
    pub(crate) fn granted(
        server: Arc<Shared>,
        identity: Identity,
        audited: Option<Arc<AuditedClient>>,
    ) -> Self {
        let now = Instant::now();
        let timer = Box::pin(sleep_until(now));
        let mut access =
            Self { server, identity, audited, holds_until: now, next_look: now, look: None, timer };
        access.renew();
        access
    }

    /// Whose token it is.
    pub(crate) fn user(&self) -> UserId {
        self.identity.user
    }

    /// What the token says that counts now.
    pub(crate) const fn identity(&self) -> Identity {
        self.identity
    }

    /// Goes on with another token of the same user, which was found valid a moment ago.
    pub(crate) fn renew_with(&mut self, identity: Identity) {
        self.identity = identity;
        if let Some(client) = &self.audited {
            client.renewed(identity);
        }
        // The look under way asks about the earlier token.
        self.look = None;
        self.server.token_use.note(&self.server.engine, &self.identity);
        self.renew();
    }

    /// Another token was shown that is not good: that of before still counts.
    pub(crate) fn not_renewed(&self, error: &ErrorReply) {
        if let Some(client) = &self.audited {
            client.not_renewed(error.code.as_str());
        }
    }

    /// Waits until the user may be here no longer, and says why. To be polled before
    /// everything else that a session waits for: then no amount of work keeps it from its
    /// turn. Cancel-safe: a look under way is kept in `self`.
    pub(crate) async fn ends(&mut self) -> ErrorReply {
        let error = poll_fn(|context| self.poll_ends(context)).await;
        if let Some(client) = &self.audited {
            client.access_ended(error.code.as_str(), &error.message);
        }
        error
    }

    fn poll_ends(&mut self, context: &mut Context<'_>) -> Poll<ErrorReply> {
        loop {
            // The clock, and not the timer alone: a timer shares its task's budget with all
            // that the task does.
            let now = Instant::now();
            if now >= self.holds_until {
                tracing::warn!(user = %self.identity.user, "it was not known in time whether a user still may be here");
                return Poll::Ready(ErrorReply::new(Code::Internal, UNKNOWN));
            }
            let Some(look) = &mut self.look else {
                if now < self.next_look {
                    ready!(self.timer.as_mut().poll(context));
                    continue;
                }
                if let Err(error) = self.token_holds() {
                    return Poll::Ready(refusal(error));
                }
                self.look = Some({
                    let Identity { user, token, .. } = self.identity;
                    self.server.engine.standing(user.into(), token)
                });
                self.timer.as_mut().reset(self.holds_until);
                continue;
            };
            let Poll::Ready(answer) = Pin::new(look).poll(context) else {
                ready!(self.timer.as_mut().poll(context));
                continue;
            };
            self.look = None;
            match answer {
                Ok(standing) => match still_admitted(standing, self.identity.token.is_none()) {
                    Ok(_) => {
                        self.server.token_use.note(&self.server.engine, &self.identity);
                        self.renew();
                    }
                    Err(error) => return Poll::Ready(error),
                },
                Err(error) => self.look_again(&error),
            }
        }
    }

    /// Checks what needs no look at the catalog: whether the token has expired, and whether its key
    /// was retired.
    fn token_holds(&self) -> Result<(), TokenError> {
        if self.server.engine.clock().now() >= self.identity.expires_at {
            return Err(TokenError::Expired);
        }
        match self.server.tokens.has_key(self.identity.key) {
            true => Ok(()),
            false => Err(TokenError::UnknownKey),
        }
    }

    fn renew(&mut self) {
        let now = Instant::now();
        let hold = self.server.timings.recheck;
        self.holds_until = now + hold;
        let left =
            self.identity.expires_at.get().saturating_sub(self.server.engine.clock().now().get());
        self.look_at(now + (hold * 2 / 3).min(Duration::from_millis(left)));
    }

    fn look_again(&mut self, error: &CatalogError) {
        tracing::debug!(%error, user = %self.identity.user, "a user could not be looked up");
        self.look_at((Instant::now() + AGAIN).min(self.holds_until));
    }

    fn look_at(&mut self, moment: Instant) {
        self.next_look = moment;
        self.timer.as_mut().reset(moment);
    }
}

const UNKNOWN: &str = "the server could not find out in time whether this account may still be \
                       used; what was received is kept, try again";
