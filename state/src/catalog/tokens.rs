//! The tokens: which were issued, when each was used last, and which were revoked. The catalog has
//! their ids and never the tokens themselves.

use super::error::CatalogError;
use super::job::Share;
use super::row::NamedRow;
use super::users::{User, UserRef, by_ref};
use super::{Catalog, Reply};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::time::Duration;
use towline_types::{KeyId, Timestamp, TokenId, UserId};

const COLUMNS: &str =
    "row_id, token_id, user_id, key_id, issued_at, expires_at, last_used_at, revoked_at";

/// A token that was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedToken {
    /// Its id.
    pub token_id: TokenId,
    /// Whom it speaks for.
    pub user_id: UserId,
    /// The key that has signed it.
    pub key_id: KeyId,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRow {
    /// The token.
    pub token: IssuedToken,
    /// When it was last seen in use, to a few minutes.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked, if so.
    pub revoked_at: Option<Timestamp>,
}

/// The user of a token, and whether the token was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The user, removed or not.
    pub user: User,
    /// When the token was revoked, if so.
    pub token_revoked_at: Option<Timestamp>,
}

impl Catalog {
    /// Records a token, before anyone has it.
    pub fn record_token(&self, token: IssuedToken) -> Reply<()> {
        self.write(move |connection| insert(connection, &token).map(drop))
    }

    /// Records that a token is in use, at most once in the time `every`, so that most uses cost no
    /// write. A token that has no row gets one.
    pub fn note_token_use(&self, token: IssuedToken, now: Timestamp, every: Duration) -> Reply<()> {
        self.write(move |connection| {
            insert(connection, &token)?;
            let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
            connection
                .prepare_cached(
                    "UPDATE tokens SET last_used_at = $1 WHERE token_id = $2 \
                     AND (last_used_at IS NULL OR abs($1 - last_used_at) >= $3)",
                )?
                .execute(params![now.to_i64(), token.token_id.to_string(), every])?;
            Ok(())
        })
    }

    /// The tokens of all users, or of one, in the order in which they were recorded; those that
    /// have ended included. Without a limit: only the operator issues tokens. A row that does not
    /// read is an error in its place.
    ///
    /// # Errors
    /// The catalog itself cannot be read.
    pub fn tokens(&self, of: Option<UserId>) -> Reply<Vec<Result<TokenRow, CatalogError>>> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM tokens WHERE $1 IS NULL OR user_id = $1 ORDER BY row_id"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([of.map(UserId::to_i64)])?;
            let mut tokens = Vec::new();
            while let Some(row) = rows.next()? {
                tokens.push(token(row));
            }
            Ok(tokens)
        })
    }

    /// Revokes a token: it is not valid any more. Revoking it again changes nothing. `None` where
    /// there is no token with that id.
    pub fn revoke_token(&self, token_id: TokenId, now: Timestamp) -> Reply<Option<TokenRow>> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE tokens SET revoked_at = $1 WHERE token_id = $2 AND revoked_at IS NULL",
                )?
                .execute(params![now.to_i64(), token_id.to_string()])?;
            by_token(connection, token_id)
        })
    }

    /// Looks the user of a token up together with the token, for a login and for the looks at
    /// whether its connection may stay.
    pub fn standing(&self, user: UserRef, token: Option<TokenId>) -> Reply<Option<Standing>> {
        self.look(Share::Users, move |connection| standing(connection, &user, token))
    }

    /// The same for a user who is logged in and shows another token: this question waits in turn
    /// with the other questions of this user, so that no user can hold up the logins of others.
    pub fn standing_of_next(
        &self,
        logged_in: UserId,
        user: UserRef,
        token: Option<TokenId>,
    ) -> Reply<Option<Standing>> {
        self.look(Share::Of(logged_in), move |connection| standing(connection, &user, token))
    }
}

fn standing(
    connection: &Connection,
    user: &UserRef,
    token: Option<TokenId>,
) -> Result<Option<Standing>, CatalogError> {
    let Some(user) = by_ref(connection, user)? else { return Ok(None) };
    let row = match token {
        Some(token) => by_token(connection, token)?,
        None => None,
    };
    Ok(Some(Standing { user, token_revoked_at: row.and_then(|row| row.revoked_at) }))
}

/// Records a token, unless it is recorded already.
pub(super) fn insert(connection: &Connection, token: &IssuedToken) -> Result<usize, CatalogError> {
    let IssuedToken { token_id, user_id, key_id, issued_at, expires_at } = token;
    let mut statement = connection.prepare_cached(
        "INSERT INTO tokens (token_id, user_id, key_id, issued_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (token_id) DO NOTHING",
    )?;
    Ok(statement.execute(params![
        token_id.to_string(),
        user_id.to_i64(),
        key_id.to_string(),
        issued_at.to_i64(),
        expires_at.to_i64()
    ])?)
}

fn by_token(connection: &Connection, id: TokenId) -> Result<Option<TokenRow>, CatalogError> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE token_id = $1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row([id.to_string()], |row| Ok(token(row))).optional()?.transpose()
}

fn token(row: &Row<'_>) -> Result<TokenRow, CatalogError> {
    let row = NamedRow::selected(row, "token", COLUMNS)?;
    Ok(TokenRow {
        token: IssuedToken {
            token_id: row.get("token_id", |id: String| id.parse::<TokenId>())?,
            user_id: row.get("user_id", UserId::from_i64)?,
            key_id: row.get("key_id", |id: String| id.parse::<KeyId>())?,
            issued_at: row.time("issued_at")?,
            expires_at: row.time("expires_at")?,
        },
        last_used_at: row.time_option("last_used_at")?,
        revoked_at: row.time_option("revoked_at")?,
    })
}
