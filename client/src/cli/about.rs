//! `towline status` and `towline cancel`: one question to the server.

use super::arguments::About;
use super::meaning::{self, Memory};
use super::printer::line;
use super::put::client;
use super::{Complaint, block_on};
use crate::client::Client;
use crate::exit::Exit;
use crate::printable;
use serde::Serialize;
use towline_protocol::reply::{Progress, Status};

pub(super) fn status(about: About) -> Result<Exit, Complaint> {
    let mut client = client_for(&about)?;
    let status = block_on(client.status(about.document))??;
    if about.json {
        print_json(&status);
    } else {
        describe(&status);
    }
    Ok(Exit::Done)
}

pub(super) fn cancel(about: About) -> Result<Exit, Complaint> {
    let mut client = client_for(&about)?;
    let cancelled = block_on(client.cancel(about.document))??;
    if about.json {
        print_json(&cancelled);
    } else {
        line(&format!("document {} is cancelled", cancelled.document_id));
    }
    Ok(Exit::Done)
}

fn client_for(about: &About) -> Result<Client, Complaint> {
    let Memory { file, state, .. } = meaning::memory(&about.keeping, false)?;
    let entry = meaning::entry(&state, about.document, about.reach.to.as_ref())?;
    let server = meaning::server(&about.reach, entry)?;
    let credential = meaning::credential(&about.reach, entry)?;
    Ok(client(server, credential, file.as_ref(), None))
}

fn print_json(answer: &impl Serialize) {
    if let Ok(json) = serde_json::to_string(answer) {
        line(&crate::text::printable_json(&json));
    }
}

fn describe(status: &Status) {
    let name: String = status.folder.iter().map(|folder| format!("{folder}/")).collect::<String>()
        + &status.filename;
    line(&format!("document {}: {}", status.document_id, printable(&name)));
    let active = if status.active { ", being sent just now" } else { "" };
    line(&format!("status: {}{active}", printable(&status.status)));
    line(&format!(
        "received: {}, {} of them safe",
        Progress::words(status.received, status.filesize),
        status.durable
    ));
    if let Some(hash) = status.blake3 {
        line(&format!("blake3: {hash}"));
    }
    if let Some(reason) = &status.reason {
        line(&format!("reason: {}", printable(reason)));
    }
}
