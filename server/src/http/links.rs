//! Links: addresses at which whoever has them fetches one document, for a time. A link ends before
//! that with the token by which it was asked for, and with the server's key that has signed it.

use super::client::Context;
use super::create::origin;
use super::download::{Document, look_up};
use super::extract::{Person, Said};
use super::files;
use super::json::Json;
use super::problem::Problem;
use super::shown::time_text;
use crate::token::DocumentRight;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;
use towline_state::catalog::NodeRef;
use towline_types::{DocumentId, NodeId, NodePath};

/// How long a link is good where the client does not say, in seconds.
const TTL_SECONDS: u64 = 3600;

/// The longest time, in seconds: 30 days.
const TTL_SECONDS_MAX: u64 = 30 * 24 * 3600;

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
    #[serde(default = "ttl_seconds")]
    #[cfg_attr(test, schema(minimum = 1, maximum = 2_592_000))]
    expires_in: u64,
}

const fn ttl_seconds() -> u64 {
    TTL_SECONDS
}

/// A link.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
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
    if !(1..=TTL_SECONDS_MAX).contains(&wanted.expires_in) {
        let message = format!("expiresIn: at least 1 and at most {TTL_SECONDS_MAX} seconds");
        return Err(Problem::bad_request("expiresIn", message));
    }
    let id = match (wanted.document_id, wanted.file_id, wanted.path) {
        (Some(id), None, None) => id,
        (None, Some(node), None) => files::current(&caller, NodeRef::Id(node)).await?,
        (None, None, Some(path)) => {
            files::current(&caller, NodeRef::Path(NodePath::typed(&path)?)).await?
        }
        _ => {
            let message = "one of documentId, fileId and path was expected";
            return Err(Problem::bad_request("documentId", message));
        }
    };
    let Document { id, name, .. } = look_up(&caller, id).await?;
    let issued = context.shared.tokens.issue_for_document(
        &caller.identity,
        caller.until,
        DocumentRight::Fetch,
        id,
        Duration::from_secs(wanted.expires_in),
    );
    let (token, ends) = issued.map_err(|error| {
        tracing::error!(%error, "a token for a download could not be made");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no token could be made")
    })?;
    let origin = origin(&context, &headers);
    let url = format!("{origin}/d/{id}/{}?token={token}", percent_encoded(&name));
    let link = Link { url, document_id: id, expires_at: time_text(ends) };
    let mut response = (StatusCode::CREATED, Json(link)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A name as a part of a URL (RFC 3986, section 2.3).
fn percent_encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
