//! What lies in a folder, a page at a time.
//!
//! The entries of a folder come in the order of their keys; twins stand one after the other.
//! Where all that lies below is listed, each folder comes directly before what lies in it.

use super::error::CatalogError;
use super::job::Share;
use super::locate::{self, NodeRef};
use super::node::{Node, PAGE_TEXT_BYTES, text_bytes_of};
use super::node_row::{self, NodeRow};
use super::{Catalog, Reply};
use rusqlite::{Connection, params};
use std::fmt;
use std::str::FromStr;
use towline_types::{Name, NodeKind, NodePath, UserId};

/// How deep a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What lies in the folder itself.
    Children,
    /// All that lies below it.
    Recursive,
}

/// One node of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// The names from the listed folder to the folder that the node lies in.
    pub folder: NodePath,
    /// The node.
    pub node: Node,
}

/// Some of what lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The nodes.
    pub entries: Vec<ListEntry>,
    /// Where the next page begins; nothing where this is the last.
    pub next: Option<ListPosition>,
}

/// Where a page of a listing begins: after an entry that was told, also where that is gone since.
/// Its text is opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPosition {
    /// The keys on the way from the listed folder to the entry.
    keys: Vec<String>,
}

impl fmt::Display for ListPosition {
    /// No key has a slash or a backslash in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("l1.")?;
        f.write_str(&self.keys.join("/").replace('\u{1}', "\\"))
    }
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no position of a listing of this server")]
pub struct BadPosition;

impl FromStr for ListPosition {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let keys = text.strip_prefix("l1.").ok_or(BadPosition)?;
        if keys.contains(char::is_control) {
            return Err(BadPosition);
        }
        Ok(Self { keys: keys.replace('\\', "\u{1}").split('/').map(str::to_owned).collect() })
    }
}

impl Catalog {
    /// What lies in a folder, or below it, after that position, and at most `limit` nodes of it.
    /// A page with long names is shorter. The folder may lie in the trash.
    ///
    /// Refused: [`NoSuchNode`](super::Refusal::NoSuchNode),
    /// [`NotAFolder`](super::Refusal::NotAFolder).
    pub fn list(
        &self,
        user_id: UserId,
        which: NodeRef,
        depth: Depth,
        after: Option<ListPosition>,
        limit: u32,
    ) -> Reply<ListPage> {
        self.look(Share::Of(user_id), move |connection| {
            let root = locate::found(connection, user_id, &which)?.folder_number()?;
            let mut walk = Walk { connection, user_id, levels: vec![Level::of(root)] };
            if let Some(after) = after {
                walk.go_behind(after, depth)?;
            }
            walk.page(depth, limit.max(1) as usize)
        })
    }
}

/// A folder that is being listed.
struct Level {
    folder: i64,
    /// Its name; none for the listed folder itself.
    name: Option<Name>,
    /// The key of the last entry that was told or passed over.
    after: String,
}

impl Level {
    fn of(folder: i64) -> Self {
        Self { folder, name: None, after: String::new() }
    }
}

/// A listing under way: from the listed folder to the one whose entries are read.
struct Walk<'c> {
    connection: &'c Connection,
    user_id: UserId,
    levels: Vec<Level>,
}

/// How many rows are read at a time.
const ROWS_AT_A_TIME: u32 = 256;

impl Walk<'_> {
    /// Goes to the place after an entry; where it is gone, to where it would be.
    fn go_behind(&mut self, after: ListPosition, depth: Depth) -> Result<(), CatalogError> {
        let last = after.keys.len().saturating_sub(1);
        for (at, key) in after.keys.into_iter().enumerate() {
            let Some(level) = self.levels.last_mut() else { break };
            let folder = level.folder;
            level.after = key;
            if at == last && depth == Depth::Children {
                break;
            }
            let Some(row) = self.with_key(folder)? else { break };
            if row.kind != NodeKind::Folder {
                break;
            }
            self.enter(row);
        }
        Ok(())
    }

    fn enter(&mut self, folder: NodeRow) {
        let number = folder.node_id.to_i64();
        self.levels.push(Level { name: Some(folder.name), ..Level::of(number) });
    }

    /// The entry of that folder at which its level stands.
    fn with_key(&self, folder: i64) -> Result<Option<NodeRow>, CatalogError> {
        let key = self.levels.last().map_or("", |level| level.after.as_str());
        let sql = format!(
            "SELECT {} FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
             AND name_key = $3 AND deleted_at IS NULL",
            node_row::COLUMNS
        );
        node_row::one(self.connection, &sql, params![self.user_id.to_i64(), folder, key])
    }

    fn page(mut self, depth: Depth, limit: usize) -> Result<ListPage, CatalogError> {
        let (mut entries, mut text_bytes) = (Vec::new(), 0);
        // Names that are only kept are passed over: there are as many as are being published.
        while let Some(level) = self.levels.last() {
            let rows = self.next_rows(level, depth, limit - entries.len())?;
            if rows.is_empty() {
                self.levels.pop();
                continue;
            }
            for (row, key) in rows {
                let folder = self.folder()?;
                if let Some(level) = self.levels.last_mut() {
                    level.after = key;
                }
                if row.is_reserved() {
                    continue;
                }
                let below = (row.kind == NodeKind::Folder).then(|| row.clone());
                let node = row.seen(self.connection)?;
                text_bytes += node.text_bytes() + text_bytes_of(&folder);
                entries.push(ListEntry { folder, node });
                let enters = depth == Depth::Recursive && below.is_some();
                if let Some(below) = below.filter(|_| enters) {
                    self.enter(below);
                }
                if entries.len() == limit || text_bytes >= PAGE_TEXT_BYTES {
                    return Ok(ListPage { next: self.position(), entries });
                }
                if enters {
                    // The rest of the rows comes after what lies in it.
                    break;
                }
            }
        }
        Ok(ListPage { entries, next: None })
    }

    fn next_rows(
        &self,
        level: &Level,
        depth: Depth,
        wanted: usize,
    ) -> Result<Vec<(NodeRow, String)>, CatalogError> {
        let sql = format!(
            "SELECT {}, name_key FROM nodes WHERE user_id = $1 AND coalesce(parent_id, 0) = $2 \
             AND name_key > $3 AND deleted_at IS NULL ORDER BY name_key LIMIT $4",
            node_row::COLUMNS
        );
        let limit = u32::try_from(wanted).unwrap_or(u32::MAX).min(ROWS_AT_A_TIME);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let from = params![self.user_id.to_i64(), level.folder, level.after, limit];
        let mut rows = statement.query(from)?;
        let (mut found, mut text_bytes) = (Vec::new(), 0);
        while text_bytes < PAGE_TEXT_BYTES {
            let Some(row) = rows.next()? else { break };
            let key = row.get::<_, String>("name_key")?;
            let row = node_row::node_row(row)?;
            text_bytes += row.text_bytes();
            let is_last = depth == Depth::Recursive && row.kind == NodeKind::Folder;
            found.push((row, key));
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// The names from the listed folder to the one whose entries are read.
    fn folder(&self) -> Result<NodePath, CatalogError> {
        let names = self.levels.iter().filter_map(|level| level.name.clone()).collect();
        Ok(NodePath::new(names).map_err(|_| super::error::Refusal::TooDeep)?)
    }

    fn position(&self) -> Option<ListPosition> {
        let mut keys: Vec<_> = self.levels.iter().map(|level| level.after.clone()).collect();
        // A folder that was just entered: nothing of it was told.
        if keys.last().is_some_and(String::is_empty) {
            keys.pop();
        }
        Some(ListPosition { keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_nothing_else_reads() {
        for text in ["l1.a", "l1.a/b c/ü", "l1.proj\\12/x"] {
            assert_eq!(text.parse::<ListPosition>().unwrap().to_string(), text);
        }
        for text in ["", "a", "l2.a", "l1.a\u{1}b", "l1.a\n"] {
            assert_eq!(text.parse::<ListPosition>(), Err(BadPosition), "{text}");
        }
    }
}
