//! What may be asked about a user's files, folders and links, and what the answers say.

use crate::page_hold::PageHold;
use std::time::Duration;
use towline_state::catalog::{
    Delta, DurableOffset, ListPage, ListPosition, Node, NodeRef, RemovalGuard, TrashPage,
    TrashPosition, VersionPage,
};
use towline_types::{
    ChangeId, DocumentId, DocumentPath, LinkTarget, ModifiedTime, NamePattern, NodeKind, NodePath,
    Offset, OnConflict, PermissionBits, Timestamp,
};
use towline_upload::{Length, Phase};

/// The most entries of a page of a listing, of the trash or of the versions of a file. A request
/// for more gets as many, and where they go on.
pub const PAGE_ENTRIES_MAX: u32 = 1000;

/// The most changes in one answer.
pub const PAGE_CHANGES_MAX: u32 = 2000;

/// The longest time that a question for changes may wait for one: less than the 60 s after which
/// proxies and routers begin to forget silent connections.
pub const WAIT_MAX: Duration = Duration::from_secs(55);

/// A request about a user's files, folders and links.
#[derive(Debug, Clone)]
pub enum TreeRequest {
    /// What is known of one of them.
    Stat(NodeRef),
    /// What lies in a folder.
    List(ListRequest),
    /// What was removed, the latest removal last.
    Trash {
        /// Which of it.
        filter: ListFilter,
        /// Where the page before ended.
        after: Option<TrashPosition>,
        /// The most entries of the page, see [`PAGE_ENTRIES_MAX`].
        limit: u32,
    },
    /// The uploads of the user that are not complete, in the order of their numbers.
    Uploads {
        /// The last upload of the page before.
        after: Option<DocumentId>,
        /// The most uploads of the page, see [`PAGE_ENTRIES_MAX`].
        limit: u32,
    },
    /// The versions of a file, the latest first.
    Versions {
        /// The file.
        file: NodeRef,
        /// The last version of the page before.
        after: Option<DocumentId>,
        /// The most versions of the page, see [`PAGE_ENTRIES_MAX`].
        limit: u32,
    },
    /// Makes a folder, and those above it that are missing.
    MakeFolder {
        /// Its place.
        path: NodePath,
        /// Its permission bits. A folder that is there already gets them as well.
        mode: Option<PermissionBits>,
    },
    /// Makes a link, and the folders above it that are missing. A link is a text in the catalog:
    /// none is made on the server's disk.
    MakeLink(NewLink),
    /// Gives a node another folder, another name, or both.
    Move {
        /// What is moved.
        node: NodeRef,
        /// Its new place. The folder in which it is to lie has to be there.
        to: NodePath,
        /// Where given, only the place that this change gave it is left.
        place_rev: Option<ChangeId>,
    },
    /// Puts a node, with all that is below it, into the trash.
    Remove {
        /// What is removed.
        node: NodeRef,
        /// What the client believes of it. Where that is not so, nothing is removed.
        guard: RemovalGuard,
    },
    /// Takes a node out of the trash.
    Restore(NodeRef),
    /// Gives a file the bytes of one of its older versions again, as a new version.
    RestoreVersion {
        /// The file.
        file: NodeRef,
        /// The older version.
        version: DocumentId,
    },
    /// What has changed.
    Delta(DeltaRequest),
    /// Says now, and after every change from now on, which is the last change.
    Watch,
}

impl TreeRequest {
    /// Whether the answer may be as long as a page.
    pub(crate) const fn has_long_answer(&self) -> bool {
        match self {
            Self::List(_)
            | Self::Trash { .. }
            | Self::Uploads { .. }
            | Self::Versions { .. }
            | Self::Delta(_) => true,
            Self::Stat(_)
            | Self::MakeFolder { .. }
            | Self::MakeLink(_)
            | Self::Move { .. }
            | Self::Remove { .. }
            | Self::Restore(_)
            | Self::RestoreVersion { .. }
            | Self::Watch => false,
        }
    }
}

/// A request for what lies in a folder.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// The folder. A file or a link lists itself.
    pub folder: NodeRef,
    /// Whether what lies in the folders below is listed too.
    pub depth: towline_state::catalog::Depth,
    /// Which of it.
    pub filter: ListFilter,
    /// Where the page before ended.
    pub after: Option<ListPosition>,
    /// The most entries of the page, see [`PAGE_ENTRIES_MAX`].
    pub limit: u32,
}

/// Which nodes a listing shows: those that each given part matches. What lies in a folder that is
/// not shown may be shown. The default shows all.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// The kinds; where there is none, all.
    pub kinds: Vec<NodeKind>,
    /// A pattern for the own name of the node.
    pub name: Option<NamePattern>,
}

impl ListFilter {
    pub(super) fn matches(&self, node: &Node) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&node.kind))
            && self.name.as_ref().is_none_or(|pattern| pattern.matches(&node.name))
    }
}

/// A link that is to be made.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// Its place.
    pub path: NodePath,
    /// What it leads to.
    pub target: LinkTarget,
    /// When it was modified, as the client says.
    pub mtime: Option<ModifiedTime>,
    /// What to do where the name is taken.
    pub on_conflict: OnConflict,
}

/// A request for changes.
#[derive(Debug, Clone)]
pub struct DeltaRequest {
    /// Behind which of them.
    pub since: Since,
    /// The most changes of the answer, see [`PAGE_CHANGES_MAX`].
    pub limit: u32,
    /// How long to wait for a change where there is none, see [`WAIT_MAX`]. An engine that is to
    /// end answers at once.
    pub wait: Duration,
}

/// Where an answer about changes begins.
#[derive(Debug, Clone)]
pub enum Since {
    /// With everything that is there.
    Nothing,
    /// After the change that is the last one now: the answer is a cursor alone, and comes at once.
    Now,
    /// Where an earlier answer ended.
    Cursor(towline_state::catalog::Cursor),
}

/// What was done to a node, or asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeAction {
    /// [`TreeRequest::Stat`].
    Stat,
    /// [`TreeRequest::MakeFolder`].
    MakeFolder,
    /// [`TreeRequest::MakeLink`].
    MakeLink,
    /// [`TreeRequest::Move`].
    Move,
    /// [`TreeRequest::Remove`].
    Remove,
    /// [`TreeRequest::Restore`] or [`TreeRequest::RestoreVersion`].
    Restore,
}

/// A node, and where it is.
#[derive(Debug, Clone)]
pub struct PlacedNode {
    /// The node as it is now.
    pub node: Node,
    /// Its place; none while it is in the trash.
    pub path: Option<NodePath>,
    /// It was as it is before the request, except for the mode of a folder.
    pub existing: bool,
}

/// An upload that is not complete.
#[derive(Debug, Clone)]
pub struct UnfinishedUpload {
    /// Its document.
    pub document_id: DocumentId,
    /// Its phase.
    pub phase: Phase,
    /// The folder and name that it asks for.
    pub path: DocumentPath,
    /// Every byte before it is here and verified.
    pub received: Offset,
    /// Every byte before it survives a power cut.
    pub durable: DurableOffset,
    /// The length of the whole file, as far as it is known.
    pub length: Length,
    /// Whether a writer has its lease: a client is sending it.
    pub is_active: bool,
    /// When it expires if no byte comes.
    pub expires_at: Option<Timestamp>,
}

/// Some of the uploads of a user that are not complete, in the order of their numbers.
#[derive(Debug, Clone)]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<UnfinishedUpload>,
    /// The last upload of this page, after which the next page begins; `None` where this page is
    /// the last.
    pub next: Option<DocumentId>,
}

/// The answer to a [`TreeRequest`].
#[derive(Debug)]
pub enum TreeAnswer {
    /// A node.
    Node {
        /// What was asked.
        action: NodeAction,
        /// The node.
        placed: Box<PlacedNode>,
    },
    /// A page of a listing.
    List {
        /// What is listed; none where that is the user's own folder.
        node: Option<Box<Node>>,
        /// What lies in it.
        page: ListPage,
        /// What ends when the door drops this answer.
        hold: PageHold,
    },
    /// A page of the trash.
    Trash {
        /// What was removed.
        page: TrashPage,
        /// What ends when the door drops this answer.
        hold: PageHold,
    },
    /// A page of the uploads that are not complete.
    Uploads {
        /// The uploads.
        page: UploadPage,
        /// What ends when the door drops this answer.
        hold: PageHold,
    },
    /// A page of the versions of a file.
    Versions {
        /// The file.
        node: Box<Node>,
        /// Its versions.
        page: VersionPage,
        /// How long each of them is kept at least, from when it was replaced on.
        kept_for: Duration,
        /// What ends when the door drops this answer.
        hold: PageHold,
    },
    /// Changes.
    Delta {
        /// The changes, and where the next answer begins.
        delta: Delta,
        /// What ends when the door drops this answer.
        hold: PageHold,
    },
    /// The last change. It comes now and again after a [`TreeRequest::Watch`].
    LastChange(ChangeId),
}
