//! `POST /uploads`: an upload begins.

use super::caller::Caller;
use super::client::Context;
use super::json::Json;
use super::problem::Problem;
use super::sender::Sender;
use super::shown::{Shown, time_text};
use super::state::{CHUNK_BYTES, UPLOAD_TOKEN_TTL};
use super::upload_headers;
use crate::token::DocumentRight;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use towline_engine::{Begun, Length, NewUpload, SendingMode};
use towline_state::catalog::{Description, NodeWish, TAG_BYTES, TAGS_MAX};
use towline_types::{
    DocumentId, DocumentPath, FileHash, FileSize, ModifiedTime, Name, NodeId, OnConflict,
    PermissionBits, SecondDigest, Sha256Hash,
};

/// What a client says of a new upload.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[cfg_attr(test, schema(as = NewUpload))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct New {
    /// The name of the file, without folders.
    #[cfg_attr(test, schema(min_length = 1, max_length = 255))]
    filename: String,
    /// The length of the file in bytes; without it, the length is told later.
    #[cfg_attr(test, schema(value_type = Option<u64>))]
    size: Option<FileSize>,
    /// The folder, with `/` between names.
    #[serde(default)]
    folder: String,
    /// The BLAKE3 hash of the file.
    #[cfg_attr(test, schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$"))]
    blake3: Option<FileHash>,
    /// The SHA-256 hash of the file.
    #[cfg_attr(test, schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$"))]
    sha256: Option<Sha256Hash>,
    /// Words by which the client finds the document again.
    #[serde(default)]
    tags: Vec<String>,
    /// What to do where the name is taken.
    #[cfg_attr(test, schema(value_type = Option<String>, pattern = "^(rename|reject|replace|skip)$"))]
    on_conflict: Option<OnConflict>,
    /// The file whose next version this is to be.
    #[cfg_attr(test, schema(value_type = Option<u64>, minimum = 1))]
    file_id: Option<NodeId>,
    /// The folder, by its number.
    #[cfg_attr(test, schema(value_type = Option<u64>, minimum = 1))]
    parent_id: Option<NodeId>,
    /// The version that is to be replaced, and no other.
    #[cfg_attr(test, schema(value_type = Option<u64>, minimum = 1))]
    base_version: Option<DocumentId>,
    /// When the file was last modified, in milliseconds since 1970.
    #[cfg_attr(test, schema(value_type = Option<i64>))]
    mtime: Option<ModifiedTime>,
    /// The permission bits of the file.
    #[cfg_attr(test, schema(value_type = Option<u32>))]
    mode: Option<PermissionBits>,
}

/// The answer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    #[cfg_attr(test, schema(value_type = u64))]
    upload_id: DocumentId,
    /// The address of the upload, with its token.
    upload_url: String,
    /// A token for this upload alone.
    token: String,
    /// The payload in bytes that the client is to send in one request.
    chunk_size: u32,
    /// When the token ends.
    expires_at: String,
}

/// Begins an upload.
pub(super) async fn create(
    context: &Context,
    caller: &Caller,
    headers: &HeaderMap,
    new: New,
) -> Result<Response, Problem> {
    caller.is_person()?;
    let new = wanted(new)?;
    match caller.account.begin(new).await? {
        Begun::Uploading(upload) => {
            let (id, is_empty) = (upload.id(), is_empty(upload.length()));
            let stored = if is_empty {
                let mut upload = upload;
                Some(upload.complete(None).await?)
            } else {
                // A paused upload waits for the first request with bytes.
                upload.pause().await;
                None
            };
            let mut response = created(context, caller, headers, id)?;
            if let Some(completion) = stored {
                upload_headers::durability(response.headers_mut(), &completion.receipt);
            }
            Ok(response)
        }
        Begun::Stored(completion) => {
            let shown = Shown::of_receipt(&completion.receipt);
            let mut response = (StatusCode::OK, Json(shown)).into_response();
            upload_headers::durability(response.headers_mut(), &completion.receipt);
            Ok(response)
        }
        Begun::Unfinished(_) => {
            Err(Problem::new(StatusCode::CONFLICT, "bad_state", "such an upload is unfinished"))
        }
    }
}

const fn is_empty(length: Length) -> bool {
    matches!(length, Length::Declared(filesize) if filesize.get() == 0)
}

/// What the engine is asked for.
fn wanted(new: New) -> Result<NewUpload, Problem> {
    let folder = new.folder.trim_matches('/');
    if new.parent_id.is_some() && !folder.is_empty() {
        return Err(Problem::bad_request("parentId", "parentId: the folder is named twice"));
    }
    let names = folder.split('/').filter(|name| !name.is_empty());
    let names = names.map(Name::new).collect::<Result<Vec<_>, _>>()?;
    let on_conflict = match (new.file_id, new.on_conflict) {
        (None, on_conflict) => on_conflict.unwrap_or_default(),
        (Some(_), _) if !names.is_empty() || new.parent_id.is_some() => {
            let message = "fileId: the place of the file is named twice";
            return Err(Problem::bad_request("fileId", message));
        }
        (Some(_), None | Some(OnConflict::Rename | OnConflict::Replace)) => OnConflict::Replace,
        (Some(_), Some(_)) => {
            let message = "onConflict: a file is named to be replaced";
            return Err(Problem::bad_request("onConflict", message));
        }
    };
    if new.base_version.is_some() && on_conflict != OnConflict::Replace {
        let message = "baseVersion: it is for a file that is replaced";
        return Err(Problem::bad_request("baseVersion", message));
    }
    check_tags(&new.tags)?;
    let path = DocumentPath::new(names, Name::new(&new.filename)?)?;
    let length = new.size.map_or(Length::Open { max: FileSize::MAX }, Length::Declared);
    Ok(NewUpload {
        on_conflict,
        hash: new.blake3,
        second_digest: SecondDigest::Sha256,
        description: Description { expected_sha256: new.sha256, tags: new.tags, metadata: None },
        chunk_size: Some(CHUNK_BYTES),
        wish: NodeWish {
            mtime: new.mtime,
            mode: new.mode,
            onto_node: new.file_id,
            into_folder: new.parent_id,
            base_version: new.base_version,
        },
        ..NewUpload::new(path, length, SendingMode::RANGES)
    })
}

fn check_tags(tags: &[String]) -> Result<(), Problem> {
    let is_legal =
        |tag: &String| (1..=TAG_BYTES).contains(&tag.len()) && !tag.chars().any(char::is_control);
    if tags.len() <= TAGS_MAX && tags.iter().all(is_legal) {
        return Ok(());
    }
    let message = format!(
        "tags: at most {TAGS_MAX}, each of 1 to {TAG_BYTES} bytes and without control characters"
    );
    Err(Problem::bad_request("tags", message))
}

fn created(
    context: &Context,
    caller: &Caller,
    headers: &HeaderMap,
    id: DocumentId,
) -> Result<Response, Problem> {
    let (token, expires_at) = token(context, caller, id)?;
    let created = Created {
        upload_id: id,
        upload_url: format!("{}/uploads/{id}?token={token}", origin(context, headers)),
        token,
        chunk_size: CHUNK_BYTES,
        expires_at,
    };
    let mut response = (StatusCode::CREATED, Json(created)).into_response();
    let answer = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/uploads/{id}")) {
        answer.insert(header::LOCATION, location);
    }
    answer.insert("upload-offset", HeaderValue::from(0));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A token for that upload, and when it ends.
pub(super) fn token(
    context: &Context,
    caller: &Caller,
    id: DocumentId,
) -> Result<(String, String), Problem> {
    let tokens = &context.shared.tokens;
    let issued = tokens.issue_for_document(
        &caller.identity,
        caller.until,
        DocumentRight::Fill,
        id,
        UPLOAD_TOKEN_TTL,
    );
    let (token, ends) = issued.map_err(|error| {
        tracing::error!(%error, "a token for an upload could not be made");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no token could be made")
    })?;
    Ok((token, time_text(ends)))
}

/// Scheme and host: those that the operator has said, else as the client has them; nothing where it
/// does not say.
pub(super) fn origin(context: &Context, headers: &HeaderMap) -> String {
    if let Some(url) = &context.shared.http.url {
        return url.to_string();
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let scheme = if Sender::of(context, headers).is_tls { "https" } else { "http" };
    host.map_or_else(String::new, |host| format!("{scheme}://{host}"))
}
