//! Requests about a user's files, folders and links, and the answers to them.

use super::{bad_request, refuse_query};
use crate::tcp::node::{held, shown};
use std::time::Duration;
use towline_engine::{
    AuditAction, Command, DeltaRequest, ListFilter, ListRequest, NewLink, NodeAction, PlacedNode,
    RejectedRequest, Rejection, RejectionKind, Since, TreeAnswer, TreeRequest, UnfinishedUpload,
};
use towline_protocol::limits::{
    DELTA_ITEMS_DEFAULT, DELTA_ITEMS_MAX, DELTA_WAIT_MS_MAX, LIST_ENTRIES_DEFAULT, LIST_ENTRIES_MAX,
};
use towline_protocol::reply::{
    Change, ChangeNotice, Delta, DeltaEnd, Listing, NodeAnswer, Operation, Part, Reply,
    UploadState, Uploads, Version, Versions,
};
use towline_protocol::request::{self, BadTarget, Listed, Target};
use towline_protocol::{Channel, Node, frame};
use towline_state::catalog::{self, Changed, Depth, NodeRef, NodeVersion, Op, RemovalGuard};
use towline_types::{BadPattern, Name, NodePath, Timestamp};

/// The command of a request, or what is wrong with it.
fn command(request: Result<TreeRequest, Rejection>) -> Command {
    match request {
        Ok(request) => Command::Tree(Box::new(request)),
        Err(rejection) => refuse_query(rejection),
    }
}

/// The same for a request that changes something: the audit log has it, whatever is wrong with it.
fn changing(action: AuditAction, request: Result<TreeRequest, Rejection>) -> Command {
    match request {
        Ok(request) => Command::Tree(Box::new(request)),
        Err(rejection) => Command::Reject { rejection, request: RejectedRequest::Tree(action) },
    }
}

pub(super) fn list(list: &request::List) -> Command {
    command(listed(list))
}

fn listed(list: &request::List) -> Result<TreeRequest, Rejection> {
    let limit = within("limit", list.limit, LIST_ENTRIES_DEFAULT, LIST_ENTRIES_MAX)?;
    let filter = filter(list)?;
    Ok(match list.listed().map_err(bad_target)? {
        Listed::Trash => {
            TreeRequest::Trash { filter, after: position(list.after.as_deref())?, limit }
        }
        Listed::Node(target) => TreeRequest::List(ListRequest {
            folder: node(target),
            depth: if list.recursive { Depth::Recursive } else { Depth::Children },
            filter,
            after: position(list.after.as_deref())?,
            limit,
        }),
    })
}

fn filter(list: &request::List) -> Result<ListFilter, Rejection> {
    if list.kinds.as_ref().is_some_and(Vec::is_empty) {
        return Err(bad_request("kinds", "one kind at least; without it, all of them are listed"));
    }
    let name = list.name.as_deref().map(str::parse).transpose();
    let name = name.map_err(|error: BadPattern| bad_request("name", &error.to_string()))?;
    Ok(ListFilter { kinds: list.kinds.clone().unwrap_or_default(), name })
}

pub(super) fn uploads(request: &request::Uploads) -> Command {
    let limit = within("limit", request.limit, LIST_ENTRIES_DEFAULT, LIST_ENTRIES_MAX);
    let after = position(request.after.as_deref());
    command(limit.and_then(|limit| Ok(TreeRequest::Uploads { after: after?, limit })))
}

pub(super) fn stat(stat: &request::Stat) -> Command {
    command(stat.target().map_err(bad_target).map(|target| TreeRequest::Stat(node(target))))
}

pub(super) fn mkdir(mkdir: &request::Mkdir) -> Command {
    let place = place("path", mkdir.place().map_err(super::bad_name));
    let made = place.map(|path| TreeRequest::MakeFolder { path, mode: mkdir.mode });
    changing(AuditAction::MakeFolder, made)
}

pub(super) fn link(link: request::Link) -> Command {
    let place = place("path", link.place().map_err(super::bad_name));
    let request::Link { target, mtime_ms: mtime, on_conflict, .. } = link;
    let link = |path| TreeRequest::MakeLink(NewLink { path, target, mtime, on_conflict });
    changing(AuditAction::MakeLink, place.map(link))
}

pub(super) fn move_node(request: &request::Move) -> Command {
    let moved = request.target().map_err(bad_target).and_then(|target| {
        let to = place("to", request.destination().map_err(super::bad_name))?;
        Ok(TreeRequest::Move { node: node(target), to, place_rev: request.place_rev })
    });
    changing(AuditAction::Move, moved)
}

pub(super) fn remove(request: &request::Remove) -> Command {
    let &request::Remove { version, place_rev, seen, recursive, .. } = request;
    let removed = request.target().map_err(bad_target).map(|target| TreeRequest::Remove {
        node: node(target),
        guard: RemovalGuard { version, place_rev, seen, recursive },
    });
    changing(AuditAction::Remove, removed)
}

pub(super) fn restore(request: &request::Restore) -> Command {
    let version = request.version;
    let restored = request.target().map_err(bad_target).map(|target| match version {
        None => TreeRequest::Restore(node(target)),
        Some(version) => TreeRequest::RestoreVersion { file: node(target), version },
    });
    changing(AuditAction::Restore, restored)
}

pub(super) fn versions(request: &request::Versions) -> Command {
    command(request.target().map_err(bad_target).and_then(|target| {
        let limit = within("limit", request.limit, LIST_ENTRIES_DEFAULT, LIST_ENTRIES_MAX)?;
        Ok(TreeRequest::Versions {
            file: node(target),
            after: position(request.after.as_deref())?,
            limit,
        })
    }))
}

pub(super) fn delta(request: &request::Delta) -> Command {
    command(changes(request))
}

fn changes(request: &request::Delta) -> Result<TreeRequest, Rejection> {
    let since = match request.since.as_deref() {
        None => Since::Nothing,
        Some("latest") => Since::Now,
        Some(cursor) => Since::Cursor(cursor.parse().map_err(|_| bad_cursor())?),
    };
    let limit = within("limit", request.limit, DELTA_ITEMS_DEFAULT, DELTA_ITEMS_MAX)?;
    let wait_ms = request.wait_ms.unwrap_or(0);
    if wait_ms > DELTA_WAIT_MS_MAX {
        return Err(out_of_range("wait_ms", u64::from(DELTA_WAIT_MS_MAX)));
    }
    let wait = Duration::from_millis(u64::from(wait_ms));
    Ok(TreeRequest::Delta(DeltaRequest { since, limit, wait }))
}

pub(super) fn watch() -> Command {
    command(Ok(TreeRequest::Watch))
}

pub(super) fn node(target: Target) -> NodeRef {
    match target {
        Target::Path(path) => NodeRef::Path(path),
        Target::Node(node) => NodeRef::Id(node),
    }
}

/// A place in which something is to be made. The user's own folder is none.
fn place(field: &str, path: Result<NodePath, Rejection>) -> Result<NodePath, Rejection> {
    let path = path?;
    if path.is_root() {
        return Err(bad_request(field, "it needs a name at least"));
    }
    Ok(path)
}

pub(super) fn bad_target(error: BadTarget) -> Rejection {
    match error {
        BadTarget::NotOne => bad_request("path", &error.to_string()),
        BadTarget::Name(error) => super::bad_name(error),
    }
}

/// A number of entries, which may be left out.
fn within(field: &str, number: Option<u32>, default: u32, max: u32) -> Result<u32, Rejection> {
    match number {
        None => Ok(default),
        Some(number) if (1..=max).contains(&number) => Ok(number),
        Some(_) => Err(out_of_range(field, u64::from(max))),
    }
}

/// Where a list goes on.
fn position<T: std::str::FromStr>(after: Option<&str>) -> Result<Option<T>, Rejection> {
    after.map(|after| after.parse().map_err(|_| bad_cursor())).transpose()
}

fn out_of_range(field: &str, max: u64) -> Rejection {
    let kind = RejectionKind::BadRequest { field: Some(field.to_owned()), max: Some(max) };
    Rejection::new(kind, format!("{field}: at least 1 and at most {max}"))
}

fn bad_cursor() -> Rejection {
    Rejection::new(RejectionKind::BadCursor, "that is no text of this server's from which to go on")
}

/// The frames of an answer.
pub(super) fn frames(channel: Channel, answer: &TreeAnswer) -> Vec<u8> {
    match answer {
        TreeAnswer::Node { action, placed } => {
            frame::control(&node_reply(*action, node_answer(channel, placed)))
        }
        TreeAnswer::List { node, page, .. } => {
            let node = node.as_deref().map(|node| Box::new(shown(node)));
            let entries = page
                .entries
                .iter()
                .map(|entry| Node { folder: names(&entry.folder), ..shown(&entry.node) });
            let next = page.next.as_ref().map(ToString::to_string);
            Listing::frames(channel, node, entries.collect(), next)
        }
        TreeAnswer::Trash { page, .. } => {
            let next = page.next.as_ref().map(ToString::to_string);
            let removed = page.entries.iter().map(|entry| Node {
                folder: entry.path.parent().as_ref().map(names).unwrap_or_default(),
                ..shown(&entry.node)
            });
            Listing::frames(channel, None, removed.collect(), next)
        }
        TreeAnswer::Uploads { page, .. } => {
            let next = page.next.map(|next| next.to_string());
            Uploads::frames(channel, page.uploads.iter().map(upload).collect(), next)
        }
        TreeAnswer::Versions { node, page, kept_for, .. } => {
            let versions = page.versions.iter().map(|one| version(one, *kept_for)).collect();
            let next = page.next.map(|next| next.to_string());
            Versions::frames(channel, Some(Box::new(shown(node))), versions, next)
        }
        TreeAnswer::Delta { delta, .. } => {
            let end = DeltaEnd {
                cursor: delta.next.to_string(),
                more: delta.has_more,
                latest: delta.latest,
            };
            Delta::frames(channel, delta.changes.iter().map(change).collect(), end)
        }
        TreeAnswer::LastChange(latest) => {
            frame::control(&Reply::Change(ChangeNotice { channel, latest: *latest }))
        }
    }
}

fn node_reply(action: NodeAction, answer: NodeAnswer) -> Reply {
    match action {
        NodeAction::Stat => Reply::Stat(answer),
        NodeAction::MakeFolder => Reply::Mkdir(answer),
        NodeAction::MakeLink => Reply::Link(answer),
        NodeAction::Move => Reply::Move(answer),
        NodeAction::Remove => Reply::Remove(answer),
        NodeAction::Restore => Reply::Restore(answer),
    }
}

fn node_answer(channel: Channel, placed: &PlacedNode) -> NodeAnswer {
    let PlacedNode { node, path, existing } = placed;
    let path = path.as_ref().map(names).unwrap_or_default();
    NodeAnswer { channel, node: Box::new(shown(node)), path, existing: *existing }
}

fn names(path: &NodePath) -> Vec<String> {
    path.names().iter().map(Name::to_string).collect()
}

fn change(change: &catalog::Change) -> Change {
    Change {
        change_id: change.change_id,
        op: match change.op {
            Op::Create => Operation::Create,
            Op::Update => Operation::Update,
            Op::Delete => Operation::Delete,
        },
        changed: match change.changed {
            Changed::Content => vec![Part::Content],
            Changed::Place => vec![Part::Place],
            Changed::Both => vec![Part::Content, Part::Place],
            Changed::Neither => Vec::new(),
        },
        at: change.at,
        node: shown(&change.node),
    }
}

pub(crate) fn upload(upload: &UnfinishedUpload) -> UploadState {
    let (filename, folder) = super::names(&upload.path);
    UploadState {
        document_id: upload.document_id,
        status: upload.phase.to_string(),
        filename,
        folder,
        // While the length of an upload is not known, its client is told the largest length that it
        // may get.
        filesize: upload.length.bound(),
        received: upload.received,
        durable: super::told(upload.durable),
        active: upload.is_active,
        expires_at: upload.expires_at,
    }
}

fn version(version: &catalog::FileVersion, kept_for: Duration) -> Version {
    let NodeVersion { document_id, filesize, blake3, availability } = version.version;
    Version {
        version: document_id,
        size: filesize,
        blake3,
        created_at: version.created_at,
        mtime_ms: version.mtime,
        held: held(availability),
        current: version.replaced_at.is_none(),
        keep_until: version.replaced_at.and_then(|replaced_at| kept_until(replaced_at, kept_for)),
    }
}

/// The time from which on the server may delete a version; `None` where it is kept for ever, or for
/// longer than a timestamp can say.
fn kept_until(replaced_at: Timestamp, kept_for: Duration) -> Option<Timestamp> {
    let kept_ms = u64::try_from(kept_for.as_millis()).ok()?;
    Timestamp::try_from(replaced_at.get().checked_add(kept_ms)?).ok()
}
