//! How much of the disk a user may have, and has.
//!
//! The row of a user counts what there is of the user's documents; triggers of the schema keep it
//! true with every row of a document that comes, changes or goes (P6). So a limit is compared in
//! the transaction that makes the row, and no two uploads can pass it together.

use super::error::{CatalogError, QuotaKind, Refusal};
use super::job::Share;
use super::row::NamedRow;
use super::{Catalog, Reply};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::sync::{PoisonError, RwLock};
use towline_types::{DocumentId, UserId};
use towline_upload::Phase;

/// How much a user may have. None: as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// The bytes of all files, older versions, the trash and unfinished uploads included.
    pub bytes: Option<u64>,
    /// How many of them.
    pub files: Option<u64>,
}

/// One limit of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OwnLimit {
    /// That of the server.
    #[default]
    OfServer,
    /// None, whatever the server's is.
    Unlimited,
    /// This one.
    Limit(u64),
}

/// The limits of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnQuota {
    /// For [`Quota::bytes`].
    pub bytes: OwnLimit,
    /// For [`Quota::files`].
    pub files: OwnLimit,
}

/// What a user has and may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserShare {
    /// The bytes that count.
    pub used_bytes: u64,
    /// The files that count.
    pub used_files: u64,
    /// The user's own limits.
    pub own: OwnQuota,
}

impl OwnLimit {
    fn stored(self) -> Option<i64> {
        match self {
            Self::OfServer => None,
            Self::Unlimited => Some(i64::MAX),
            Self::Limit(limit) => Some(i64::try_from(limit).unwrap_or(i64::MAX)),
        }
    }

    fn recorded(stored: Option<i64>) -> Self {
        match stored {
            None => Self::OfServer,
            Some(i64::MAX) => Self::Unlimited,
            Some(limit) => Self::Limit(u64::try_from(limit).unwrap_or(0)),
        }
    }

    /// The limit, where the server has that one for all.
    #[must_use]
    pub fn beside(self, of_server: Option<u64>) -> Option<u64> {
        match self {
            Self::OfServer => of_server,
            Self::Unlimited => None,
            Self::Limit(limit) => Some(limit),
        }
    }
}

/// The limits of the server, for users who have none of their own.
#[derive(Debug, Default)]
pub(super) struct DefaultQuota(RwLock<Quota>);

impl DefaultQuota {
    fn get(&self) -> Quota {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog {
    /// Sets the limits for users who have none of their own. They hold for what comes from now on,
    /// in this process; nothing is deleted because of them.
    pub fn set_default_quota(&self, quota: Quota) {
        let mut current = self.shared.default_quota.0.write();
        *current.as_deref_mut().unwrap_or_else(|poisoned| &mut **poisoned.get_mut()) = quota;
    }

    /// Sets the limits of a user; see [`set_default_quota`](Self::set_default_quota).
    ///
    /// Refused: [`Refusal::NoSuchUser`].
    pub fn set_quota(&self, user_id: UserId, own: OwnQuota) -> Reply<()> {
        self.write(move |connection| {
            let sql = "UPDATE users SET quota_bytes = $1, quota_files = $2 WHERE user_id = $3";
            let values = params![own.bytes.stored(), own.files.stored(), user_id.to_i64()];
            match connection.prepare_cached(sql)?.execute(values)? {
                0 => Err(Refusal::NoSuchUser.into()),
                _ => Ok(()),
            }
        })
    }

    /// What a user has and may have.
    ///
    /// Refused: [`Refusal::NoSuchUser`].
    pub fn user_share(&self, user_id: UserId) -> Reply<UserShare> {
        self.read(move |connection| Ok(account(connection, user_id)?.ok_or(Refusal::NoSuchUser)?.1))
    }
}

impl Catalog {
    /// Uploads whose length is not known yet, of users who have more bytes than they may: with the
    /// refusal that each of them gets. At most `limit` of them.
    pub fn beyond_quota(&self, limit: u32) -> Reply<Vec<(DocumentId, CatalogError)>> {
        let default = self.shared.default_quota.get().bytes;
        let default = default.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(i64::MAX);
        self.look(Share::Users, move |connection| {
            // Only the uploads of users who have too much are looked at.
            let mut statement = connection.prepare_cached(
                "SELECT document_id, used_bytes, coalesce(quota_bytes, $1) AS quota \
                 FROM users CROSS JOIN documents INDEXED BY documents_unfinished \
                 ON documents.user_id = users.user_id AND documents.finished_at IS NULL \
                 AND documents.status = $2 WHERE users.used_bytes > coalesce(quota_bytes, $1) \
                 AND documents.length_is_open = 1 LIMIT $3",
            )?;
            let mut rows = statement.query(params![default, Phase::Uploading.as_str(), limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let bytes = |at| Ok::<_, CatalogError>(row.get::<_, i64>(at)?.unsigned_abs());
                let (used, limit) = (bytes("used_bytes")?, bytes("quota")?);
                let refusal = Refusal::QuotaUsedUp { kind: QuotaKind::Bytes, used, more: 0, limit };
                let id = NamedRow::new(row, "document", "document_id")?
                    .get("document_id", DocumentId::from_i64)?;
                found.push((id, refusal.into()));
            }
            Ok(found)
        })
    }
}

/// Refuses a further file of that many bytes where the user does not exist, was removed, or has too
/// much.
pub(super) fn require_room(
    connection: &Connection,
    default: &DefaultQuota,
    user_id: UserId,
    more_bytes: u64,
) -> Result<(), CatalogError> {
    require(connection, default, user_id, more_bytes, 1)
}

/// The same for a file that counts already and becomes longer by that many bytes.
pub(super) fn require_longer(
    connection: &Connection,
    default: &DefaultQuota,
    user_id: UserId,
    more_bytes: u64,
) -> Result<(), CatalogError> {
    require(connection, default, user_id, more_bytes, 0)
}

fn require(
    connection: &Connection,
    default: &DefaultQuota,
    user_id: UserId,
    more_bytes: u64,
    more_files: u64,
) -> Result<(), CatalogError> {
    let Some((false, share)) = account(connection, user_id)? else {
        return Err(Refusal::NoSuchUser.into());
    };
    let default = default.get();
    let refuse_beyond = |kind, used: u64, more: u64, limit: Option<u64>| match limit {
        Some(limit) if more > 0 && used.saturating_add(more) > limit => {
            Err(CatalogError::from(Refusal::QuotaUsedUp { kind, used, more, limit }))
        }
        _ => Ok(()),
    };
    let UserShare { used_bytes, used_files, own } = share;
    refuse_beyond(QuotaKind::Bytes, used_bytes, more_bytes, own.bytes.beside(default.bytes))?;
    refuse_beyond(QuotaKind::Files, used_files, more_files, own.files.beside(default.files))
}

/// Whether the user was removed, and what the user has.
fn account(
    connection: &Connection,
    user_id: UserId,
) -> Result<Option<(bool, UserShare)>, CatalogError> {
    let sql = "SELECT removed_at IS NOT NULL, used_bytes, used_files, quota_bytes, quota_files \
               FROM users WHERE user_id = $1";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([user_id.to_i64()], |row| {
        let used =
            |at| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(at)?).unwrap_or(0));
        let own = OwnQuota {
            bytes: OwnLimit::recorded(row.get(3)?),
            files: OwnLimit::recorded(row.get(4)?),
        };
        Ok((row.get(0)?, UserShare { used_bytes: used(1)?, used_files: used(2)?, own }))
    });
    Ok(found.optional()?)
}
