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
    /// The names of its first columns, in the order in which the statement selects them; empty
    /// where only SQLite knows them.
    selected: &'static str,
    /// Where the next column is looked for first: they are asked for in about the order
    /// in which they stand, and to compare all names each time costs as much as the row.
    next: Cell<Next>,
}

/// The column after the one that was found last.
#[derive(Clone, Copy, Default)]
struct Next {
    position: usize,
    /// Where its name begins among the selected ones, in bytes.
    name_at: usize,
}

/// What is between the names of columns.
const SEPARATOR: &str = ", ";

impl<'row, 'statement> NamedRow<'row, 'statement> {
    /// The row of `table` whose number stands in the column `id_column`.
    pub(super) fn new(
        row: &'row Row<'statement>,
        table: &'static str,
        id_column: &str,
    ) -> Result<Self, CatalogError> {
        let (selected, next) = ("", Cell::default());
        Ok(Self { row, table, id: row.get(id_column)?, selected, next })
    }

    /// The same for a statement whose first columns are those, with `, ` between the names; the
    /// first of them is the number of the row. SQLite is not asked for their names: for a row of
    /// thirty columns that costs more than to read it.
    pub(super) fn selected(
        row: &'row Row<'statement>,
        table: &'static str,
        columns: &'static str,
    ) -> Result<Self, CatalogError> {
        Ok(Self { row, table, id: row.get(0)?, selected: columns, next: Cell::default() })
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
        let is_it = |at: &usize| statement.column_name(*at).is_ok_and(|name| name == column);
        if let Some(position) = self.position_of_selected(column) {
            debug_assert!(is_it(&position), "{column} is not column {position} of the statement");
            return Some(position);
        }
        let (first, count) = (self.next.get().position, statement.column_count());
        let position = (first..count).chain(0..first.min(count)).find(is_it)?;
        self.next.set(Next { position: position + 1, ..self.next.get() });
        Some(position)
    }

    fn position_of_selected(&self, column: &str) -> Option<usize> {
        let find = |mut next: Next| {
            let mut names = self.selected.get(next.name_at..)?;
            while !names.is_empty() {
                let rest = names.strip_prefix(column);
                let is_it = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(','));
                let length = match is_it {
                    true => column.len(),
                    false => names.find(',').unwrap_or(names.len()),
                };
                let position = next.position;
                next.position += 1;
                next.name_at += length + SEPARATOR.len();
                if is_it {
                    self.next.set(next);
                    return Some(position);
                }
                names = names.get(length + SEPARATOR.len()..).unwrap_or("");
            }
            None
        };
        find(self.next.get()).or_else(|| find(Next::default()))
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
