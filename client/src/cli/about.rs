//! `towline status` and `towline cancel`: one question to the server.

use super::arguments::About;
use super::error::CliError;
use super::json;
use super::output::line;
use super::resolve::{self, Purpose};
use super::runtime::block_on;
use super::sending::client;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::moment;
use crate::text::printable;
use crate::units;
use std::time::{Duration, UNIX_EPOCH};
use towline_protocol::Code;
use towline_protocol::reply::Status;
use towline_types::DocumentId;

pub(super) fn status(about: About) -> Result<Exit, CliError> {
    let mut client = client_for(&about)?;
    let asked = block_on(client.status(about.document))?;
    let status = asked.map_err(|failure| of_document(about.document, failure))?;
    if about.answer.json {
        json::answer("status", &status);
    } else {
        describe(&status);
    }
    Ok(Exit::Done)
}

pub(super) fn cancel(about: About) -> Result<Exit, CliError> {
    let mut client = client_for(&about)?;
    let cancelled = match block_on(client.cancel(about.document))? {
        Ok(cancelled) => cancelled,
        Err(failure) => return Err(not_cancelled(about.document, failure)),
    };
    if about.answer.json {
        json::answer("cancelled", &cancelled);
    } else {
        line(&format!("document {} is cancelled", cancelled.document_id));
    }
    Ok(Exit::Done)
}

fn not_cancelled(document: DocumentId, failure: Failure) -> CliError {
    if failure.code() != Some(Code::BadState) {
        return of_document(document, failure);
    }
    let message = format!(
        "document {document} is complete, and only an unfinished upload can be cancelled; it is \
         removed from the list"
    );
    CliError::new(Exit::Refused, message)
}

/// Names the document in the message of a server's refusal.
fn of_document(document: DocumentId, failure: Failure) -> CliError {
    CliError::about(&format!("document {document}"), failure)
}

fn client_for(about: &About) -> Result<Client, CliError> {
    let memory = resolve::memory(&about.state_args, Purpose::Hint, about.answer.quiet)?;
    let entry = resolve::entry(&memory.state, about.document, &about.connect)?;
    if entry.is_none() && !resolve::names_a_server(&about.connect) {
        return Err(CliError::new(
            Exit::Refused,
            format!(
                "{} is not among the unfinished uploads of this machine (`towline uploads` lists \
                 them); to ask about another document, give its server with --to HOST",
                about.document
            ),
        ));
    }
    let server = resolve::server(&about.connect, entry)?;
    // The server that a person typed is asked for its own document of that number. The token that
    // the list has is for another server, and is not sent there.
    let expected = entry.filter(|entry| {
        about.connect.to.is_none()
            || entry.server.as_ref().is_none_or(|known| *known == server.to_string())
    });
    let credential = resolve::credential(&about.connect, expected)?;
    let store = expected.and_then(|entry| entry.server_id);
    Ok(client(&about.connect, server, credential, &memory, None)?.expected_store(store))
}

fn describe(status: &Status) {
    let name: String = status.folder.iter().map(|folder| format!("{folder}/")).collect::<String>()
        + &status.filename;
    line(&format!("document {}: {}", status.document_id, printable(&name)));
    let phase = match status.status.as_str() {
        "uploading" if status.active => "uploading, being sent now",
        "uploading" => "paused",
        other => other,
    };
    line(&format!("status: {}", printable(phase)));
    let whole = status.filesize.get();
    if status.received.get() == whole && status.durable.get() == whole {
        line(&format!("size: {}", units::size(whole)));
    } else {
        line(&format!("received: {}", units::share(status.received.get(), whole)));
        line(&format!("on disk: {}", units::share(status.durable.get(), whole)));
    }
    if let Some(hash) = status.blake3 {
        line(&format!("blake3: {hash}"));
    }
    if let (Some(until), "uploading") = (status.expires_at, status.status.as_str()) {
        let until = UNIX_EPOCH.checked_add(Duration::from_secs(until.as_secs()));
        let until = until.and_then(moment::in_seconds);
        let until = until.as_deref().unwrap_or("further than a date can say");
        line(&format!("kept until: {until}, and longer if more data arrives"));
    }
    if let Some(reason) = &status.reason {
        line(&format!("reason: {}", printable(reason)));
    }
}
