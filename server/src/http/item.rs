//! A file, a folder or a link as a client is shown it.

use super::disposition::media_type;
use super::shown::{time_text, word};
use serde::Serialize;
use towline_engine::PlacedNode;
use towline_state::catalog::{Change, Changed, FileVersion, Node, NodeVersion};
use towline_types::{
    ChangeId, DocumentId, FileHash, FileSize, LinkTarget, ModifiedTime, NodeId, NodeKind, NodePath,
    PermissionBits,
};

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    #[cfg_attr(test, schema(value_type = u64))]
    file_id: NodeId,
    /// `file`, `folder` or `link`.
    #[cfg_attr(test, schema(value_type = String))]
    kind: NodeKind,
    /// The folder that it lies in; none is the user's own.
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    parent_id: Option<NodeId>,
    name: String,
    /// The document that a file is now.
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    version_id: Option<DocumentId>,
    /// The length of a file in bytes.
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    size: Option<FileSize>,
    content_type: Option<&'static str>,
    /// Whether the version of a file is given out: `AVAILABLE`, `SCANNING`, `QUARANTINED` or `FAILED`.
    status: Option<&'static str>,
    etag: Option<String>,
    checksum: Option<Checksum>,
    /// When the file was last modified, in milliseconds since 1970, as its client has said.
    #[cfg_attr(test, schema(value_type = Option<i64>))]
    mtime: Option<ModifiedTime>,
    /// The permission bits, as its client has said.
    #[cfg_attr(test, schema(value_type = Option<u32>))]
    mode: Option<PermissionBits>,
    /// Where a link leads.
    #[cfg_attr(test, schema(value_type = Option<String>))]
    target: Option<LinkTarget>,
    /// Grows with each move, for `If-Match`.
    #[cfg_attr(test, schema(value_type = u64))]
    place_rev: ChangeId,
    /// Grows with each version.
    #[cfg_attr(test, schema(value_type = u64))]
    content_rev: ChangeId,
    /// When it was put into the trash.
    deleted_at: Option<String>,
    /// The folders above it, with `/` between names.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
}

/// The hashes of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Checksum {
    /// The BLAKE3 hash, in hexadecimal digits.
    #[cfg_attr(test, schema(value_type = String))]
    blake3: FileHash,
}

impl Item {
    /// A node of which it is not known in which folders it lies.
    pub(super) fn of(node: &Node) -> Self {
        let version = node.version;
        let blake3 = version.map(|version| version.blake3);
        Self {
            file_id: node.node_id,
            kind: node.kind,
            parent_id: node.parent_id,
            name: node.name.to_string(),
            version_id: version.map(|version| version.document_id),
            size: version.map(|version| version.filesize),
            content_type: content_type(node),
            status: version.map(|version| word(version.availability)),
            etag: blake3.map(etag),
            checksum: blake3.map(|blake3| Checksum { blake3 }),
            mtime: node.mtime,
            mode: node.mode,
            target: node.target.clone(),
            place_rev: node.place_rev,
            content_rev: node.content_rev,
            deleted_at: node.deleted_at.map(time_text),
            folder: None,
        }
    }

    /// The same with the folders above it, as one text.
    pub(super) fn within(node: &Node, folder: &NodePath) -> Self {
        Self { folder: Some(text(folder)), ..Self::of(node) }
    }

    /// A node and its place; in the trash it has none.
    pub(super) fn placed(placed: &PlacedNode) -> Self {
        match placed.path.as_ref().and_then(NodePath::parent) {
            Some(folder) => Self::within(&placed.node, &folder),
            None => Self::of(&placed.node),
        }
    }
}

fn etag(blake3: FileHash) -> String {
    format!("b3-{blake3}")
}

/// A page of a list of nodes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Items {
    pub(super) items: Vec<Item>,
    /// What `after` of the next page is; none behind the last page.
    pub(super) next: Option<String>,
}

/// One change of the log, with the whole state of its node after it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeItem {
    #[cfg_attr(test, schema(value_type = u64))]
    change_id: ChangeId,
    #[cfg_attr(test, schema(value_type = u64))]
    file_id: NodeId,
    /// `CREATE`, `UPDATE` or `DELETE`.
    op: &'static str,
    /// Of `content` and `place` what has changed.
    changed: &'static [&'static str],
    #[cfg_attr(test, schema(value_type = String))]
    kind: NodeKind,
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    parent_id: Option<NodeId>,
    /// Bytes in a bucket will have one.
    key: Option<String>,
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    version_id: Option<DocumentId>,
    etag: Option<String>,
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    size: Option<FileSize>,
    content_type: Option<&'static str>,
    /// Whether the version is given out now.
    status: Option<&'static str>,
    checksum: Option<Checksum>,
    metadata: Metadata,
    #[cfg_attr(test, schema(value_type = u64))]
    place_rev: ChangeId,
    at: Option<String>,
    /// Devices will have names.
    actor_device_id: Option<String>,
}

/// What the client has said of a node.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Metadata {
    name: String,
    #[cfg_attr(test, schema(value_type = Option<i64>))]
    mtime: Option<ModifiedTime>,
    #[cfg_attr(test, schema(value_type = Option<u32>))]
    mode: Option<PermissionBits>,
    #[cfg_attr(test, schema(value_type = Option<String>))]
    target: Option<LinkTarget>,
}

impl ChangeItem {
    pub(super) fn of(change: &Change) -> Self {
        let Change { change_id, op, changed, node, at } = change;
        let version = node.version;
        let blake3 = version.map(|version| version.blake3);
        Self {
            change_id: *change_id,
            file_id: node.node_id,
            op: op.as_str(),
            changed: match changed {
                Changed::Content => &["content"],
                Changed::Place => &["place"],
                Changed::Both => &["content", "place"],
                Changed::Neither => &[],
            },
            kind: node.kind,
            parent_id: node.parent_id,
            key: None,
            version_id: version.map(|version| version.document_id),
            etag: blake3.map(etag),
            size: version.map(|version| version.filesize),
            content_type: content_type(node),
            status: version.map(|version| word(version.availability)),
            checksum: blake3.map(|blake3| Checksum { blake3 }),
            metadata: Metadata {
                name: node.name.to_string(),
                mtime: node.mtime,
                mode: node.mode,
                target: node.target.clone(),
            },
            place_rev: node.place_rev,
            at: at.map(time_text),
            actor_device_id: None,
        }
    }
}

/// A version of a file.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionItem {
    #[cfg_attr(test, schema(value_type = u64))]
    version_id: DocumentId,
    #[cfg_attr(test, schema(value_type = u64))]
    size: FileSize,
    /// Whether it is given out.
    status: &'static str,
    etag: String,
    checksum: Checksum,
    created_at: String,
    #[cfg_attr(test, schema(value_type = Option<i64>))]
    mtime: Option<ModifiedTime>,
    /// Whether the file is this version now.
    current: bool,
    replaced_at: Option<String>,
}

impl VersionItem {
    pub(super) fn of(version: &FileVersion) -> Self {
        let NodeVersion { document_id, filesize, blake3, availability } = version.version;
        Self {
            version_id: document_id,
            size: filesize,
            status: word(availability),
            etag: etag(blake3),
            checksum: Checksum { blake3 },
            created_at: time_text(version.created_at),
            mtime: version.mtime,
            current: version.replaced_at.is_none(),
            replaced_at: version.replaced_at.map(time_text),
        }
    }
}

/// The media type of a file, by the ending of its name; none for what is no file.
fn content_type(node: &Node) -> Option<&'static str> {
    let of_file = || media_type(node.name.as_str()).unwrap_or("application/octet-stream");
    (node.kind == NodeKind::File).then(of_file)
}

/// The names with `/` between them.
fn text(path: &NodePath) -> String {
    path.names().iter().map(|name| name.as_str()).collect::<Vec<_>>().join("/")
}
