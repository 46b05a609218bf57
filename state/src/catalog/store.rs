//! Which store this is: the one row of the table `store`.

use super::error::CatalogError;
use super::row::NamedRow;
use super::{Catalog, Reply};
use rusqlite::Connection;
use towline_types::{StoreId, Timestamp};

/// What the catalog says of its store; only `marked_at` ever changes, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store {
    /// The identity, made together with the catalog.
    pub store_id: StoreId,
    /// When the identity was made.
    pub made_at: Timestamp,
    /// Until when tokens were issued that name no store: where the catalog and its users
    /// are older than the identity.
    pub tokens_without_id_until: Option<Timestamp>,
    /// When each part of the data folder had its marker.
    pub marked_at: Option<Timestamp>,
}

impl Catalog {
    /// The identity of the store: made together with the catalog, in the same
    /// transaction, and never changed.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.shared.store().store_id
    }

    /// What the catalog said of its store when it was opened.
    #[must_use]
    pub fn store(&self) -> Store {
        self.shared.store()
    }

    /// Records that each part of the data folder has its marker.
    pub fn record_marked(&self, now: Timestamp) -> Reply<()> {
        self.write(move |connection| {
            let sql = "UPDATE store SET marked_at = $1 WHERE marked_at IS NULL";
            connection.prepare_cached(sql)?.execute([now.to_i64()])?;
            Ok(())
        })
    }
}

/// Reads the row.
pub(super) fn read(connection: &Connection) -> Result<Store, CatalogError> {
    let sql = "SELECT row, store_id, made_at, tokens_without_id_until, marked_at FROM store";
    let read = connection.query_row(sql, [], |row| {
        Ok(NamedRow::new(row, "store", "row").and_then(|row| {
            Ok(Store {
                store_id: row.get("store_id", |id: String| id.parse::<StoreId>())?,
                made_at: row.time("made_at")?,
                tokens_without_id_until: row.time_option("tokens_without_id_until")?,
                marked_at: row.time_option("marked_at")?,
            })
        }))
    });
    read?
}
