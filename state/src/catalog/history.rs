//! How far a catalog has come: the numbers that tell an older copy of it from the catalog itself.
//!
//! All numbers only grow in the history of one catalog. The server keeps the last ones that it has
//! seen outside of the catalog; where the catalog has smaller ones, an older copy was put in its
//! place. An older copy would give the numbers that were given since then to other things. So the
//! logs of changes get other epochs, and the numbers of documents and nodes get a gap.

use super::backup::SKIPPED_NUMBERS;
use super::error::CatalogError;
use super::job::Share;
use super::{Catalog, Reply};
use rusqlite::{Connection, params};
use std::sync::Arc;
use towline_types::Timestamp;

/// How far a catalog has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// The largest epoch of a log of changes.
    pub epoch: u64,
    /// The changes of all users that were ever recorded.
    pub changes: u64,
    /// The highest number that was given to a document.
    pub documents: u64,
    /// The highest number that was given to a node.
    pub nodes: u64,
}

impl History {
    /// Whether this catalog is an older copy of one that had come as far as `seen`: it lacks
    /// changes or numbers, or an epoch.
    #[must_use]
    pub fn is_older_than(&self, seen: &Self) -> bool {
        let lacks_changes = self.epoch == seen.epoch && self.changes < seen.changes;
        self.epoch < seen.epoch || lacks_changes || self.lacks_numbers(seen)
    }

    fn lacks_numbers(&self, seen: &Self) -> bool {
        self.documents < seen.documents || self.nodes < seen.nodes
    }
}

impl Catalog {
    /// How far this catalog has come. What it says is committed, and so durable.
    pub fn history(&self) -> Reply<History> {
        self.look(Share::Users, history)
    }

    /// Begins another history of a catalog that is [older](History::is_older_than) than what was
    /// seen of it: each log of changes gets an epoch that none ever had, and no document or node
    /// gets a number that another one may have had.
    pub fn begin_history(&self, seen: History, now: Timestamp) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        self.write(move |connection| {
            let found = history(connection)?;
            // The numbers of documents are counted in memory as well.
            let documents = found.documents.max(seen.documents).cast_signed();
            shared.skip_documents(documents.saturating_add(SKIPPED_NUMBERS));
            let epoch = (found.epoch.max(seen.epoch) + 1).max(now.get()).cast_signed();
            connection.execute("UPDATE change_counters SET epoch = $1", [epoch])?;
            for (table, found, seen) in
                [("documents", found.documents, seen.documents), ("nodes", found.nodes, seen.nodes)]
            {
                let next = found.max(seen).cast_signed().saturating_add(SKIPPED_NUMBERS);
                skip_to(connection, table, next)?;
            }
            Ok(())
        })
    }
}

fn history(connection: &Connection) -> Result<History, CatalogError> {
    let number = |sql: &str| -> Result<u64, CatalogError> {
        let number: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(number.unsigned_abs())
    };
    Ok(History {
        epoch: number("SELECT coalesce(max(epoch), 0) FROM change_counters")?,
        changes: number("SELECT coalesce(sum(last), 0) FROM change_counters")?,
        documents: number(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'documents'",
        )?,
        nodes: number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'nodes'")?,
    })
}

/// Makes the next number of that table larger than this one.
pub(super) fn skip_to(
    connection: &Connection,
    table: &str,
    number: i64,
) -> Result<(), CatalogError> {
    // SQLite makes this row with the first document or node.
    let sql = "UPDATE sqlite_sequence SET seq = $1 WHERE name = $2";
    if connection.execute(sql, params![number, table])? == 0 {
        let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)";
        connection.execute(sql, params![table, number])?;
    }
    Ok(())
}
