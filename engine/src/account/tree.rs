//! The user's files, folders and links, for doors that ask one question at a time.

use super::Account;
use super::exchange::{Outcome, no_upload};
use crate::command::Command;
use crate::rejection::Rejection;
use crate::tree::request::{
    DeltaRequest, ListFilter, ListRequest, NewLink, PlacedNode, TreeAnswer, TreeRequest, UploadPage,
};
use crate::tree::{self, ChangeWatch};
use std::sync::Arc;
use towline_state::catalog::{
    Delta, ListPage, Node, NodeRef, RemovalGuard, TrashPage, TrashPosition, VersionPage,
};
use towline_types::{ChangeId, DocumentId, NodePath, PermissionBits};

impl Account {
    /// What is known of a file, a folder or a link, and where it is. Cancel-safe: it changes
    /// nothing.
    ///
    /// # Errors
    /// `NotFound` where there is none, `BadRequest` for the user's own folder, which is no node.
    pub async fn stat(&self, node: NodeRef) -> Result<PlacedNode, Rejection> {
        self.node(TreeRequest::Stat(node)).await
    }

    /// A page of what lies in a folder, and the folder; none for the user's own. A file or a link
    /// has no entries. With a filter a page may be empty although there is a next one. Cancel-safe:
    /// it changes nothing.
    ///
    /// # Errors
    /// `NotFound` where there is no such folder.
    pub async fn list(
        &self,
        request: ListRequest,
    ) -> Result<(Option<Box<Node>>, ListPage), Rejection> {
        match self.tree(TreeRequest::List(request)).await? {
            TreeAnswer::List { node, page, .. } => Ok((node, page)),
            _ => Err(no_upload()),
        }
    }

    /// A page of what was removed. With a filter it may be empty although there is a next one.
    /// Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn trash(
        &self,
        filter: ListFilter,
        after: Option<TrashPosition>,
        limit: u32,
    ) -> Result<TrashPage, Rejection> {
        match self.tree(TreeRequest::Trash { filter, after, limit }).await? {
            TreeAnswer::Trash { page, .. } => Ok(page),
            _ => Err(no_upload()),
        }
    }

    /// A page of the uploads that are not complete. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn uploads(
        &self,
        after: Option<DocumentId>,
        limit: u32,
    ) -> Result<UploadPage, Rejection> {
        match self.tree(TreeRequest::Uploads { after, limit }).await? {
            TreeAnswer::Uploads { page, .. } => Ok(page),
            _ => Err(no_upload()),
        }
    }

    /// A page of the versions of a file, the latest first. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `NotFound` where there is no such file.
    pub async fn versions(
        &self,
        file: NodeRef,
        after: Option<DocumentId>,
        limit: u32,
    ) -> Result<VersionPage, Rejection> {
        match self.tree(TreeRequest::Versions { file, after, limit }).await? {
            TreeAnswer::Versions { page, .. } => Ok(page),
            _ => Err(no_upload()),
        }
    }

    /// Makes a folder, and those above it that are missing. That it is there already is fine. On
    /// return it survives a power cut (P3). Not cancel-safe: dropped, the folder may be made.
    ///
    /// # Errors
    /// `NodeExists` where a file, a link or a folder with a name that is taken for the same is
    /// there; `FolderTaken` where a file or a link has the name of one of the folders above.
    pub async fn make_folder(
        &self,
        path: NodePath,
        mode: Option<PermissionBits>,
    ) -> Result<PlacedNode, Rejection> {
        self.node(TreeRequest::MakeFolder { path, mode }).await
    }

    /// Makes a link, and the folders above it that are missing. Not cancel-safe: dropped, the link
    /// may be made.
    ///
    /// # Errors
    /// As [`make_folder`](Self::make_folder).
    pub async fn make_link(&self, link: NewLink) -> Result<PlacedNode, Rejection> {
        self.node(TreeRequest::MakeLink(link)).await
    }

    /// Gives a node another folder, another name, or both; what is below it goes along. Nothing is
    /// replaced. Not cancel-safe: dropped, the node is moved all the same.
    ///
    /// # Errors
    /// `NodeExists` or `NameTaken` where the name is taken, `Cycle` where a folder would lie in
    /// itself, `Conflict` where `place_rev` is given and another change has moved the node since,
    /// `Busy` while an upload or another change is under way there.
    pub async fn move_node(
        &self,
        node: NodeRef,
        to: NodePath,
        place_rev: Option<ChangeId>,
    ) -> Result<PlacedNode, Rejection> {
        self.node(TreeRequest::Move { node, to, place_rev }).await
    }

    /// Puts a node, with all that is below it, into the trash. Not cancel-safe: dropped, the node
    /// is removed all the same.
    ///
    /// # Errors
    /// `NotEmpty`, `Unseen` or `Conflict` where `guard` does not hold, and `Busy`.
    pub async fn remove(
        &self,
        node: NodeRef,
        guard: RemovalGuard,
    ) -> Result<PlacedNode, Rejection> {
        self.node(TreeRequest::Remove { node, guard }).await
    }

    /// Takes a node out of the trash. A path names the node that was removed from there last; where
    /// none was removed from there, the node that lies there is the answer. The node gets a
    /// numbered name where its own is taken. A file whose current version was lost gets the last
    /// version that is kept. Not cancel-safe: dropped, the node is restored all the same.
    ///
    /// # Errors
    /// `NotFound` where there is nothing of that name or number, `RemovedWithFolder` where a folder
    /// above it was removed, and `Busy`.
    pub async fn restore(&self, node: NodeRef) -> Result<PlacedNode, Rejection> {
        self.node(TreeRequest::Restore(node)).await
    }

    /// Gives a file the bytes of one of its older versions again, as a new version. Not
    /// cancel-safe: dropped, the file may get them all the same.
    ///
    /// # Errors
    /// `NotFound` where the file has no such version, or its bytes are damaged; `Busy`.
    pub async fn restore_version(
        &self,
        file: NodeRef,
        version: DocumentId,
    ) -> Result<PlacedNode, Rejection> {
        self.node(TreeRequest::RestoreVersion { file, version }).await
    }

    /// What has changed. Cancel-safe: it changes nothing.
    ///
    /// # Errors
    /// `BadCursor` for a cursor of another user, `CursorReset` where the change log does not reach
    /// back to it: then everything is to be asked for anew.
    pub async fn delta(&self, request: DeltaRequest) -> Result<Delta, Rejection> {
        match self.tree(TreeRequest::Delta(request)).await? {
            TreeAnswer::Delta { delta, .. } => Ok(delta),
            _ => Err(no_upload()),
        }
    }

    /// Watches for changes from now on.
    #[must_use]
    pub fn watch(&self) -> ChangeWatch {
        tree::watch(Arc::clone(&self.shared), self.user)
    }

    async fn node(&self, request: TreeRequest) -> Result<PlacedNode, Rejection> {
        match self.tree(request).await? {
            TreeAnswer::Node { placed, .. } => Ok(*placed),
            _ => Err(no_upload()),
        }
    }

    async fn tree(&self, request: TreeRequest) -> Result<TreeAnswer, Rejection> {
        match self.exchange().ask(Command::Tree(Box::new(request))).await? {
            Outcome::Tree(answer) => Ok(answer),
            _ => Err(no_upload()),
        }
    }
}
