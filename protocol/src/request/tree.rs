//! Requests about a user's files, folders and links.

use super::is_default;
use crate::frame::Channel;
use serde::{Deserialize, Serialize};
use towline_types::{
    BadName, ChangeId, DocumentId, LinkTarget, ModifiedTime, NodeId, NodeKind, NodePath,
    OnConflict, PermissionBits,
};

/// Which node a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one that lies there, or the user's own folder.
    Path(NodePath),
    /// The one of that number, also in the trash.
    Node(NodeId),
}

/// Why a request names no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It names none, or more than one.
    #[error("a request names one thing: by its path or by a number")]
    NotOne,
    /// A name in the path is refused.
    #[error(transparent)]
    Name(#[from] BadName),
}

impl Target {
    pub(super) fn of(path: Option<&[String]>, node_id: Option<NodeId>) -> Result<Self, BadTarget> {
        match (path, node_id) {
            (Some(path), None) => Ok(Self::Path(NodePath::of_existing(path)?)),
            (None, Some(node)) => Ok(Self::Node(node)),
            _ => Err(BadTarget::NotOne),
        }
    }
}

macro_rules! has_target {
    ($($message:ident)*) => {
        $(impl $message {
            /// What the request is about.
            ///
            /// # Errors
            /// Where it names nothing, both a path and a number, or a name that cannot be.
            pub fn target(&self) -> Result<Target, BadTarget> {
                Target::of(self.path.as_deref(), self.node_id)
            }
        })*
    };
}

has_target! { Stat Move Remove Restore Versions }

/// `{"action":"list","path":["proj"]}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where it lies; an empty list is the user's own folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Everything below it too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recursive: bool,
    /// What was removed, instead of what lies somewhere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trash: bool,
    /// Only what is one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<NodeKind>>,
    /// Only what has a name that this pattern matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The most entries in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// What the answer before said in `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What a [`List`] is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// That node and what lies in it.
    Node(Target),
    /// What was removed.
    Trash,
}

impl List {
    /// What is to be listed.
    ///
    /// # Errors
    /// Where it names nothing or more than one thing, or a name that cannot be.
    pub fn listed(&self) -> Result<Listed, BadTarget> {
        match (self.trash, &self.path, self.node_id) {
            (true, None, None) => Ok(Listed::Trash),
            (true, ..) => Err(BadTarget::NotOne),
            (false, path, node) => Ok(Listed::Node(Target::of(path.as_deref(), node)?)),
        }
    }
}

/// `{"action":"stat","path":["proj","a.txt"]}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stat {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
}

/// `{"action":"mkdir","path":["proj","new"]}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mkdir {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where it is to lie.
    pub path: Vec<String>,
    /// Its permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PermissionBits>,
}

impl Mkdir {
    /// Where the folder is to lie.
    ///
    /// # Errors
    /// Says why a name is refused.
    pub fn place(&self) -> Result<NodePath, BadName> {
        NodePath::of_new(&self.path)
    }
}

/// `{"action":"link","path":["proj","latest"],"target":"a.txt"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where it is to lie.
    pub path: Vec<String>,
    /// What it leads to.
    pub target: LinkTarget,
    /// When it was modified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime_ms: Option<ModifiedTime>,
    /// What to do where the name is taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_conflict: OnConflict,
}

impl Link {
    /// Where the link is to lie.
    ///
    /// # Errors
    /// Says why a name is refused.
    pub fn place(&self) -> Result<NodePath, BadName> {
        NodePath::of_new(&self.path)
    }
}

/// `{"action":"move","path":["proj","a.txt"],"to":["proj","b.txt"]}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Where it is to lie, its new name last.
    pub to: Vec<String>,
    /// Only if this change gave it its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place_rev: Option<ChangeId>,
}

impl Move {
    /// Where the node is to lie.
    ///
    /// # Errors
    /// Says why a name is refused.
    pub fn destination(&self) -> Result<NodePath, BadName> {
        NodePath::of_new(&self.to)
    }
}

/// `{"action":"remove","path":["proj"],"recursive":true}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Only if this is the file's current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<DocumentId>,
    /// Only if this change gave it its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place_rev: Option<ChangeId>,
    /// Only if nothing of it, and nothing below it, is newer than this change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<ChangeId>,
    /// A folder goes with all that is in it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recursive: bool,
}

/// `{"action":"restore","path":["proj","a.txt"]}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where it lay; with `version`, where the file lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The version that the file is to have again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<DocumentId>,
}

/// `{"action":"versions","path":["proj","a.txt"]}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Where the file lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The most versions in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// What the answer before said in `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
