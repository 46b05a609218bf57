//! A document that is published becomes the version of its node; one that is lost leaves it.

use super::change::{Kind, is_implied, version_of};
use super::document::Document;
use super::error::CatalogError;
use super::folder::Tree;
use super::node_row::{self, NodeRow};
use super::place::Places;
use rusqlite::params;
use towline_types::{DocumentId, NodeId, Timestamp};

impl Tree<'_> {
    /// Makes a document the version of the node that is kept for it, and tells of it and of the
    /// folders on the way that nothing was told of before.
    ///
    /// Which version is replaced was settled when the name was reserved: until now no other
    /// document could be published into the node.
    pub(super) fn settle(self, document: &Document, now: Timestamp) -> Result<(), CatalogError> {
        let document_id = document.document_id;
        let mut node = self.node_of(document)?;
        let wish = &document.wish;
        let replaced = node.version_id.filter(|id| *id != document_id);
        let number = self.tell_folders(node.parent_id, 1, now)?;
        let change_id = self.change_id(number)?;
        let kind = match replaced {
            Some(replaced) => {
                self.keep_version(node.node_id, replaced, number, now)?;
                Kind::REPLACED
            }
            None => {
                node.place_rev = change_id;
                Kind::NEW
            }
        };
        (node.version_id, node.incoming_id) = (Some(document_id), None);
        node.content_rev = change_id;
        node.mtime = wish.mtime;
        node.mode = wish.mode.or(node.mode);
        self.connection
            .prepare_cached(
                "UPDATE nodes SET version_id = $1, incoming_id = NULL, place_rev = $2, \
                 content_rev = $3, mtime_ms = $4, mode = $5 WHERE node_id = $6",
            )?
            .execute(params![
                document_id.to_i64(),
                node.place_rev.to_i64(),
                change_id.to_i64(),
                node.mtime.map(|mtime| mtime.as_ms()),
                node.mode.map(|mode| mode.bits()),
                node.node_id.to_i64(),
            ])?;
        self.record(change_id, kind, &node, version_of(document), now)
    }

    fn node_of(self, document: &Document) -> Result<NodeRow, CatalogError> {
        let node = match document.node_id {
            Some(node_id) => node_row::by_id(self.connection, node_id)?,
            None => None,
        };
        node.ok_or_else(|| CatalogError::BadRow {
            table: "document",
            id: document.document_id.to_i64(),
            owner: Some(document.user_id),
            column: "node_id",
            reason: "there is no such node".to_owned(),
        })
    }

    fn keep_version(
        self,
        node_id: NodeId,
        replaced: DocumentId,
        change_number: i64,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        self.connection
            .prepare_cached(
                "INSERT INTO versions (node_id, document_id, change_id, replaced_at) \
                 VALUES ($1, $2, $3, $4)",
            )?
            .execute([node_id.to_i64(), replaced.to_i64(), change_number, now.to_i64()])?;
        Ok(())
    }

    /// Takes a completed document that is lost out of its node. Where it was the version, the
    /// node is gone; with the last file of a folder that nobody made on purpose, the folder too.
    /// Where earlier versions are kept, the node stays in the trash, from where they can come back.
    pub(super) fn unsettle(self, document: &Document, now: Timestamp) -> Result<(), CatalogError> {
        let document_id = document.document_id;
        let Some(node_id) = document.node_id else { return Ok(()) };
        let Some(mut node) = node_row::by_id(self.connection, node_id)? else { return Ok(()) };
        if node.version_id != Some(document_id) {
            let sql = "DELETE FROM versions WHERE document_id = $1";
            self.connection.prepare_cached(sql)?.execute([document_id.to_i64()])?;
            return Ok(());
        }
        let chain = Places::new(self.connection).of_folder(node.parent_id)?;
        let lives = node.deleted_at.is_none() && chain.trash.is_none();
        let keeps_row = node.incoming_id.is_some() || self.has_versions(node_id)?;
        node.version_id = None;
        if !keeps_row {
            if !lives {
                return self.delete_row(node_id);
            }
            let parent_id = node.parent_id;
            self.tell_gone(node, version_of(document), now)?;
            return self.prune_implied(parent_id, now);
        }
        // A document that is being published into the node keeps the name.
        let removed_at = match node.incoming_id {
            Some(_) => node.deleted_at,
            None => Some(node.deleted_at.unwrap_or(now)),
        };
        if lives {
            let change_id = self.take_number(now)?;
            (node.place_rev, node.content_rev) = (change_id, change_id);
            self.record(change_id, Kind::REMOVED, &node, version_of(document), now)?;
        }
        self.cache.clear();
        self.connection
            .prepare_cached(
                "UPDATE nodes SET version_id = NULL, deleted_at = $1, place_rev = $2, \
                 content_rev = $3 WHERE node_id = $4",
            )?
            .execute(params![
                removed_at.map(Timestamp::to_i64),
                node.place_rev.to_i64(),
                node.content_rev.to_i64(),
                node_id.to_i64(),
            ])?;
        Ok(())
    }

    pub(super) fn has_versions(self, node_id: NodeId) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM versions WHERE node_id = $1)";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([node_id.to_i64()], |row| row.get(0))?)
    }

    /// Folders that were made for the paths of uploads alone go with the last file in them that
    /// is lost, from that one upwards: an operator who removes a folder from the disk gives its
    /// name to the next file.
    fn prune_implied(self, mut folder: Option<NodeId>, now: Timestamp) -> Result<(), CatalogError> {
        while let Some(node_id) = folder {
            let Some(node) = node_row::by_id(self.connection, node_id)? else { return Ok(()) };
            if !is_implied(&node) || self.has_children(node_id)? || self.is_moving(node_id)? {
                return Ok(());
            }
            folder = node.parent_id;
            self.tell_gone(node, None, now)?;
        }
        Ok(())
    }
}
