//! What the HTTP door shows of an upload after a disaster: the same as the other door, and what was
//! promised.

use super::crash_client::Gone;
use super::ledger::{Entry, Ledger};
use crate::http_client::{HttpAnswer, HttpClient};
use bytes::Bytes;
use towline_protocol::reply::Status;
use towline_types::DocumentId;

/// Whether both doors show the same state. They do not where it has changed between the two
/// questions. An upload that both show is compared with what is known of it.
pub(super) async fn agrees(
    http: &HttpClient,
    ledger: &Ledger,
    (id, known): (DocumentId, &Entry),
    status: &Status,
) -> Result<bool, Gone> {
    let answer = ask(http, "GET", &format!("/uploads/{id}")).await?;
    if answer.status != 200 {
        ledger.breach(format!("{id}: granted, and not shown over HTTP: {answer:?}"));
        return Ok(true);
    }
    let shown = answer.json();
    let word = shown["status"].as_str().unwrap_or_default();
    let is_same = match status.status.as_str() {
        "uploading" => matches!(word, "INITIATED" | "UPLOADING" | "PAUSED"),
        "publishing" => word == "FINALIZING",
        "completed" => word == "AVAILABLE",
        "failed" => word == "FAILED",
        _ => word == "CANCELLED",
    };
    if !is_same {
        return Ok(false);
    }
    let offset = shown["nextOffset"].as_u64().unwrap_or_default();
    if word != "FAILED" && word != "CANCELLED" && offset < known.promised() {
        let promised = known.promised();
        ledger.breach(format!("{id}: {promised} bytes were durable (P1), and now: {shown}"));
    }
    if word == "AVAILABLE" {
        is_whole(http, ledger, id, known).await?;
    }
    Ok(true)
}

/// A document is given out as it was sent (P2, P3).
async fn is_whole(
    http: &HttpClient,
    ledger: &Ledger,
    id: DocumentId,
    known: &Entry,
) -> Result<(), Gone> {
    let head = ask(http, "HEAD", &format!("/uploads/{id}")).await?;
    if head.header("towline-document") != Some(&id.to_string()) {
        ledger.breach(format!("{id}: completed, and HEAD says no document: {head:?}"));
    }
    let content = ask(http, "GET", &format!("/documents/{id}/content")).await?;
    if content.status != 200 || content.body[..] != known.test_file.bytes {
        let (code, length) = (content.status, content.body.len());
        ledger.breach(format!("{id}: completed, and given out is {code} with {length} bytes (P3)"));
    }
    ledger.read_over_http();
    Ok(())
}

async fn ask(http: &HttpClient, method: &str, path: &str) -> Result<HttpAnswer, Gone> {
    http.try_send(method, path, &[], Bytes::new()).await.map_err(|_| Gone)
}
