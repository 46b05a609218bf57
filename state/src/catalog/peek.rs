//! A first look at a catalog, of whatever schema, before anything is made or changed.

use super::connection;
use super::error::CatalogError;
use super::store::{self, Store};
use rusqlite::Connection;
use std::path::Path;
use towline_types::UserId;

/// What a catalog promises, as far as a start has to know it before it opens the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peek {
    /// Which store it is; nothing where the catalog is older than such identities, or empty.
    pub store: Option<Store>,
    /// There are users.
    pub has_users: bool,
    /// There are documents or uploads, in whatever phase.
    pub has_documents: bool,
    /// The users with completed documents.
    pub owners: Vec<UserId>,
    /// There are unfinished uploads with durable bytes.
    pub has_durable_uploads: bool,
}

impl Peek {
    /// Looks at the catalog at `path`; where there is no file, or an empty one, nothing is
    /// promised. Nothing is changed. Blocks, also for as long as another program has locked
    /// the catalog, up to a limit.
    ///
    /// # Errors
    /// Where the file cannot be read, is no database, or stays locked.
    pub fn at(path: impl AsRef<Path>) -> Result<Self, CatalogError> {
        let path = path.as_ref();
        match path.metadata() {
            Ok(about) if about.len() > 0 => {}
            // An empty file may have everything in its journal.
            Ok(_) if connection::has_journal(path) => {}
            Ok(_) => return Ok(Self::default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => {
                let source = std::sync::Arc::new(source);
                return Err(CatalogError::Io { action: "look at", path: path.to_owned(), source });
            }
        }
        let connection = connection::open_to_peek(path)?;
        Self::of(&connection)
    }

    fn of(connection: &Connection) -> Result<Self, CatalogError> {
        let has = |table: &str| -> Result<bool, CatalogError> {
            let sql =
                "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1)";
            Ok(connection.query_row(sql, [table], |row| row.get(0))?)
        };
        let exists = |sql: &str| -> Result<bool, CatalogError> {
            Ok(connection.query_row(&format!("SELECT EXISTS ({sql})"), [], |row| row.get(0))?)
        };
        let mut peek = Self::default();
        if has("store")? {
            peek.store = Some(store::read(connection)?);
        }
        if has("users")? {
            peek.has_users = exists("SELECT 1 FROM users")?;
        }
        if has("documents")? {
            peek.has_documents = exists("SELECT 1 FROM documents")?;
            peek.has_durable_uploads = exists(
                "SELECT 1 FROM documents WHERE finished_at IS NULL AND status = 'uploading' \
                 AND durable_offset > 0",
            )?;
            let sql = "SELECT DISTINCT user_id FROM documents WHERE created_at IS NOT NULL";
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                // A number that no user can have was edited by hand, and has no folder.
                peek.owners.extend(UserId::from_i64(row.get(0)?));
            }
        }
        Ok(peek)
    }
}
