//! Another token of the same user, on a connection that goes on as it is.

use crate::access::{Access, admitted, refusal};
use crate::shared::Shared;
use crate::token::{Identity, TokenError};
use towline_engine::log;
use towline_protocol::limits::TOKEN_BYTES_MAX;
use towline_protocol::reply::Reauthenticated;
use towline_protocol::request::Reauth;
use towline_protocol::{Code, ErrorReply, Reply};
use towline_types::UserId;

/// Takes the token for the rest of the connection, where it is a valid one of the same user, and
/// returns the answer. Where the answer is an error, the connection goes on with the token that it
/// had. While the catalog is asked, nothing else of the connection goes on.
///
/// # Errors
/// Why the connection is to end, with the token that it had.
///
/// Cancel-safe: the token counts with the answer, or not at all.
pub(super) async fn reauth(
    request: &Reauth,
    access: &mut Access,
    shared: &Shared,
) -> Result<Reply, ErrorReply> {
    let user = access.user();
    let checked = tokio::select! {
        biased;
        end = access.ends() => return Err(end),
        checked = checked(&request.token, user, shared) => checked,
    };
    let channel = request.channel;
    Ok(match checked {
        Ok(identity) => {
            access.renew_with(identity);
            Reply::Reauth(Reauthenticated { channel, expires_at: identity.expires_at })
        }
        Err(error) => {
            access.not_renewed(&error);
            Reply::Error(error.on(channel, None))
        }
    })
}

async fn checked(token: &str, user: UserId, shared: &Shared) -> Result<Identity, ErrorReply> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refusal(TokenError::Bad));
    }
    let token = shared.tokens.check(token).map_err(refusal)?;
    match shared.engine.standing_of_next(user, token.user.clone(), token.token).await {
        // The answer is the same whether or not the other user exists.
        Ok(standing) if standing.as_ref().is_none_or(|found| found.user.user_id != user) => {
            Err(ErrorReply::new(Code::WrongUser, "this token is of another user"))
        }
        Ok(standing) => admitted(standing, &token).map(|(_, identity)| identity),
        Err(error) => {
            tracing::error!(error = log::chain(&error), "a token could not be checked");
            Err(ErrorReply::new(
                Code::Internal,
                "the server could not look the token up; try again",
            ))
        }
    }
}
