//! Reading rows back into types. A column that does not say what its type
//! demands is an error that names the row, never a panic.

use super::error::CatalogError;
use rusqlite::types::FromSql;
use rusqlite::{Row, Statement};
use std::cell::Cell;
use std::fmt::Display;
use towline_types::{BlockIndex, Timestamp, UserId};

/// A row with its name, so that an error can tell which one it is.
pub(super) struct NamedRow<'row, 'statement> {
    row: &'row Row<'statement>,
    table: &'static str,
    id: i64,
    /// Where the next column is looked for first: they are asked for in about the order
    /// in which they stand, and to compare all names each time costs as much as the row.
    next: Cell<usize>,
}

impl<'row, 'statement> NamedRow<'row, 'statement> {
    /// The row of `table` whose number stands in the column `id_column`.
    pub(super) fn new(
        row: &'row Row<'statement>,
        table: &'static str,
        id_column: &str,
    ) -> Result<Self, CatalogError> {
        Ok(Self { row, table, id: row.get(id_column)?, next: Cell::new(0) })
    }

    /// A column as SQLite has it.
    pub(super) fn plain<S: FromSql>(&self, column: &'static str) -> Result<S, CatalogError> {
        let value = match self.position(column) {
            Some(position) => self.row.get(position),
            None => self.row.get(column),
        };
        value.map_err(|error| self.bad(column, error))
    }

    fn position(&self, column: &str) -> Option<usize> {
        let statement: &Statement<'_> = self.row.as_ref();
        let (first, count) = (self.next.get(), statement.column_count());
        let is_it = |at: &usize| statement.column_name(*at).is_ok_and(|name| name == column);
        let position = (first..count).chain(0..first.min(count)).find(is_it)?;
        self.next.set(position + 1);
        Some(position)
    }

    /// A column, checked.
    pub(super) fn get<S: FromSql, T, E: Display>(
        &self,
        column: &'static str,
        check: impl FnOnce(S) -> Result<T, E>,
    ) -> Result<T, CatalogError> {
        check(self.plain(column)?).map_err(|reason| self.bad(column, reason))
    }

    /// A column that may be empty, checked.
    pub(super) fn get_option<S: FromSql, T, E: Display>(
        &self,
        column: &'static str,
        check: impl FnOnce(S) -> Result<T, E>,
    ) -> Result<Option<T>, CatalogError> {
        let value: Option<S> = self.plain(column)?;
        value.map(check).transpose().map_err(|reason| self.bad(column, reason))
    }

    /// A moment.
    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, CatalogError> {
        self.get(column, Timestamp::from_i64)
    }

    /// A moment that may not have come.
    pub(super) fn time_option(
        &self,
        column: &'static str,
    ) -> Result<Option<Timestamp>, CatalogError> {
        self.get_option(column, Timestamp::from_i64)
    }

    /// The error that says that `column` of this row is not valid.
    pub(super) fn bad(&self, column: &'static str, reason: impl Display) -> CatalogError {
        let owner = self.row.get("user_id").ok().and_then(|id| UserId::from_i64(id).ok());
        let (table, id, reason) = (self.table, self.id, reason.to_string());
        CatalogError::BadRow { table, id, owner, column, reason }
    }
}

/// Checks the index of a block.
pub(super) fn block_index(index: i64) -> Result<BlockIndex, String> {
    u64::try_from(index)
        .ok()
        .and_then(BlockIndex::new)
        .ok_or_else(|| format!("{index} is not the index of a block"))
}
