//! `towline resume`: from the list of unfinished uploads.

use super::arguments::Resume;
use super::meaning::{self, Credential, Memory};
use super::printer::{Printer, line, say, shown};
use super::put::{Job, all, client};
use super::{Complaint, block_on};
use crate::address::ServerAddress;
use crate::document::Document;
use crate::exit::Exit;
use crate::transfer::PutOptions;
use towline_protocol::DocumentId;
use towline_protocol::name::DocumentPath;
use towline_state::UploadsState;
use towline_state::state_file::UploadEntry;

pub(super) fn run(resume: Resume) -> Result<Exit, Complaint> {
    let quiet = resume.manner.quiet;
    let Memory { file, state, elsewhere } = meaning::memory(&resume.keeping, quiet)?;
    let chosen = choose(&resume, &state)?;
    if chosen.is_empty() {
        if !resume.manner.json && !quiet {
            line("no unfinished uploads");
        }
        return Ok(Exit::Done);
    }
    let mut printer =
        Printer::new(resume.manner.manners(), meaning::resuming(file.as_ref(), elsewhere));
    let mut clients = Vec::new();
    let mut known: Vec<(ServerAddress, Credential)> = Vec::new();
    let mut jobs = Vec::new();
    let mut worst = Exit::Done;
    for (document_id, entry) in chosen {
        let prepared = document(entry).and_then(|document| {
            let server = meaning::server(&resume.reach, Some(entry))?;
            Ok((document, server, meaning::credential(&resume.reach, Some(entry))?))
        });
        let (document, server, credential) = match prepared {
            Ok(prepared) => prepared,
            Err(complaint) => {
                say(&format!("document {document_id}: {complaint}"));
                worst = worst.max(complaint.exit);
                continue;
            }
        };
        let same =
            |other: &(ServerAddress, Credential)| *other == (server.clone(), credential.clone());
        let index = known.iter().position(same).unwrap_or_else(|| {
            let retries = resume.manner.retries;
            clients.push(client(server.clone(), credential.clone(), file.as_ref(), retries));
            known.push((server, credential));
            known.len() - 1
        });
        let options = PutOptions {
            chunk_bytes: resume.manner.chunk_size.or(entry.chunk_size),
            on_conflict: None,
            again: false,
            document_id: Some(document_id),
            parallel: resume.manner.parallel,
        };
        jobs.push(Job { client: index, document, options });
    }
    let sent = block_on(all(&mut clients, jobs, &mut printer))?;
    let exit = worst.max(sent);
    printer.finish(exit);
    Ok(exit)
}

/// The entries that were asked for, in the order in which they were.
fn choose<'a>(
    resume: &Resume,
    state: &'a UploadsState,
) -> Result<Vec<(DocumentId, &'a UploadEntry)>, Complaint> {
    if !resume.documents.is_empty() {
        return resume
            .documents
            .iter()
            .map(|document| {
                let entry = meaning::entry(state, *document, resume.reach.to.as_ref())?;
                let unknown = || {
                    Complaint::new(
                        Exit::Refused,
                        format!(
                            "document {document} is not among the unfinished uploads; \
                             `towline uploads` lists them"
                        ),
                    )
                };
                Ok((*document, entry.ok_or_else(unknown)?))
            })
            .collect();
    }
    let all = meaning::entries(state, resume.reach.to.as_ref());
    if all.len() > 1 && !resume.all {
        return Err(Complaint::usage(
            "there are several unfinished uploads; name one (`towline uploads` lists them) or say --all",
        ));
    }
    Ok(all)
}

fn document(entry: &UploadEntry) -> Result<Document, Complaint> {
    let refused = |message: String| Complaint::new(Exit::Refused, message);
    let Some(local) = entry.path.clone() else {
        return Err(refused(
            "the list does not say which local file it is; put the file again".into(),
        ));
    };
    if !local.exists() {
        return Err(refused(format!("its file {} is not there any more", shown(&local))));
    }
    let remote = DocumentPath::new(entry.folder.clone(), entry.filename.clone())
        .map_err(|reason| refused(reason.to_string()))?;
    Ok(Document { local, remote })
}
