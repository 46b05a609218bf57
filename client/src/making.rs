//! Folders and links on the server. One request makes each, and the same request again changes
//! nothing.

use crate::attempt_end::AttemptEnd;
use crate::document::Document;
use crate::item::{ItemKind, Sent};
use crate::place;
use crate::text::printable;
use towline_protocol::reply::NodeAnswer;
use towline_protocol::request::{Link, Mkdir};
use towline_protocol::{Channel, Request};
use towline_types::{DocumentPath, NodeKind, OnConflict};

/// The request that makes it; nothing for a file.
pub(crate) fn request(
    channel: Channel,
    document: &Document,
    kind: &ItemKind,
    on_conflict: OnConflict,
) -> Option<Request> {
    let path = path_of(&document.remote);
    match kind {
        ItemKind::File => None,
        ItemKind::Folder { mode, .. } => Some(Request::Mkdir(Mkdir { channel, path, mode: *mode })),
        ItemKind::Link(target) => {
            let target = target.clone();
            Some(Request::Link(Link { channel, path, target, mtime_ms: None, on_conflict }))
        }
    }
}

/// What the answer means.
///
/// # Errors
/// Where the server speaks of something else than what was asked for.
pub(crate) fn answered(
    answer: &NodeAnswer,
    document: &Document,
    kind: &ItemKind,
    on_conflict: OnConflict,
) -> Result<Sent, AttemptEnd> {
    let NodeAnswer { node, path, existing, channel: _ } = answer;
    let asked = &document.remote;
    let is_it = match kind {
        ItemKind::File => false,
        ItemKind::Folder { .. } => node.kind == NodeKind::Folder && *path == path_of(asked),
        ItemKind::Link(target) => {
            node.kind == NodeKind::Link
                && node.target.as_ref() == Some(target)
                && place::is_path_allowed(path, asked, on_conflict)
        }
    };
    if !is_it {
        let place = path.iter().map(|name| printable(name)).collect::<Vec<_>>().join("/");
        return Err(AttemptEnd::protocol(format!("asked for {asked}, it made {place}")));
    }
    let name = path.last().filter(|name| **name != asked.filename().as_str());
    let stored_as = name.filter(|_| !existing).cloned();
    Ok(Sent::Made { existing: *existing, stored_as })
}

fn path_of(place: &DocumentPath) -> Vec<String> {
    place.folder().iter().chain([place.filename()]).map(ToString::to_string).collect()
}
