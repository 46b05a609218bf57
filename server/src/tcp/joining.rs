//! A client without a token exchanges the secret of an invitation for one. A secret has 128 random
//! bits, so guesses need no limit of their own: each is one login, of which an address and a moment
//! have a limited number (`places.rs`), and costs one look into an index.

use crate::access::not_checked;
use crate::shared::Shared;
use crate::token::{Issued, secret_hash};
use towline_protocol::{Code, ErrorReply};
use towline_state::catalog::User;
use towline_types::{JoinHash, JoinSecret};

/// The answer to a secret that is wrong, used or late. It does not say which: a person who has found
/// an old line learns nothing about it.
const NOT_GOOD: &str = "this invitation is not good: it was used, its time has passed, or the line \
                        was damaged. Ask for a new one (towlined join)";

/// A good invitation, and the token that its client gets once it is accepted.
pub(crate) struct Invited {
    /// The user that the client becomes.
    pub(crate) user: User,
    secret: JoinHash,
    issued: Issued,
}

/// The invitation with that secret, where it is a good one. Nothing is changed: a client that gets no
/// place can come again with the same secret.
///
/// # Errors
/// What the client is told.
pub(super) async fn look_up(secret: &str, shared: &Shared) -> Result<Invited, ErrorReply> {
    let secret = secret.parse::<JoinSecret>().map_err(|_| not_good())?;
    let secret = secret_hash(&secret);
    let found = shared.engine.invitation(secret).await.map_err(|error| not_checked(&error))?;
    let invitation = found.ok_or_else(not_good)?;
    let user = invitation.user;
    let issued = shared.tokens.issue(user.user_id, user.created_at, invitation.token_ttl);
    let issued = issued.map_err(|error| {
        tracing::error!(%error, "no token could be issued for an invitation");
        ErrorReply::new(Code::Internal, "the server could not issue a token; try again")
    })?;
    Ok(Invited { user, secret, issued })
}

impl Invited {
    /// Uses the invitation up, before anyone has the token. To be called last in a login: nothing but
    /// the client's own end may come between this and the welcome.
    ///
    /// Cancel-safe in that the secret is good, or used up and the token recorded: where nobody takes
    /// the answer any more, another invitation is needed.
    ///
    /// # Errors
    /// What the client is told. The invitation may have been used up by another client meanwhile.
    pub(super) async fn accept(self, shared: &Shared) -> Result<(User, Issued), ErrorReply> {
        let Self { secret, issued, .. } = self;
        let accepted = shared.engine.accept_invitation(secret, issued.row).await;
        let user = accepted.map_err(|error| not_checked(&error))?.ok_or_else(not_good)?;
        tracing::info!(user = user.name, token = %issued.row.token_id, "a client has joined");
        Ok((user, issued))
    }
}

fn not_good() -> ErrorReply {
    ErrorReply::new(Code::Unauthorized, NOT_GOOD)
}
