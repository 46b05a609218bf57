//! An invitation: a secret that a new client exchanges for a token.

use super::error::KeyError;
use aws_lc_rs::digest::{SHA256, digest};
use std::time::Duration;
use towline_state::catalog::{NewInvitation, User};
use towline_types::{JoinHash, JoinSecret, Timestamp};

/// A new invitation for that user: its secret, and what the catalog keeps of it. `ttl` is how long
/// the secret is good, `token_ttl` how long the token.
///
/// # Errors
/// Where there are no random numbers.
pub fn new_invitation(
    user: &User,
    ttl: Duration,
    token_ttl: Duration,
    now: Timestamp,
) -> Result<(JoinSecret, NewInvitation), KeyError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyError::NotMade)?;
    let secret = JoinSecret::from_bytes(bytes);
    let row = NewInvitation {
        secret: secret_hash(&secret),
        user_id: user.user_id,
        token_ttl,
        made_at: now,
        expires_at: now.plus(ttl),
    };
    Ok((secret, row))
}

/// What the catalog keeps of a secret. The secret is random, so a plain hash does not give it away.
pub(crate) fn secret_hash(secret: &JoinSecret) -> JoinHash {
    let hash = digest(&SHA256, secret.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    JoinHash::from_bytes(bytes)
}
