//! `towline put`, and what it has in common with `towline resume`.

use super::arguments::Put;
use super::meaning::{self, Credential, Memory};
use super::printer::{Printer, shown};
use super::selection::Selection;
use super::{Complaint, block_on, signals};
use crate::address::ServerAddress;
use crate::client::Client;
use crate::document::Document;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::transfer::PutOptions;
use std::collections::BTreeSet;
use towline_protocol::Code;
use towline_state::StateFile;

pub(super) fn run(put: Put) -> Result<Exit, Complaint> {
    let folder = meaning::folder(put.folder.as_deref())?;
    let server = meaning::server(&put.reach, None)?;
    let credential = meaning::credential(&put.reach, None)?;
    let Memory { file, elsewhere, .. } = meaning::memory(&put.keeping, put.manner.quiet)?;
    let mut printer = Printer::new(put.manner.json, put.manner.quiet, elsewhere);

    let selection = Selection::of(&put.paths, &folder);
    for path in &selection.skipped {
        printer.note(&format!("{}: not a regular file; skipped", shown(path)));
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
    };
    let mut client = client(server, credential, file.as_ref(), put.manner.retries);
    let jobs: Vec<Job> = selection
        .documents
        .into_iter()
        .map(|document| Job { client: 0, document, options: options.clone() })
        .collect();
    let sent = block_on(all(std::slice::from_mut(&mut client), &jobs, &mut printer))?;
    Ok(refused.max(sent))
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

/// Uploads one after another. A file that fails does not hold the others up,
/// except where they would all fail in the same way.
pub(super) async fn all(clients: &mut [Client], jobs: &[Job], printer: &mut Printer) -> Exit {
    let cancel = signals::pause();
    let mut worst = Exit::Done;
    // Servers that would refuse every file, or are not there.
    let mut lost = BTreeSet::new();
    for (done, job) in jobs.iter().enumerate() {
        if lost.contains(&job.client) {
            continue;
        }
        let Some(client) = clients.get_mut(job.client) else { continue };
        let mut listener = |event| printer.show(&event);
        let put = client.put(&job.document, &job.options, &cancel, &mut listener).await;
        let Err(failure) = put else { continue };
        worst = worst.max(failure.exit());
        let paused = matches!(failure, Failure::Interrupted(_));
        match &failure {
            // The event has said it.
            Failure::Interrupted(Some(_)) => {}
            Failure::Interrupted(None) => {
                printer.note(&format!(
                    "{}: interrupted before anything was sent",
                    shown(&job.document.local)
                ));
            }
            failure => printer.failed(Some(&job.document.local), failure),
        }
        if paused || concerns_all(&failure) {
            lost.insert(job.client);
            let rest = jobs[done + 1..].iter();
            let left = rest.filter(|next| paused || next.client == job.client).count();
            if left > 0 {
                printer.note(&format!("{left} more files were not begun"));
            }
            if paused {
                break;
            }
        }
    }
    worst
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
