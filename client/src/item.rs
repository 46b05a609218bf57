//! What a command sends: files, and the folders and links that lie around and beside them.

use crate::document::Document;
use crate::events::Receipt;
use crate::walk::NotKept;
use towline_types::{LinkTarget, NodeKind, PermissionBits};

/// One thing to send, and its place on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) document: Document,
    pub(crate) kind: ItemKind,
    /// What no server keeps of it.
    pub(crate) not_kept: NotKept,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemKind {
    /// A file, whose bytes are sent.
    File,
    Folder {
        /// Absent where the system has no such bits.
        mode: Option<PermissionBits>,
        /// Nothing lies in it, so no file brings it along.
        is_empty: bool,
    },
    /// A symbolic link, and what it says.
    Link(LinkTarget),
}

/// How an item has ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    File(Receipt),
    /// The folder or link is on the server; `existing`: it was there before. `stored_as` is the
    /// name that a link got where its own was taken.
    Made {
        existing: bool,
        stored_as: Option<String>,
    },
    /// The server is an older one that keeps files alone. The words say what is left out; `None`
    /// where the files in a folder bring it along.
    LeftOut(Option<&'static str>),
}

impl Item {
    /// A file.
    pub(crate) fn file(document: Document) -> Self {
        Self { document, kind: ItemKind::File, not_kept: NotKept::default() }
    }
}

impl ItemKind {
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File)
    }

    /// What it becomes on the server.
    pub(crate) fn node_kind(&self) -> NodeKind {
        match self {
            Self::File => NodeKind::File,
            Self::Folder { .. } => NodeKind::Folder,
            Self::Link(_) => NodeKind::Link,
        }
    }

    /// Whether it is on a server only where it was made there by itself: a link, or a folder that
    /// no file brings along.
    pub(crate) fn is_by_itself(&self) -> bool {
        matches!(self, Self::Link(_) | Self::Folder { is_empty: true, .. })
    }

    /// What is left out where the server keeps files alone.
    pub(crate) fn left_out(&self) -> Sent {
        Sent::LeftOut(match self {
            Self::Link(_) => Some("a symbolic link"),
            Self::Folder { is_empty: true, .. } => Some("an empty folder"),
            Self::Folder { is_empty: false, .. } | Self::File => None,
        })
    }
}
