//! `towline put`, and what it has in common with `towline resume`.

use super::arguments::Put;
use super::meaning::{self, Credential, Memory};
use super::printer::{Printer, line, say, shown};
use super::selection::Selection;
use super::{Complaint, block_on, signals};
use crate::address::ServerAddress;
use crate::client::Client;
use crate::document::Document;
use crate::events::{Event, Receipt};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::transfer::PutOptions;
use crate::units;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use towline_protocol::Code;
use towline_state::StateFile;

pub(super) fn run(put: Put) -> Result<Exit, Complaint> {
    let folder = meaning::folder(put.folder.as_deref())?;
    if put.dry_run {
        return Ok(dry_run(&Selection::of(&put.paths, &folder, put.skip_refused)));
    }
    let server = meaning::server(&put.reach, None)?;
    let credential = meaning::credential(&put.reach, None)?;
    meaning::warn_of_open_token(&credential, put.manner.quiet);
    let Memory { file, elsewhere, .. } = meaning::memory(&put.keeping, put.manner.quiet)?;
    let mut printer =
        Printer::new(put.manner.manners(), meaning::resuming(file.as_ref(), elsewhere));

    let selection = Selection::of(&put.paths, &folder, put.skip_refused);
    for (path, reason) in &selection.skipped {
        printer.show(&Event::Skipped { path: path.clone(), reason: reason.clone() });
    }
    for path in &selection.barren {
        printer.note(&format!("{}: there is nothing in it to upload", shown(path)));
    }
    for (path, failure) in &selection.refused {
        printer.failed(Some(path), failure);
    }
    let refused = meaning::worst(selection.refused.iter().map(|(_, failure)| failure.exit()));

    let options = PutOptions {
        chunk_bytes: put.manner.chunk_size,
        on_conflict: Some(put.on_conflict.into()),
        again: put.again,
        document_id: None,
        parallel: put.manner.parallel,
    };
    let mut client = client(server, credential, file.as_ref(), put.manner.retries);
    let jobs: Vec<Job> = selection
        .documents
        .into_iter()
        .map(|document| Job { client: 0, document, options: options.clone() })
        .collect();
    let sent = block_on(all(std::slice::from_mut(&mut client), jobs, &mut printer))?;
    let exit = refused.max(sent);
    printer.finish(exit);
    Ok(exit)
}

/// What would be sent, without asking a server.
fn dry_run(selection: &Selection) -> Exit {
    let mut bytes = 0u64;
    for Document { local, remote } in &selection.documents {
        let size = std::fs::metadata(local).map_or(0, |found| found.len());
        bytes = bytes.saturating_add(size);
        line(&format!("{} -> {remote}  {}", shown(local), units::size(size)));
    }
    for (path, reason) in &selection.skipped {
        say(&format!("{}: {reason}; skipped", shown(path)));
    }
    for (path, failure) in &selection.refused {
        say(&format!("{}: {failure}", shown(path)));
    }
    line(&format!(
        "would send {}, {}; {} skipped, {} refused; the server was not asked what it has already",
        units::count(selection.documents.len(), "file"),
        units::size(bytes),
        selection.skipped.len(),
        selection.refused.len()
    ));
    meaning::worst(selection.refused.iter().map(|(_, failure)| failure.exit()))
}

/// One file for one of the clients.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) client: usize,
    pub(super) document: Document,
    pub(super) options: PutOptions,
}

pub(super) fn client(
    server: ServerAddress,
    credential: Credential,
    file: Option<&StateFile>,
    retries: Option<u32>,
) -> Client {
    let client = Client::new(server, credential.token).token_file(credential.file).retries(retries);
    match file {
        Some(file) => client.keeping(file.clone()),
        None => client,
    }
}

/// Uploads for one client after the other. A file that fails does not hold the others
/// up, except where they would all fail in the same way.
pub(super) async fn all(clients: &mut [Client], mut jobs: Vec<Job>, printer: &mut Printer) -> Exit {
    let cancel = signals::pause();
    let mut worst = Exit::Done;
    let mut paused = false;
    let mut unbegun = 0;
    printer.expect(jobs.iter().map(|job| job.document.local.as_path()));
    let printer = Mutex::new(printer);
    for (number, client) in clients.iter_mut().enumerate() {
        let (mine, others): (Vec<Job>, _) = jobs.into_iter().partition(|job| job.client == number);
        jobs = others;
        let mine: Vec<_> = mine.into_iter().map(|job| (job.document, job.options)).collect();
        if paused {
            unbegun += mine.len();
            continue;
        }
        let mut ended = 0;
        let mut listener = |event| lock(&printer).show(&event);
        let mut end = |n: usize, put: Result<Receipt, Failure>| {
            ended += 1;
            let failure = match put {
                Ok(_) => return true,
                Err(failure) => failure,
            };
            let local: &Path = &mine[n].0.local;
            worst = worst.max(failure.exit());
            paused = matches!(failure, Failure::Interrupted(_));
            match &failure {
                // The event has said it.
                Failure::Interrupted(Some(_)) => lock(&printer).unfinished(1),
                Failure::Interrupted(None) => {
                    let mut printer = lock(&printer);
                    printer.unfinished(1);
                    printer
                        .note(&format!("{}: interrupted before anything was sent", shown(local)));
                }
                failure => lock(&printer).failed(Some(local), failure),
            }
            !paused && !concerns_all(&failure)
        };
        client.put_many(&mine, &cancel, &mut listener, &mut end).await;
        unbegun += mine.len() - ended;
    }
    if unbegun > 0 {
        lock(&printer).unfinished(unbegun);
        lock(&printer).note(&format!("{unbegun} more files were not begun"));
    }
    worst
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn concerns_all(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } | Failure::Protocol(_) => true,
        Failure::Refused { reply, .. } => {
            matches!(reply.code, Code::Unauthorized | Code::AuthExpired | Code::VersionUnsupported)
        }
        _ => false,
    }
}
