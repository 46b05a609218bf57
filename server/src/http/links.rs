//! `POST /download-url`: a link, with which others fetch one document.

use super::client::Context;
use super::create::origin;
use super::extract::{Person, Said};
use super::json::Json;
use super::problem::Problem;
use super::shown::time_text;
use crate::links::{Link, LinkMaker, LinkTime};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use towline_engine::ReadTarget;
use towline_protocol::limits::LINK_SECONDS_DEFAULT;
use towline_state::catalog::NodeRef;
use towline_types::{DocumentId, NodeId, NodePath};

/// What a client wants a link to: one of the three.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewLink {
    /// This version of a file.
    #[cfg_attr(test, schema(value_type = Option<u64>, minimum = 1))]
    document_id: Option<DocumentId>,
    /// The version that this file has now.
    #[cfg_attr(test, schema(value_type = Option<u64>, minimum = 1))]
    file_id: Option<NodeId>,
    /// The same by the place of the file, with `/` between names.
    path: Option<String>,
    /// How many seconds the link is good.
    #[serde(default = "usual_seconds")]
    #[cfg_attr(test, schema(minimum = 1, maximum = 2_592_000))]
    expires_in: u64,
}

const fn usual_seconds() -> u64 {
    LINK_SECONDS_DEFAULT
}

/// A link.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[cfg_attr(test, schema(as = Link))]
#[serde(rename_all = "camelCase")]
pub(super) struct WholeLink {
    url: String,
    #[cfg_attr(test, schema(value_type = u64))]
    document_id: DocumentId,
    expires_at: String,
}

/// `POST /download-url`.
pub(super) async fn make(
    State(context): State<Context>,
    Person(caller): Person,
    headers: HeaderMap,
    Said(wanted): Said<NewLink>,
) -> Result<Response, Problem> {
    let time = LinkTime::of_seconds(Some(wanted.expires_in))
        .ok_or_else(|| Problem::bad_request("expiresIn", LinkTime::out_of_range("expiresIn")))?;
    let target = match (wanted.document_id, wanted.file_id, wanted.path) {
        (Some(id), None, None) => ReadTarget::Version(id),
        (None, Some(node), None) => ReadTarget::Current(NodeRef::Id(node)),
        (None, None, Some(path)) => ReadTarget::Current(NodeRef::Path(NodePath::typed(&path)?)),
        _ => {
            let message = "one of documentId, fileId and path was expected";
            return Err(Problem::bad_request("documentId", message));
        }
    };
    let maker = LinkMaker {
        shared: &context.shared,
        account: &caller.account,
        identity: &caller.identity,
        until: caller.until,
    };
    let Link { document_id, path, expires_at } = maker.make(target, time).await?;
    let url = format!("{}{path}", origin(&context, &headers));
    let link = WholeLink { url, document_id, expires_at: time_text(expires_at) };
    let mut response = (StatusCode::CREATED, Json(link)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
