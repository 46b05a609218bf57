//! The versions of a file: the document that it is now, and those that it was.

use super::availability_column;
use super::error::CatalogError;
use super::job::Share;
use super::locate::{Found, NodeRef, found};
use super::node::NodeVersion;
use super::node_row::mtime;
use super::retention::Retention;
use super::row::NamedRow;
use super::{Catalog, Reply};
use rusqlite::{Connection, Row, params};
use towline_types::{DocumentId, FileHash, FileSize, ModifiedTime, NodeId, Timestamp, UserId};

/// One content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    /// The document.
    pub version: NodeVersion,
    /// When it was completed.
    pub created_at: Timestamp,
    /// When another one replaced it; nothing for the one that the file is now.
    pub replaced_at: Option<Timestamp>,
    /// When the file was modified on the client's disk, as the client said.
    pub mtime: Option<ModifiedTime>,
}

/// Some of the versions of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPage {
    /// The versions: the one that the file is now first, then the others, the newest document
    /// first.
    pub versions: Vec<FileVersion>,
    /// Behind which document the next page begins; nothing where this is the last.
    pub next: Option<DocumentId>,
}

/// Versions that are not kept any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredVersions {
    /// Whose, and which.
    pub versions: Vec<(UserId, DocumentId)>,
    /// Behind which node the next page begins; nothing where this is the last.
    pub next: Option<NodeId>,
}

impl Catalog {
    /// The versions of a file after that document, at most `limit` of them.
    ///
    /// Refused: [`NoSuchNode`](super::Refusal::NoSuchNode).
    pub fn versions(
        &self,
        user_id: UserId,
        which: NodeRef,
        after: Option<DocumentId>,
        limit: u32,
    ) -> Reply<VersionPage> {
        self.look(Share::Of(user_id), move |connection| {
            let row = match found(connection, user_id, &which)? {
                Found::Living(row, _) | Found::InTrash(row, ..) => row,
                Found::Root => return Err(super::Refusal::NoSuchNode.into()),
            };
            let mut versions = Vec::new();
            if let (Some(current), None) = (row.version_id, after) {
                let sql = "SELECT document_id, user_id, filesize, blake3, created_at, mtime_ms, \
                           availability, NULL AS replaced_at FROM documents WHERE document_id = $1";
                let current = many(connection, sql, [current.to_i64()])?;
                // A file that came again with the same bytes has the time of the last sending,
                // which its node has.
                let mtime = row.mtime;
                versions.extend(current.into_iter().map(|one| FileVersion { mtime, ..one }));
            }
            let limit = limit.max(1);
            if !versions.is_empty() && limit == 1 {
                // The next page begins after the current version, whose document may have a smaller
                // number than others.
                return Ok(VersionPage { versions, next: Some(DocumentId::MAX) });
            }
            let limit = limit - u32::from(!versions.is_empty());
            let sql = "SELECT documents.document_id, user_id, filesize, blake3, created_at, \
                       mtime_ms, availability, replaced_at FROM versions JOIN documents \
                       ON documents.document_id = versions.document_id \
                       WHERE versions.node_id = $1 AND versions.document_id < $2 \
                       ORDER BY versions.document_id DESC LIMIT $3";
            let from = after.unwrap_or(DocumentId::MAX);
            let wanted = params![row.node_id.to_i64(), from.to_i64(), limit];
            let earlier = many(connection, sql, wanted)?;
            let is_full = earlier.len() >= limit as usize;
            let next = earlier.last().map(|last| last.version.document_id).filter(|_| is_full);
            versions.extend(earlier);
            Ok(VersionPage { versions, next })
        })
    }

    /// Versions that are not kept any longer by that rule, of the nodes after that one; about
    /// `limit` versions are looked at.
    pub fn expired_versions(
        &self,
        after: Option<NodeId>,
        retention: Retention,
        now: Timestamp,
        limit: u32,
    ) -> Reply<ExpiredVersions> {
        self.read(move |connection| expired(connection, after, retention, now, limit))
    }

    /// Forgets earlier versions whose files are gone from the disk, with their documents. One
    /// that is not an earlier version stays, and so does one of a file whose place is just being
    /// changed: its file may be on its way back there.
    pub fn forget_versions(&self, versions: Vec<DocumentId>) -> Reply<()> {
        self.write(move |connection| {
            let mut version = connection.prepare_cached(
                "DELETE FROM versions WHERE document_id = $1 \
                     AND node_id NOT IN (SELECT node_id FROM moves)",
            )?;
            let mut document =
                connection.prepare_cached("DELETE FROM documents WHERE document_id = $1")?;
            for id in versions {
                if version.execute([id.to_i64()])? > 0 {
                    document.execute([id.to_i64()])?;
                }
            }
            Ok(())
        })
    }
}

fn many(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<FileVersion>, CatalogError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        versions.push(version(row)?);
    }
    Ok(versions)
}

fn version(row: &Row<'_>) -> Result<FileVersion, CatalogError> {
    let row = NamedRow::new(row, "document", "document_id")?;
    let document_id = row.get("document_id", DocumentId::from_i64)?;
    let filesize = row.get("filesize", FileSize::from_i64)?;
    let blake3 = row.get("blake3", |hash: [u8; 32]| Ok::<_, String>(FileHash::from_bytes(hash)))?;
    Ok(FileVersion {
        version: NodeVersion {
            document_id,
            filesize,
            blake3,
            availability: availability_column::of_row(&row)?,
        },
        created_at: row.time("created_at")?,
        replaced_at: row.time_option("replaced_at")?,
        mtime: mtime(&row)?,
    })
}

/// A version as the rule looks at it.
struct Earlier {
    node_id: NodeId,
    owner: UserId,
    document_id: DocumentId,
    replaced_at: Timestamp,
}

fn expired(
    connection: &Connection,
    after: Option<NodeId>,
    retention: Retention,
    now: Timestamp,
    limit: u32,
) -> Result<ExpiredVersions, CatalogError> {
    let from = after.map_or(0, NodeId::to_i64);
    let behind = "SELECT versions.document_id, versions.node_id, user_id, replaced_at FROM versions \
                  JOIN documents ON documents.document_id = versions.document_id \
                  WHERE versions.node_id > $1 \
                  ORDER BY versions.node_id, versions.document_id LIMIT $2";
    let mut found = earlier(connection, behind, params![from, limit])?;
    let mut next = None;
    if found.len() >= limit as usize
        && let Some(last) = found.last().map(|last| last.node_id)
    {
        // The rule looks at all versions of a node, and the page may end among those of the last.
        found.retain(|one| one.node_id != last);
        next = found.last().map(|one| one.node_id);
        if next.is_none() {
            let all = "SELECT versions.document_id, versions.node_id, user_id, replaced_at \
                       FROM versions JOIN documents \
                       ON documents.document_id = versions.document_id \
                       WHERE versions.node_id = $1 ORDER BY versions.document_id";
            found = earlier(connection, all, params![last.to_i64()])?;
            next = Some(last);
        }
    }
    let mut versions = Vec::new();
    for node in found.chunk_by(|one, other| one.node_id == other.node_id) {
        let times: Vec<_> = node.iter().map(|one| one.replaced_at).collect();
        let kept = retention.kept(&times, now);
        let gone = node.iter().zip(kept).filter(|(_, kept)| !kept);
        versions.extend(gone.map(|(one, _)| (one.owner, one.document_id)));
    }
    Ok(ExpiredVersions { versions, next })
}

fn earlier(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Earlier>, CatalogError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let row = NamedRow::new(row, "document", "document_id")?;
        found.push(Earlier {
            document_id: row.get("document_id", DocumentId::from_i64)?,
            node_id: row.get("node_id", NodeId::from_i64)?,
            owner: row.get("user_id", UserId::from_i64)?,
            replaced_at: row.time("replaced_at")?,
        });
    }
    Ok(found)
}
