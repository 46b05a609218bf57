//! Files, folders and links: lists, one of them, and what changes them.

use super::caller::Caller;
use super::extract::{Asked, DocumentNumber, NodeNumber, Person, Said, SaidOrNothing};
use super::item::{Item, Items, VersionItem};
use super::json::Json;
use super::problem::Problem;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use towline_engine::{ListFilter, ListRequest, PAGE_ENTRIES_MAX, PlacedNode};
use towline_state::catalog::{Cursor, Depth, ListEntry, NodeRef, RemovalGuard};
use towline_types::{ChangeId, DocumentId, Name, NodeId, NodeKind, NodePath};

/// How many entries a page has where the client does not say.
const LIMIT: u32 = 500;

/// Which entries are listed.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Listed {
    /// The folder, with `/` between names; none is the user's own.
    #[serde(default)]
    folder: String,
    /// Whether what lies in the folders below is listed too.
    #[serde(default)]
    recursive: bool,
    /// `file`, `folder` or `link`.
    #[cfg_attr(test, param(value_type = Option<String>, pattern = "^(file|folder|link)$"))]
    kind: Option<NodeKind>,
    /// A pattern for the name.
    name: Option<String>,
    after: Option<String>,
    #[cfg_attr(test, param(minimum = 1, maximum = 1000))]
    limit: Option<u32>,
    /// Where the client has no header for it.
    #[serde(rename = "token")]
    #[cfg_attr(test, param(ignore))]
    _token: Option<String>,
}

/// `GET /documents`.
pub(super) async fn list(
    Person(caller): Person,
    Asked(listed): Asked<Listed>,
) -> Result<Response, Problem> {
    let name = listed.name.as_deref().map(str::parse).transpose();
    let folder = NodePath::typed(&listed.folder)?;
    let request = ListRequest {
        folder: NodeRef::Path(folder.clone()),
        depth: if listed.recursive { Depth::Recursive } else { Depth::Children },
        filter: ListFilter {
            kinds: listed.kind.into_iter().collect(),
            name: name.map_err(|error: towline_types::BadPattern| {
                Problem::bad_request("name", format!("name: {error}"))
            })?,
        },
        after: position(listed.after.as_deref())?,
        limit: limit(listed.limit)?,
    };
    let (_, page) = caller.account.list(request).await?;
    let below = |entry: &ListEntry| {
        let names = folder.names().iter().chain(entry.folder.names()).cloned();
        // A folder that is there is not too deep.
        NodePath::new(names.collect()).unwrap_or_default()
    };
    let items = page.entries.iter().map(|entry| Item::within(&entry.node, &below(entry))).collect();
    let next = page.next.as_ref().map(ToString::to_string);
    Ok(no_store(Json(Items { items, next }).into_response()))
}

/// `GET /documents/{id}`: a version, with what the client has said of it.
pub(super) async fn document(
    Person(caller): Person,
    DocumentNumber(id): DocumentNumber,
) -> Result<Response, Problem> {
    let completion = caller.account.receipt(id).await?;
    let said = caller.account.description(id).await?;
    let shown = super::shown::Shown::of_receipt(&completion.receipt).described(said);
    let shown = shown.scanned(caller.account.verdict(id).await?);
    Ok(no_store(Json(shown).into_response()))
}

/// `GET /files/{id}`.
pub(super) async fn show(
    Person(caller): Person,
    NodeNumber(id): NodeNumber,
) -> Result<Response, Problem> {
    let placed = caller.account.stat(NodeRef::Id(id)).await?;
    Ok(no_store(Json(Item::placed(&placed)).into_response()))
}

/// The current version of a file.
pub(super) async fn current(caller: &Caller, node: NodeRef) -> Result<DocumentId, Problem> {
    let placed = caller.account.stat(node).await?;
    placed.node.version.map(|version| version.document_id).ok_or_else(|| {
        let message = "it is no file, so it has no bytes";
        Problem::new(StatusCode::CONFLICT, "bad_state", message)
    })
}

/// A new folder.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewFolder {
    /// The folder that it lies in; none is the user's own.
    #[cfg_attr(test, schema(value_type = Option<u64>, minimum = 1))]
    parent_id: Option<NodeId>,
    name: String,
    /// `folder`.
    #[cfg_attr(test, schema(value_type = String, pattern = "^folder$"))]
    kind: NodeKind,
}

/// `POST /files` with JSON.
pub(super) async fn make(
    Person(caller): Person,
    Said(new): Said<NewFolder>,
) -> Result<Response, Problem> {
    if new.kind != NodeKind::Folder {
        let message = "kind: only a folder is made so; a file is uploaded";
        return Err(Problem::bad_request("kind", message));
    }
    let path = in_folder(&caller, new.parent_id, &new.name).await?;
    let placed = caller.account.make_folder(path, None).await?;
    if placed.existing {
        let message = "there is a folder of that name";
        let problem = Problem::new(StatusCode::CONFLICT, "exists", message);
        return Err(problem.with_current(Item::placed(&placed)));
    }
    Ok((StatusCode::CREATED, Json(Item::placed(&placed))).into_response())
}

/// A new place for a node. What is left out stays as it is.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewPlace {
    /// The folder; `null` is the user's own.
    #[serde(default, deserialize_with = "said")]
    #[cfg_attr(test, schema(value_type = Option<u64>, minimum = 1))]
    parent_id: Option<Option<NodeId>>,
    name: Option<String>,
}

/// A member that may be `null`, which is not the same as left out.
#[allow(clippy::option_option, reason = "left out, null, or a number")]
fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<NodeId>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// `PATCH /files/{id}`: a move.
pub(super) async fn relocate(
    Person(caller): Person,
    NodeNumber(id): NodeNumber,
    headers: HeaderMap,
    Said(new): Said<NewPlace>,
) -> Result<Response, Problem> {
    let place_rev = match if_match(&headers, 'p')? {
        Some(rev) => Some(rev),
        None if headers.contains_key(header::IF_MATCH) => None,
        None => {
            let message = "If-Match: \"p\" and the placeRev of the file, or *, was expected";
            return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "bad_request", message));
        }
    };
    let placed = caller.account.stat(NodeRef::Id(id)).await?;
    let parent = new.parent_id.unwrap_or(placed.node.parent_id);
    let name = new.name.unwrap_or_else(|| placed.node.name.to_string());
    let to = in_folder(&caller, parent, &name).await?;
    let moved = caller.account.move_node(NodeRef::Id(id), to, place_rev).await?;
    Ok(Json(Item::placed(&moved)).into_response())
}

/// What a client says when it removes a node.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub(super) struct Removing {
    /// What the client has seen: with it a folder goes with all that is below, where nothing of
    /// that is newer.
    cursor: Option<String>,
    /// A folder goes with all that is below, whatever it is.
    #[serde(default)]
    recursive: bool,
    #[serde(rename = "token")]
    #[cfg_attr(test, param(ignore))]
    _token: Option<String>,
}

/// `DELETE /files/{id}`: into the trash.
pub(super) async fn remove(
    Person(caller): Person,
    NodeNumber(id): NodeNumber,
    headers: HeaderMap,
    Asked(said): Asked<Removing>,
) -> Result<Response, Problem> {
    let placed = caller.account.stat(NodeRef::Id(id)).await?;
    if placed.path.is_none() {
        // It is gone already, as the client wants it.
        return Ok(Json(Item::placed(&placed)).into_response());
    }
    let seen = said.cursor.as_deref().map(seen).transpose()?;
    let version: Option<u64> = if_match(&headers, 'v')?.map(u64::from);
    let guard = RemovalGuard {
        version: version.and_then(|version| DocumentId::try_from(version).ok()),
        place_rev: None,
        seen,
        recursive: said.recursive || seen.is_some(),
    };
    let removed = caller.account.remove(NodeRef::Id(id), guard).await?;
    Ok(Json(Item::placed(&removed)).into_response())
}

/// A page of the versions of a file, the newest first.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(super) struct Versions {
    items: Vec<VersionItem>,
    /// What `after` of the next page is; none behind the last page.
    next: Option<String>,
}

/// `GET /files/{id}/versions`.
pub(super) async fn versions(
    Person(caller): Person,
    NodeNumber(id): NodeNumber,
    Asked(page): Asked<Page>,
) -> Result<Response, Problem> {
    let after = position(page.after.as_deref())?;
    let limit = limit(page.limit)?;
    let page = caller.account.versions(NodeRef::Id(id), after, limit).await?;
    let items = page.versions.iter().map(VersionItem::of).collect();
    let next = page.next.as_ref().map(ToString::to_string);
    Ok(no_store(Json(Versions { items, next }).into_response()))
}

/// A page of a list.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<String>,
    #[cfg_attr(test, param(minimum = 1, maximum = 1000))]
    limit: Option<u32>,
    #[serde(rename = "token")]
    #[cfg_attr(test, param(ignore))]
    _token: Option<String>,
}

/// `GET /trash`.
pub(super) async fn trash(
    Person(caller): Person,
    Asked(page): Asked<Page>,
) -> Result<Response, Problem> {
    let after = position(page.after.as_deref())?;
    let page = caller.account.trash(ListFilter::default(), after, limit(page.limit)?).await?;
    let items = page.entries.iter().map(|entry| match entry.path.parent() {
        Some(folder) => Item::within(&entry.node, &folder),
        None => Item::of(&entry.node),
    });
    let items = items.collect();
    let next = page.next.as_ref().map(ToString::to_string);
    Ok(no_store(Json(Items { items, next }).into_response()))
}

/// What is restored.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Restoring {
    /// An older version; without it, the node comes back from the trash.
    #[cfg_attr(test, schema(value_type = Option<u64>, minimum = 1))]
    version_id: Option<DocumentId>,
}

/// `POST /files/{id}/restore`.
pub(super) async fn restore(
    Person(caller): Person,
    NodeNumber(id): NodeNumber,
    SaidOrNothing(said): SaidOrNothing<Restoring>,
) -> Result<Response, Problem> {
    let node = NodeRef::Id(id);
    let placed: PlacedNode = match said.version_id {
        Some(version) => caller.account.restore_version(node, version).await?,
        None => caller.account.restore(node).await?,
    };
    Ok(Json(Item::placed(&placed)).into_response())
}

/// The place of that name in a folder, which is named by its number.
async fn in_folder(
    caller: &Caller,
    folder: Option<NodeId>,
    name: &str,
) -> Result<NodePath, Problem> {
    let name = Name::new(name)?;
    let path = match folder {
        None => NodePath::ROOT,
        Some(id) => {
            let placed = caller.account.stat(NodeRef::Id(id)).await?;
            let is_folder = placed.node.kind == NodeKind::Folder;
            let path = placed.path.filter(|_| is_folder);
            path.ok_or_else(|| {
                let message = "parentId: there is no such folder";
                Problem::new(StatusCode::NOT_FOUND, "not_found", message)
            })?
        }
    };
    Ok(path.join(name)?)
}

/// The number behind that letter in `If-Match: "v12"`; none for `*`, or without the header.
fn if_match(headers: &HeaderMap, letter: char) -> Result<Option<ChangeId>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH).filter(|value| *value != "*") else {
        return Ok(None);
    };
    let text = value.to_str().ok().map(|text| text.trim().trim_matches('"'));
    let number = text.and_then(|text| text.strip_prefix(letter)?.parse().ok());
    number.map(Some).ok_or_else(|| {
        let message = format!("If-Match: \"{letter}\" with a number behind it was expected");
        Problem::bad_request("If-Match", message)
    })
}

/// The last change that a cursor knows of.
fn seen(cursor: &str) -> Result<ChangeId, Problem> {
    let cursor: Cursor = cursor.parse().map_err(|_| bad_cursor())?;
    Ok(cursor.last_change())
}

fn limit(said: Option<u32>) -> Result<u32, Problem> {
    match said {
        None => Ok(LIMIT),
        Some(limit) if (1..=PAGE_ENTRIES_MAX).contains(&limit) => Ok(limit),
        Some(_) => {
            let message = format!("limit: at least 1 and at most {PAGE_ENTRIES_MAX}");
            Err(Problem::bad_request("limit", message))
        }
    }
}

/// Where a list goes on.
fn position<T: std::str::FromStr>(after: Option<&str>) -> Result<Option<T>, Problem> {
    after.map(|after| after.parse().map_err(|_| bad_cursor())).transpose()
}

pub(super) fn bad_cursor() -> Problem {
    let message = "that is no text of this server's from which to go on";
    Problem::new(StatusCode::BAD_REQUEST, "bad_cursor", message)
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
