//! A file, a folder or a link as a client is shown it.

use super::disposition::media_type;
use super::shown::time_text;
use serde::Serialize;
use serde_json::{Value, json};
use towline_engine::PlacedNode;
use towline_state::catalog::{Change, Changed, FileVersion, Node, NodeVersion};
use towline_types::{NodeKind, NodePath};

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Item(Value);

impl Item {
    /// A node of which it is not known in which folders it lies.
    pub(super) fn of(node: &Node) -> Self {
        let version = node.version;
        let blake3 = version.map(|version| version.blake3);
        Self(json!({
            "fileId": node.node_id,
            "kind": node.kind.as_str(),
            "parentId": node.parent_id,
            "name": node.name.as_str(),
            "versionId": version.map(|version| version.document_id),
            "size": version.map(|version| version.filesize),
            "contentType": content_type(node),
            "etag": blake3.map(|hash| format!("b3-{hash}")),
            "checksum": blake3.map(|hash| json!({ "blake3": hash })),
            "mtime": node.mtime,
            "mode": node.mode,
            "target": node.target,
            "placeRev": node.place_rev,
            "contentRev": node.content_rev,
            "deletedAt": node.deleted_at.map(time_text),
        }))
    }

    /// The same with the folders above it, as one text.
    pub(super) fn within(node: &Node, folder: &NodePath) -> Self {
        let Self(mut item) = Self::of(node);
        item["folder"] = json!(text(folder));
        Self(item)
    }

    /// A node and its place; in the trash it has none.
    pub(super) fn placed(placed: &PlacedNode) -> Self {
        match placed.path.as_ref().and_then(NodePath::parent) {
            Some(folder) => Self::within(&placed.node, &folder),
            None => Self::of(&placed.node),
        }
    }
}

/// One change of the log, with the whole state of its node after it.
pub(super) fn of_change(change: &Change) -> Value {
    let Change { change_id, op, changed, node, at } = change;
    let version = node.version;
    let blake3 = version.map(|version| version.blake3);
    json!({
        "changeId": change_id,
        "fileId": node.node_id,
        "op": op.as_str(),
        "changed": match changed {
            Changed::Content => vec!["content"],
            Changed::Place => vec!["place"],
            Changed::Both => vec!["content", "place"],
            Changed::Neither => Vec::new(),
        },
        "kind": node.kind.as_str(),
        "parentId": node.parent_id,
        // Bytes in a bucket will have one.
        "key": Value::Null,
        "versionId": version.map(|version| version.document_id),
        "etag": blake3.map(|hash| format!("b3-{hash}")),
        "size": version.map(|version| version.filesize),
        "contentType": content_type(node),
        "checksum": blake3.map(|hash| json!({ "blake3": hash })),
        "metadata": {
            "name": node.name.as_str(),
            "mtime": node.mtime,
            "mode": node.mode,
            "target": node.target,
        },
        "placeRev": node.place_rev,
        "at": at.map(time_text),
        // Devices will have names.
        "actorDeviceId": Value::Null,
    })
}

/// A version of a file.
pub(super) fn of_version(version: &FileVersion) -> Value {
    let NodeVersion { document_id, filesize, blake3 } = version.version;
    json!({
        "versionId": document_id,
        "size": filesize,
        "etag": format!("b3-{blake3}"),
        "checksum": { "blake3": blake3 },
        "createdAt": time_text(version.created_at),
        "mtime": version.mtime,
        "current": version.replaced_at.is_none(),
        "replacedAt": version.replaced_at.map(time_text),
    })
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
