//! Which uploads and commands of the list a command is about.

use super::whose_token::key_of_entry;
use crate::address::ServerAddress;
use crate::cli::arguments::ConnectArgs;
use crate::cli::error::CliError;
use crate::cli::known_servers::KnownServers;
use crate::exit::Exit;
use crate::uploads;
use std::path::Path;
use towline_state::UploadsState;
use towline_state::state_file::{JobEntry, KnownServer, UploadEntry};
use towline_types::{DocumentId, Fingerprint, StoreId};

/// The entry of a document: on the server that is named, or on any server where none is named.
/// Where the named server has no entry of that number, an entry of another server is taken: its
/// server may now have the address that was typed, which the client finds out when the server has
/// answered. Where a line was typed, only an entry of the server with the key of the line is taken.
pub(in crate::cli) fn entry<'a>(
    state: &'a UploadsState,
    document: DocumentId,
    connect: &ConnectArgs,
) -> Result<Option<&'a UploadEntry>, CliError> {
    if let (Some(server), None) = (&connect.to, connect.key_of_line) {
        let server = KnownServer::new(server.to_string(), None);
        if let Some((_, entry)) = state.find(document, Some(&server)) {
            return Ok(Some(entry));
        }
    }
    let is_of_line =
        |entry: &&UploadEntry| connect.key_of_line.is_none_or(|key| key_of(entry) == Some(key));
    let numbered = || state.numbered(document).map(|(_, entry)| entry);
    let mut found = numbered().filter(is_of_line);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(CliError::usage(format!(
            "several servers have a document {document}; choose one with --to"
        ))),
        (None, _) if numbered().next().is_some() => Err(CliError::new(
            Exit::Refused,
            format!(
                "document {document} was not begun with the server of the line, as far as its key is \
                 known; nothing was sent, not even the token, and the line can still be used"
            ),
        )),
        (entry, _) => Ok(entry),
    }
}

fn key_of(entry: &UploadEntry) -> Option<Fingerprint> {
    key_of_entry(entry.server.as_deref(), uploads::token_file(entry).as_deref())
}

/// The stores that the list has seen at that address.
fn stores_at(state: &UploadsState, address: &str) -> Vec<StoreId> {
    let uploads = state.uploads.values().map(|entry| (&entry.server, entry.server_id));
    let jobs = state.jobs.iter().map(|job| (&job.server, job.server_id));
    let is_there = |server: &Option<String>| server.as_deref() == Some(address);
    uploads.chain(jobs).filter(|(server, _)| is_there(server)).filter_map(|(_, id)| id).collect()
}

/// Whether an entry of the list belongs to the server that was typed: it was begun at that address
/// or with a store that was seen there, or it names no server. Where the list has seen no store there,
/// it may have been begun at another address of a server with the same key. Where no server was typed,
/// every entry belongs. Where a line was typed, those belong that were begun with a server that has
/// the key of the line, and no other: the line is another person's.
///
/// Where a server was typed without a document number, entries of other servers are not sent there:
/// their files and their tokens may be meant for those other servers only.
fn belongs(
    state: &UploadsState,
    connect: &ConnectArgs,
) -> impl Fn(Option<&str>, Option<StoreId>, Option<&Path>) -> bool {
    let typed = connect.to.as_ref();
    let address = typed.map(ToString::to_string);
    let stores = address.as_deref().map_or_else(Vec::new, |address| stores_at(state, address));
    let others = match typed {
        Some(typed) if stores.is_empty() => other_addresses(typed),
        _ => Vec::new(),
    };
    let line = connect.key_of_line;
    move |server, store, token_file| match (&address, server) {
        _ if line.is_some() => key_of_entry(server, token_file) == line,
        (None, _) | (_, None) => true,
        (Some(address), Some(server)) => {
            server == address
                || store.is_some_and(|store| stores.contains(&store))
                || others.iter().any(|other| other == server)
        }
    }
}

/// The addresses at which a server with the key of that one was used.
fn other_addresses(server: &ServerAddress) -> Vec<String> {
    let Some(known) = KnownServers::of_person() else { return Vec::new() };
    let key = known.key_of(server).ok().flatten();
    let addresses = key.map_or_else(Vec::new, |key| known.addresses_of(key));
    addresses.iter().map(ToString::to_string).collect()
}

/// The uploads that belong to that server, in the order of their numbers.
pub(in crate::cli) fn entries<'a>(
    state: &'a UploadsState,
    connect: &ConnectArgs,
) -> Vec<(DocumentId, &'a UploadEntry)> {
    let belongs = belongs(state, connect);
    let mut found: Vec<_> = state
        .uploads
        .iter()
        .filter(|(_, entry)| {
            let token_file = uploads::token_file(entry);
            belongs(entry.server.as_deref(), entry.server_id, token_file.as_deref())
        })
        .filter_map(|(key, entry)| Some((UploadsState::document_id_of(key)?, entry)))
        .collect();
    found.sort_by_key(|(document, _)| *document);
    found
}

/// The commands that belong to that server.
pub(in crate::cli) fn jobs<'a>(
    state: &'a UploadsState,
    connect: &ConnectArgs,
) -> Vec<&'a JobEntry> {
    let belongs = belongs(state, connect);
    let of_server =
        |job: &&JobEntry| belongs(job.server.as_deref(), job.server_id, job.token_file.as_deref());
    state.jobs.iter().filter(of_server).collect()
}
