//! What an answer over HTTP promises, and what of it is written into the ledger.

use super::ledger::{Entry, Ledger, Survives};
use crate::http_client::HttpAnswer;
use crate::test_file::TestFile;
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;
use towline_protocol::{Channel, Code, ErrorReply, Reply};
use towline_types::{DocumentId, Offset, UserId};

/// What a request asks for, and with that what its answer can promise.
pub(super) enum Promise {
    /// An upload that begins, with bytes or without.
    Begun(Entry),
    /// How far an upload is, or that it is a document.
    Upload(Known),
    /// An upload that ends without a document.
    Cancelled(DocumentId),
    /// These bytes of a document that has to be there.
    Bytes(DocumentId, Arc<TestFile>, Range<usize>),
}

/// An upload, and what was promised of it before a question.
pub(super) struct Known {
    id: DocumentId,
    entry: Option<Entry>,
}

impl Known {
    pub(super) fn of(ledger: &Ledger, id: DocumentId) -> Self {
        Self { id, entry: ledger.entry(id) }
    }
}

impl Promise {
    /// Writes down what the answer promises, and compares it with what was promised before.
    pub(super) fn record(self, ledger: &Ledger, user: UserId, answer: &HttpAnswer) {
        let id = match &self {
            Self::Begun(_) => None,
            Self::Upload(known) => Some(known.id),
            Self::Cancelled(id) | Self::Bytes(id, ..) => Some(*id),
        };
        if let Some(error) = error(id, answer) {
            ledger.hear(user, &Reply::Error(error));
        }
        match self {
            Self::Begun(entry) if answer.status == 201 => begun(ledger, entry, answer),
            Self::Upload(known) => stands(ledger, &known, answer),
            Self::Cancelled(id) if answer.status == 204 => {
                ledger.cancelled(id);
                ledger.promised_over_http();
            }
            Self::Bytes(id, test_file, range) => bytes(ledger, id, &test_file, range, answer),
            Self::Begun(_) | Self::Cancelled(_) => {}
        }
    }
}

fn begun(ledger: &Ledger, entry: Entry, answer: &HttpAnswer) {
    let Some(id) = number(answer) else {
        return ledger.breach(format!("an upload begins without a number: {answer:?}"));
    };
    ledger.begun(id, entry);
    ledger.promised_over_http();
    // The request may have had bytes.
    stands(ledger, &Known::of(ledger, id), answer);
}

/// Records the offset of a 2xx (P1), and the document (P3).
fn stands(ledger: &Ledger, known: &Known, answer: &HttpAnswer) {
    let id = known.id;
    let survives = survives(answer);
    if let (Some(entry), Some(offset)) = (&known.entry, answer.upload_offset())
        && offset < entry.promised()
    {
        let promised = entry.promised();
        ledger.breach(format!("{id}: {promised} bytes were durable (P1), and now: {answer:?}"));
    }
    if answer.status >= 300 {
        return;
    }
    if let Some(offset) = answer.upload_offset().and_then(|offset| Offset::try_from(offset).ok())
        && survives == Survives::PowerCuts
    {
        ledger.durable(id, offset);
        ledger.promised_over_http();
    }
    let shown: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let hash = shown.as_ref().and_then(|shown| shown["blake3"].as_str());
    if let (Some(hash), Some(entry)) = (hash, &known.entry)
        && entry.hash.to_string() != hash
    {
        ledger.breach(format!("{id}: a document of other bytes (P2): {answer:?}"));
    }
    if answer.header("towline-document").is_some() || hash.is_some() {
        ledger.stored(id, survives);
        ledger.promised_over_http();
    }
}

/// A relaxed server says where a document does not survive a power cut yet.
fn survives(answer: &HttpAnswer) -> Survives {
    match answer.header("towline-durable") {
        Some("?0") => Survives::Kills,
        _ => Survives::PowerCuts,
    }
}

fn bytes(
    ledger: &Ledger,
    id: DocumentId,
    test_file: &TestFile,
    range: Range<usize>,
    answer: &HttpAnswer,
) {
    if !matches!(answer.status, 200 | 206) {
        return ledger.breach(format!("{id}: confirmed, and not given out (P3): {answer:?}"));
    }
    if answer.body[..] != test_file.bytes[range] {
        return ledger.breach(format!("{id}: other bytes are given out (P2)"));
    }
    ledger.read_over_http();
}

/// The number of the upload that begins.
pub(super) fn number(answer: &HttpAnswer) -> Option<DocumentId> {
    let (_, number) = answer.header("location")?.rsplit_once("/uploads/")?;
    number.parse().ok().and_then(|number: u64| DocumentId::try_from(number).ok())
}

/// The word of a problem. An answer to `HEAD` has none.
pub(super) fn code(answer: &HttpAnswer) -> Option<String> {
    let problem: Value = serde_json::from_slice(&answer.body).ok()?;
    problem["code"].as_str().map(str::to_owned)
}

/// The error as the other door would tell it.
fn error(id: Option<DocumentId>, answer: &HttpAnswer) -> Option<ErrorReply> {
    if answer.status < 400 {
        return None;
    }
    let word = code(answer);
    let code = match word {
        Some(word) => Code::ALL.iter().copied().find(|code| code.as_str() == word)?,
        None if answer.status >= 500 => Code::Internal,
        None => return None,
    };
    let message = String::from_utf8_lossy(&answer.body);
    Some(ErrorReply::new(code, message).on(Channel(0), id))
}
