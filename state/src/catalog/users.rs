//! The users: whose documents these are. A user that was removed keeps its row,
//! its name and its documents, for their paths are made of its number.

use super::error::{CatalogError, Refusal};
use super::job::Share;
use super::row::NamedRow;
use super::{Catalog, Reply, change};
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};
use towline_types::{Timestamp, UserId};

const COLUMNS: &str = "user_id, name, created_at, removed_at";

/// The longest name of a user.
const NAME_CHARS: usize = 64;

/// The largest number that can be asked for: the last one that every reader of
/// JSON keeps exactly, with room for numbers that are given out after it.
const USER_ID_MAX: u64 = (1 << 53) - 1;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The number, which is never given to another.
    pub user_id: UserId,
    /// The name, which is never given to another.
    pub name: String,
    /// When the user was added.
    pub created_at: Timestamp,
    /// When the user was removed, if so.
    pub removed_at: Option<Timestamp>,
}

/// How a user is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRef {
    /// By the number.
    Number(UserId),
    /// By the name.
    Name(String),
}

impl UserRef {
    /// Reads a text that another program has written: the number of a user in the spelling that it
    /// has here, or what can be the name of a user.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<UserId>() {
            Ok(number) => (number.to_string() == text).then_some(Self::Number(number)),
            Err(_) => is_user_name(text).then(|| Self::Name(text.to_owned())),
        }
    }
}

impl From<UserId> for UserRef {
    fn from(number: UserId) -> Self {
        Self::Number(number)
    }
}

impl Catalog {
    /// Adds a user, under a number of the caller's choice or the next free one.
    ///
    /// Refused: [`Refusal::BadUserName`], [`Refusal::NameTaken`] (also by a user
    /// that was removed), [`Refusal::UserIdTaken`], [`Refusal::BadUserId`].
    pub fn add_user(
        &self,
        name: impl Into<String>,
        user_id: Option<UserId>,
        now: Timestamp,
    ) -> Reply<User> {
        let name = name.into();
        self.write(move |connection| add(connection, name, user_id, now))
    }

    /// Every user in the order of their numbers, removed ones included. Without a limit:
    /// only the operator makes users. A row that does not read is an error in its place: it
    /// concerns that user and no other.
    ///
    /// # Errors
    /// The catalog itself cannot be read.
    pub fn users(&self) -> Reply<Vec<Result<User, CatalogError>>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM users ORDER BY user_id");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            let mut users = Vec::new();
            while let Some(row) = rows.next()? {
                users.push(user(row));
            }
            Ok(users)
        })
    }

    /// The highest number of a user, whether or not its row reads.
    pub fn highest_user(&self) -> Reply<Option<UserId>> {
        self.read(|connection| {
            let sql = "SELECT max(user_id) FROM users";
            let highest: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
            Ok(highest.and_then(|id| UserId::from_i64(id).ok()))
        })
    }

    /// Removes a user, who keeps row, name and documents but can do nothing more.
    /// Removing again changes nothing.
    ///
    /// Refused: [`Refusal::NoSuchUser`].
    pub fn remove_user(&self, user_id: UserId, now: Timestamp) -> Reply<User> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE users SET removed_at = $1 WHERE user_id = $2 AND removed_at IS NULL",
                )?
                .execute([now.to_i64(), user_id.to_i64()])?;
            Ok(by_id(connection, user_id)?.ok_or(Refusal::NoSuchUser)?)
        })
    }

    /// The user of that number, removed or not.
    pub fn user(&self, user_id: UserId) -> Reply<Option<User>> {
        self.look(Share::Users, move |connection| by_id(connection, user_id))
    }

    /// The user of that name, removed or not.
    pub fn user_named(&self, name: impl Into<String>) -> Reply<Option<User>> {
        let name = name.into();
        self.read(move |connection| by_name(connection, &name))
    }
}

/// Refuses where the user does not exist or was removed.
pub(super) fn require(connection: &Connection, user_id: UserId) -> Result<(), CatalogError> {
    match by_id(connection, user_id)? {
        Some(User { removed_at: None, .. }) => Ok(()),
        _ => Err(Refusal::NoSuchUser.into()),
    }
}

fn add(
    connection: &Connection,
    name: String,
    user_id: Option<UserId>,
    now: Timestamp,
) -> Result<User, CatalogError> {
    if !is_user_name(&name) {
        return Err(Refusal::BadUserName(name).into());
    }
    if let Some(User { user_id, removed_at, .. }) = by_name(connection, &name)? {
        return Err(Refusal::NameTaken { name, user_id, removed: removed_at.is_some() }.into());
    }
    if let Some(user_id) = user_id {
        if user_id.get() > USER_ID_MAX {
            return Err(Refusal::BadUserId(user_id).into());
        }
        if by_id(connection, user_id)?.is_some() {
            return Err(Refusal::UserIdTaken(user_id).into());
        }
    }
    let sql = format!(
        "INSERT INTO users (user_id, name, created_at) VALUES ($1, $2, $3) RETURNING {COLUMNS}"
    );
    let added = one(connection, &sql, params![user_id.map(UserId::to_i64), name, now.to_i64()])?;
    let added = added.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    change::begin_log(connection, added.user_id, now)?;
    Ok(added)
}

pub(super) fn by_ref(
    connection: &Connection,
    user: &UserRef,
) -> Result<Option<User>, CatalogError> {
    match user {
        UserRef::Number(number) => by_id(connection, *number),
        UserRef::Name(name) => by_name(connection, name),
    }
}

fn by_id(connection: &Connection, user_id: UserId) -> Result<Option<User>, CatalogError> {
    one(connection, &format!("SELECT {COLUMNS} FROM users WHERE user_id = $1"), [user_id.to_i64()])
}

fn by_name(connection: &Connection, name: &str) -> Result<Option<User>, CatalogError> {
    one(connection, &format!("SELECT {COLUMNS} FROM users WHERE name = $1"), [name])
}

fn one(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Option<User>, CatalogError> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(parameters, |row| Ok(user(row))).optional()?.transpose()
}

fn user(row: &Row<'_>) -> Result<User, CatalogError> {
    let row = NamedRow::selected(row, "user", COLUMNS)?;
    Ok(User {
        user_id: row.get("user_id", UserId::from_i64)?,
        name: row.get("name", |name: String| {
            if is_user_name(&name) { Ok(name) } else { Err("not the name of a user") }
        })?,
        created_at: row.time("created_at")?,
        removed_at: row.time_option("removed_at")?,
    })
}

/// A name goes into command lines, where it must be neither an option nor a
/// number, and into logs.
fn is_user_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=NAME_CHARS).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with(['.', '-'])
        && !name.chars().all(|c| c.is_ascii_digit())
}
