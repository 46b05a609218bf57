//! The log of changes of each user: how it is read, and how far it reaches back.

use super::change::{COLUMNS, Change, Changed, Op, change};
use super::cursor::{Cursor, LogHead, Position};
use super::error::{CatalogError, Refusal, ResetReason};
use super::job::Share;
use super::node::PAGE_TEXT_BYTES;
use super::node_row;
use super::place::Places;
use super::row::NamedRow;
use super::{Catalog, Reply};
use crate::clock;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use towline_types::{ChangeId, Timestamp, UserId};

/// Some of what has changed for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The changes, in their order. Of a snapshot: the nodes that there are, in the order of
    /// their numbers, each as if it was just created.
    pub changes: Vec<Change>,
    /// Where to go on.
    pub next: Cursor,
    /// More is there already.
    pub has_more: bool,
    /// The last change that there is.
    pub latest: ChangeId,
}

impl Catalog {
    /// What has changed for a user since that cursor, at most `limit` changes; without a cursor,
    /// the first nodes of a snapshot, of which at most `limit` rows are looked at. When a snapshot
    /// ends, the changes made meanwhile follow. Each tells the whole state of its node, so no
    /// change is missed, and a change that comes twice does no harm.
    ///
    /// Refused: [`Refusal::BadCursor`] for another user's; [`Refusal::CursorReset`] where changes
    /// after it are not kept any more, or the log is another one.
    pub fn delta(&self, user_id: UserId, since: Option<Cursor>, limit: u32) -> Reply<Delta> {
        self.look(Share::Of(user_id), move |connection| {
            let Some(cursor) = since else {
                let head = head(connection, user_id)?;
                let at = Position::Snapshot { head: head.last, after: 0 };
                return snapshot(connection, Cursor { at, ..Cursor::at(user_id, &head) }, limit);
            };
            if cursor.user_id != user_id {
                return Err(Refusal::BadCursor.into());
            }
            match cursor.at {
                Position::Log(id) => log(connection, cursor, id, limit),
                Position::Snapshot { .. } => snapshot(connection, cursor, limit),
            }
        })
    }

    /// How far a user's log reaches.
    pub fn log_head(&self, user_id: UserId) -> Reply<LogHead> {
        self.look(Share::Of(user_id), move |connection| head(connection, user_id))
    }

    /// Forgets changes of a user that were recorded before that moment, from the first one on and
    /// at most `limit` of them; answers with their number. A cursor that stands before one of them
    /// [expires](ResetReason::Expired).
    pub fn trim_changes(&self, user_id: UserId, older_than: Timestamp, limit: u32) -> Reply<u64> {
        self.write(move |connection| trim(connection, user_id, older_than, limit))
    }

    /// Gives the log of each user another epoch: cursors from before do not fit any more.
    pub fn begin_epoch(&self, now: Timestamp) -> Reply<()> {
        self.write(move |connection| {
            // Later than the last, whatever the clock says.
            let sql = "UPDATE change_counters SET epoch = CASE WHEN epoch < $1 THEN $1 \
                       ELSE epoch + 1 END";
            connection.prepare_cached(sql)?.execute([now.to_i64()])?;
            Ok(())
        })
    }
}

/// Gives the logs of a copy that was put back an epoch of their own: see [`super::back_up`].
pub(super) fn begin_epoch_of_copy(connection: &Connection) -> Result<(), CatalogError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM change_counters WHERE epoch = 0)";
    if connection.query_row(sql, [], |row| row.get(0))? {
        let sql = "UPDATE change_counters SET epoch = $1 WHERE epoch = 0";
        connection.execute(sql, [clock::now().to_i64()])?;
    }
    Ok(())
}

pub(super) fn head(connection: &Connection, user_id: UserId) -> Result<LogHead, CatalogError> {
    let sql = "SELECT user_id, last, epoch, horizon FROM change_counters WHERE user_id = $1";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        let row = NamedRow::new(row, "user", "user_id")?;
        Ok(LogHead {
            last: row.get("last", ChangeId::from_i64)?,
            epoch: row.get("epoch", |epoch: i64| u64::try_from(epoch))?,
            horizon: row.get("horizon", ChangeId::from_i64)?,
        })
    };
    let found = statement.query_row([user_id.to_i64()], |row| Ok(read(row))).optional()?;
    let nothing = LogHead { last: ChangeId::MIN, epoch: 0, horizon: ChangeId::MIN };
    found.unwrap_or(Ok(nothing))
}

fn log(
    connection: &Connection,
    cursor: Cursor,
    id: ChangeId,
    limit: u32,
) -> Result<Delta, CatalogError> {
    let user_id = cursor.user_id;
    let head = head(connection, user_id)?;
    // A number that was not given out yet is one of another log: of a catalog that was put back.
    if cursor.epoch != head.epoch.cast_signed() || id > head.last {
        return Err(Refusal::CursorReset { reason: ResetReason::Restored }.into());
    }
    if id < head.horizon {
        return Err(Refusal::CursorReset { reason: ResetReason::Expired }.into());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM changes WHERE user_id = $1 AND change_id > $2 \
         ORDER BY change_id LIMIT $3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![user_id.to_i64(), id.to_i64(), limit])?;
    let (mut changes, mut text_bytes) = (Vec::new(), 0);
    while text_bytes < PAGE_TEXT_BYTES {
        let Some(row) = rows.next()? else { break };
        let change = change(row)?;
        text_bytes += change.node.text_bytes();
        changes.push(change);
    }
    let last = changes.last().map_or(id, |change| change.change_id);
    let next = Cursor::behind(user_id, &head, last);
    Ok(Delta { changes, next, has_more: last < head.last, latest: head.last })
}

/// Looks at as many rows as nodes are wanted. What lies in the trash is passed over, so a page may
/// be empty. A longer look would make other users wait (P6).
fn snapshot(connection: &Connection, cursor: Cursor, limit: u32) -> Result<Delta, CatalogError> {
    let user_id = cursor.user_id;
    let now = head(connection, user_id)?;
    let Position::Snapshot { head, mut after } = cursor.at else {
        return Err(Refusal::BadCursor.into());
    };
    if cursor.epoch != now.epoch.cast_signed() || head > now.last {
        return Err(Refusal::CursorReset { reason: ResetReason::Restored }.into());
    }
    let sql = format!(
        "SELECT {} FROM nodes WHERE user_id = $1 AND node_id > $2 ORDER BY node_id LIMIT $3",
        node_row::COLUMNS
    );
    let places = Places::new(connection);
    let wanted = limit.max(1);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![user_id.to_i64(), after, wanted])?;
    let (mut changes, mut looks, mut text_bytes) = (Vec::new(), 0, 0);
    while text_bytes < PAGE_TEXT_BYTES {
        let Some(row) = rows.next()? else { break };
        looks += 1;
        after = row.get("node_id")?;
        let row = node_row::node_row(row)?;
        let lives = row.deleted_at.is_none() && places.of_folder(row.parent_id)?.trash.is_none();
        if row.is_reserved() || !lives {
            continue;
        }
        let node = row.seen(connection)?;
        text_bytes += node.text_bytes();
        let change_id = node.place_rev.max(node.content_rev);
        let (op, changed) = (Op::Create, Changed::Both);
        changes.push(Change { change_id, op, changed, node, at: None });
    }
    let has_ended = looks < wanted && text_bytes < PAGE_TEXT_BYTES;
    let at = match has_ended {
        true => Position::Log(head),
        false => Position::Snapshot { head, after },
    };
    let has_more = !has_ended || head < now.last;
    Ok(Delta { changes, next: Cursor { at, ..cursor }, has_more, latest: now.last })
}

fn trim(
    connection: &Connection,
    user_id: UserId,
    older_than: Timestamp,
    limit: u32,
) -> Result<u64, CatalogError> {
    let sql = "SELECT change_id, at FROM changes WHERE user_id = $1 ORDER BY change_id LIMIT $2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![user_id.to_i64(), limit])?;
    let (mut horizon, mut count) = (None, 0);
    while let Some(row) = rows.next()? {
        let (change_id, at): (i64, i64) = (row.get("change_id")?, row.get("at")?);
        if at >= older_than.to_i64() {
            break;
        }
        (horizon, count) = (Some(change_id), count + 1);
    }
    drop(rows);
    if let Some(horizon) = horizon {
        let user = user_id.to_i64();
        connection
            .prepare_cached("DELETE FROM changes WHERE user_id = $1 AND change_id <= $2")?
            .execute([user, horizon])?;
        connection
            .prepare_cached("UPDATE change_counters SET horizon = $1 WHERE user_id = $2")?
            .execute([horizon, user])?;
    }
    Ok(count)
}
