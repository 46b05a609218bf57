//! From names to the folder that they lead to, and its twins.
//!
//! Two folders are twins where each name on the way to one has the
//! [key](towline_types::Name::key) of the name on the way to the other. Both exist, since an
//! upload gets the very folder that it asks for; but a name that is taken in one of them is taken
//! in all.

use super::error::{CatalogError, Refusal};
use super::node_row::{behind_twins, folder_number};
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use towline_types::{Name, NodeId, NodeKind, UserId};

/// Where the names of a path lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// The folder of exactly these names, where it exists. 0 stands for the user's own.
    pub(super) exact: Option<i64>,
    /// All folders that are twins, that one included.
    pub(super) twins: Vec<i64>,
}

impl Folder {
    fn own() -> Self {
        Self { exact: Some(0), twins: vec![0] }
    }
}

/// The folders that were found last, for the thread that writes: small files come thousands to a
/// folder. Whatever moves, removes or makes twins, and every rollback, [clears](Self::clear) it.
#[derive(Debug, Default)]
pub(super) struct FolderCache {
    folders: Mutex<HashMap<(UserId, String), Arc<Folder>>>,
}

/// The cache is cleared where it has more than this.
const CACHED_MAX: usize = 4096;

impl FolderCache {
    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn get(&self, key: &(UserId, String)) -> Option<Arc<Folder>> {
        self.lock().get(key).cloned()
    }

    fn put(&self, key: (UserId, String), folder: &Arc<Folder>) {
        let mut folders = self.lock();
        if folders.len() >= CACHED_MAX {
            folders.clear();
        }
        folders.insert(key, Arc::clone(folder));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(UserId, String), Arc<Folder>>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tree of one user as the thread that writes changes it.
#[derive(Clone, Copy)]
pub(super) struct Tree<'c> {
    pub(super) connection: &'c Connection,
    pub(super) cache: &'c FolderCache,
    pub(super) user_id: UserId,
}

impl Tree<'_> {
    /// Where those names lead.
    ///
    /// Refused: [`Refusal::FolderTaken`] where a file or link has one of the names, or is its
    /// twin; [`Refusal::Busy`] where one of the folders is about to get another place.
    pub(super) fn find(self, names: &[Name]) -> Result<Arc<Folder>, CatalogError> {
        let Some((name, above)) = names.split_last() else { return Ok(Arc::new(Folder::own())) };
        let key = (self.user_id, text(names));
        if let Some(known) = self.cache.get(&key) {
            return Ok(known);
        }
        let above = self.find(above)?;
        let level = level(self.connection, self.user_id, &above, name)?;
        if level.is_taken {
            return Err(Refusal::FolderTaken.into());
        }
        self.refuse_moving(&above, name, level.folder.exact)?;
        let folder = Arc::new(level.folder);
        if folder.exact.is_some() {
            self.cache.put(key, &folder);
        }
        Ok(folder)
    }

    /// The same, and makes those of the folders that are missing: reserved, so that no list shows
    /// them before something is told of what lies in them.
    pub(super) fn make(self, names: &[Name]) -> Result<Arc<Folder>, CatalogError> {
        let Some((name, above)) = names.split_last() else { return Ok(Arc::new(Folder::own())) };
        let found = self.find(names)?;
        if found.exact.is_some() {
            return Ok(found);
        }
        let above = self.make(above)?;
        let folder_number = above.exact.unwrap_or(0);
        let made = self.insert_folder(folder_number, name)?;
        if !found.twins.is_empty() {
            // The others have one twin more.
            self.cache.clear();
        }
        let mut twins = found.twins.clone();
        twins.push(made);
        let folder = Arc::new(Folder { exact: Some(made), twins });
        self.cache.put((self.user_id, text(names)), &folder);
        Ok(folder)
    }

    fn insert_folder(self, folder_number: i64, name: &Name) -> Result<i64, CatalogError> {
        let key = name.key();
        let has_twin = self.has_key(folder_number, &key)?;
        // The key of a twin has its number in it, which is not known before.
        let first = if has_twin { behind_twins(&key) } else { key.clone() };
        let sql = "INSERT INTO nodes (user_id, parent_id, kind, name, name_key, place_rev, \
                   content_rev) VALUES ($1, $2, 'folder', $3, $4, 0, 0)";
        let parent_id = (folder_number != 0).then_some(folder_number);
        let made = self.connection.prepare_cached(sql)?.insert(params![
            self.user_id.to_i64(),
            parent_id,
            name.as_str(),
            first
        ])?;
        if has_twin {
            self.connection
                .prepare_cached("UPDATE nodes SET name_key = $1 WHERE node_id = $2")?
                .execute(params![format!("{key}\u{1}{made}"), made])?;
        }
        Ok(made)
    }

    fn has_key(self, folder_number: i64, key: &str) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM nodes WHERE user_id = $1 \
                   AND coalesce(parent_id, 0) = $2 AND name_key = $3 AND deleted_at IS NULL)";
        let wanted = params![self.user_id.to_i64(), folder_number, key];
        Ok(self.connection.prepare_cached(sql)?.query_row(wanted, |row| row.get(0))?)
    }

    /// Whether a node but `except`, or one that is on its way there, has that key in the folder or
    /// in a twin of it.
    pub(super) fn is_taken(
        self,
        folder: &Folder,
        key: &str,
        except: Option<NodeId>,
    ) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM nodes WHERE user_id = $1 \
                   AND coalesce(parent_id, 0) = $2 AND name_key >= $3 AND name_key < $4 \
                   AND deleted_at IS NULL AND node_id <> $5) \
                   OR EXISTS (SELECT 1 FROM moves WHERE user_id = $1 \
                   AND coalesce(to_parent, 0) = $2 AND to_key >= $3 AND to_key < $4 \
                   AND to_trash = 0 AND node_id <> $5)";
        let behind = behind_twins(key);
        let except = folder_number(except);
        let mut statement = self.connection.prepare_cached(sql)?;
        for twin in &folder.twins {
            let wanted = params![self.user_id.to_i64(), twin, key, behind, except];
            if statement.query_row(wanted, |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses a folder that is being moved, or to whose name something is being moved.
    fn refuse_moving(
        self,
        above: &Folder,
        name: &Name,
        exact: Option<i64>,
    ) -> Result<(), CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM moves WHERE node_id = $1) \
                   OR EXISTS (SELECT 1 FROM moves WHERE user_id = $2 \
                   AND coalesce(to_parent, 0) = $3 AND to_key >= $4 AND to_key < $5 \
                   AND to_trash = 0)";
        let key = name.key();
        let behind = behind_twins(&key);
        let mut statement = self.connection.prepare_cached(sql)?;
        for folder in &above.twins {
            let wanted = params![exact.unwrap_or(0), self.user_id.to_i64(), folder, key, behind];
            if statement.query_row(wanted, |row| row.get(0))? {
                return Err(Refusal::Busy.into());
            }
        }
        Ok(())
    }
}

/// Where those names lead, for a look: a file on the way is no folder, and leads nowhere.
pub(super) fn look(
    connection: &Connection,
    user_id: UserId,
    names: &[Name],
) -> Result<Folder, CatalogError> {
    let mut folder = Folder::own();
    for name in names {
        folder = level(connection, user_id, &folder, name)?.folder;
        if folder.twins.is_empty() {
            break;
        }
    }
    Ok(folder)
}

/// One name of a path.
struct Level {
    folder: Folder,
    /// A file or a link has the name, or is its twin.
    is_taken: bool,
}

fn level(
    connection: &Connection,
    user_id: UserId,
    above: &Folder,
    name: &Name,
) -> Result<Level, CatalogError> {
    let sql = "SELECT node_id, kind, name FROM nodes WHERE user_id = $1 \
               AND coalesce(parent_id, 0) = $2 AND name_key >= $3 AND name_key < $4 \
               AND deleted_at IS NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let key = name.key();
    let behind = behind_twins(&key);
    let mut found = Level { folder: Folder { exact: None, twins: Vec::new() }, is_taken: false };
    for twin in &above.twins {
        let mut rows = statement.query(params![user_id.to_i64(), twin, key, behind])?;
        while let Some(row) = rows.next()? {
            let node_id: i64 = row.get("node_id")?;
            if row.get::<_, String>("kind")? != NodeKind::Folder.as_str() {
                found.is_taken = true;
                continue;
            }
            found.folder.twins.push(node_id);
            if above.exact == Some(*twin) && row.get::<_, String>("name")? == name.as_str() {
                found.folder.exact = Some(node_id);
            }
        }
    }
    Ok(found)
}

/// The names as one text.
fn text(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join("/")
}
