//! Invitations: one-time secrets that new clients exchange for tokens. The catalog has the hashes of
//! the secrets and never the secrets themselves.

use super::error::CatalogError;
use super::job::Share;
use super::row::NamedRow;
use super::tokens::{self, IssuedToken};
use super::users::{User, by_ref};
use super::{Catalog, Reply};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::time::Duration;
use towline_types::{JoinHash, Timestamp, UserId};

const COLUMNS: &str = "user_id, token_ttl_s, expires_at, used_at";

/// How long a row stays after its end.
const KEPT_AFTER_END: Duration = Duration::from_secs(86_400);

/// An invitation that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInvitation {
    /// The hash of its secret.
    pub secret: JoinHash,
    /// The user that clients with the secret become.
    pub user_id: UserId,
    /// How long the token is valid that is exchanged for the secret.
    pub token_ttl: Duration,
    /// When the invitation was made.
    pub made_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An invitation that is good: not used, not ended, and its user is not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The user that clients with the secret become.
    pub user: User,
    /// How long the token is valid that is exchanged for the secret.
    pub token_ttl: Duration,
}

impl Catalog {
    /// Records an invitation. Rows that ended more than a day ago are deleted with that.
    pub fn invite(&self, new: NewInvitation) -> Reply<()> {
        self.write(move |connection| {
            let kept = i64::try_from(KEPT_AFTER_END.as_millis()).unwrap_or(i64::MAX);
            let now = new.made_at.to_i64();
            connection
                .prepare_cached("DELETE FROM joins WHERE expires_at < $1")?
                .execute([now.saturating_sub(kept)])?;
            connection
                .prepare_cached(
                    "INSERT INTO joins (secret_hash, user_id, token_ttl_s, made_at, expires_at) \
                     VALUES ($1, $2, $3, $4, $5)",
                )?
                .execute(params![
                    new.secret.to_string(),
                    new.user_id.to_i64(),
                    i64::try_from(new.token_ttl.as_secs()).unwrap_or(i64::MAX),
                    now,
                    new.expires_at.to_i64()
                ])?;
            Ok(())
        })
    }

    /// The invitation with that secret; `None` where there is none that is good. Nothing is changed.
    pub fn invitation(&self, secret: JoinHash, now: Timestamp) -> Reply<Option<Invitation>> {
        self.look(Share::Users, move |connection| good(connection, secret, now))
    }

    /// Uses the invitation up and records the token that its client gets, in one transaction. `None`
    /// where the invitation is not good, or no longer: then nothing is recorded. Of two clients with
    /// one secret, one gets its token.
    pub fn accept_invitation(
        &self,
        secret: JoinHash,
        token: IssuedToken,
        now: Timestamp,
    ) -> Reply<Option<User>> {
        self.write(move |connection| {
            let Some(invitation) = good(connection, secret, now)? else { return Ok(None) };
            if invitation.user.user_id != token.user_id {
                return Ok(None);
            }
            connection
                .prepare_cached("UPDATE joins SET used_at = $1 WHERE secret_hash = $2")?
                .execute(params![now.to_i64(), secret.to_string()])?;
            tokens::insert(connection, &token)?;
            Ok(Some(invitation.user))
        })
    }
}

fn good(
    connection: &Connection,
    secret: JoinHash,
    now: Timestamp,
) -> Result<Option<Invitation>, CatalogError> {
    let sql = format!("SELECT {COLUMNS} FROM joins WHERE secret_hash = $1");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row([secret.to_string()], |row| {
        Ok(NamedRow::selected(row, "join", COLUMNS).and_then(|row| {
            let user = row.get("user_id", UserId::from_i64)?;
            let ttl = row.get("token_ttl_s", |seconds: i64| u64::try_from(seconds))?;
            let is_good = row.time_option("used_at")?.is_none() && now < row.time("expires_at")?;
            Ok(is_good.then_some((user, Duration::from_secs(ttl))))
        }))
    });
    let Some((user, token_ttl)) = found.optional()?.transpose()?.flatten() else {
        return Ok(None);
    };
    let user = by_ref(connection, &user.into())?.filter(|user| user.removed_at.is_none());
    Ok(user.map(|user| Invitation { user, token_ttl }))
}
