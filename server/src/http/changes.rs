//! What has changed: `GET /delta`, which may wait, and `GET /delta/stream`, which says that there is
//! something (server-sent events).

use super::caller::Caller;
use super::extract::{Asked, Person};
use super::files::bad_cursor;
use super::item::ChangeItem;
use super::json::Json;
use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use towline_engine::{ChangeWatch, DeltaRequest, PAGE_CHANGES_MAX, Since, WAIT_MAX};
use towline_types::ChangeId;

/// What a client asks.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Where the answer before ended; `latest` for where the log ends now; without it, everything
    /// that there is.
    since: Option<String>,
    #[cfg_attr(test, param(minimum = 1, maximum = 2000))]
    limit: Option<u32>,
    /// How many seconds to wait for a change.
    #[serde(default)]
    #[cfg_attr(test, param(maximum = 55))]
    wait: u64,
    #[serde(rename = "token")]
    #[cfg_attr(test, param(ignore))]
    _token: Option<String>,
}

/// A page of the log of changes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub(super) struct Delta {
    items: Vec<ChangeItem>,
    /// What `since` of the next request is.
    next_cursor: String,
    /// Whether there is more behind this page.
    has_more: bool,
    #[cfg_attr(test, schema(value_type = u64))]
    latest_change_id: ChangeId,
}

/// How many changes a page has where the client does not say.
const LIMIT: u32 = 500;

/// `GET /delta`.
pub(super) async fn delta(
    Person(caller): Person,
    Asked(asked): Asked<Wanted>,
) -> Result<Response, Problem> {
    let since = match asked.since.as_deref() {
        None => Since::Nothing,
        Some("latest") => Since::Now,
        Some(cursor) => Since::Cursor(cursor.parse().map_err(|_| bad_cursor())?),
    };
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=PAGE_CHANGES_MAX).contains(&limit) {
        let message = format!("limit: at least 1 and at most {PAGE_CHANGES_MAX}");
        return Err(Problem::bad_request("limit", message));
    }
    let wait = Duration::from_secs(asked.wait);
    if wait > WAIT_MAX {
        let message = format!("wait: at most {} seconds", WAIT_MAX.as_secs());
        return Err(Problem::bad_request("wait", message));
    }
    let account = caller.account.clone();
    let delta = tokio::select! {
        biased;
        problem = caller.ends() => return Err(problem),
        delta = account.delta(DeltaRequest { since, limit, wait }) => delta?,
    };
    let body = Delta {
        items: delta.changes.iter().map(ChangeItem::of).collect(),
        next_cursor: delta.next.to_string(),
        has_more: delta.has_more,
        latest_change_id: delta.latest,
    };
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// How long nothing is said, so that no proxy takes the connection for dead.
const COMMENT_EVERY: Duration = Duration::from_secs(25);

/// Changes that follow each other within about this time are told together. The time is another one
/// for each event, so that not all clients ask at the same moment.
const TOGETHER_MS: u64 = 200;

/// How long a client waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 3000;

/// A stream of notices.
struct Notices {
    caller: Caller,
    watch: ChangeWatch,
    is_first: bool,
}

/// `GET /delta/stream`: an event at once, and one after each change.
pub(super) async fn stream(Person(caller): Person) -> Response {
    let watch = caller.account.watch();
    let notices = Notices { caller, watch, is_first: true };
    let body = stream::unfold(Some(notices), |notices| async {
        let mut notices = notices?;
        let (text, goes_on) = notices.next().await;
        let notices = goes_on.then_some(notices);
        Some((Ok::<_, Infallible>(Bytes::from(text)), notices))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx keeps back what it thinks is a page.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Notices {
    /// The next text, and whether more may follow it.
    async fn next(&mut self) -> (String, bool) {
        if !self.is_first {
            sleep(Duration::from_millis(fastrand::u64(TOGETHER_MS / 2..=TOGETHER_MS * 3 / 2)))
                .await;
        }
        let user = self.caller.identity.user;
        let change = tokio::select! {
            biased;
            _ = self.caller.ends() => return (bye(), false),
            change = timeout(COMMENT_EVERY, self.watch.next()) => change,
        };
        match change {
            Err(_) => (":\n\n".to_owned(), true),
            Ok(Ok(Some(last))) => {
                let retry =
                    if self.is_first { format!("retry: {RETRY_MS}\n") } else { String::new() };
                self.is_first = false;
                (retry + &event(user.get(), last), true)
            }
            Ok(Ok(None) | Err(_)) => (bye(), false),
        }
    }
}

fn event(user: u64, last: ChangeId) -> String {
    let data = json!({ "userId": user, "latestChangeId": last });
    format!("id: {last}\nevent: change\ndata: {data}\n\n")
}

/// The last event: the client's token has ended, or the server stops.
fn bye() -> String {
    "event: bye\ndata: {}\n\n".to_owned()
}
