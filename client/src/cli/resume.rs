//! `towline resume`: from the list of what is unfinished, uploads and commands.

use super::arguments::Resume;
use super::job::{self, Job};
use super::meaning::{self, Credential, Memory, Purpose};
use super::printer::{Printer, line, say, shown};
use super::put::{Task, all, client, report};
use super::selection::Selection;
use super::{Complaint, block_on};
use crate::address::ServerAddress;
use crate::client::Client;
use crate::document::Document;
use crate::exit::Exit;
use crate::transfer::PutOptions;
use towline_protocol::DocumentId;
use towline_protocol::name::DocumentPath;
use towline_state::UploadsState;
use towline_state::state_file::{JobEntry, UploadEntry};

pub(super) fn run(resume: Resume) -> Result<Exit, Complaint> {
    let quiet = resume.manner.quiet;
    let memory = meaning::memory(&resume.keeping, Purpose::GoOn, quiet)?;
    let chosen = choose(&resume, &memory.state)?;
    if chosen.jobs.is_empty() && chosen.uploads.is_empty() {
        if !resume.manner.json && !quiet {
            line("no unfinished uploads");
        }
        return Ok(Exit::Done);
    }
    let mut printer = Printer::new(resume.manner.manners(), memory.resuming(&resume.reach));
    let mut run = Run::new(&resume, &memory);
    for entry in chosen.jobs {
        run.add_job(entry, &mut printer);
    }
    for (document_id, entry) in chosen.uploads {
        run.add_upload(document_id, entry);
    }
    let Run { mut clients, tasks, jobs, worst, .. } = run;
    let sent = block_on(all(&mut clients, tasks, jobs, &memory, &mut printer))?;
    let exit = worst.max(sent);
    printer.finish(exit);
    Ok(exit)
}

/// What is put together from the list.
struct Run<'a> {
    resume: &'a Resume,
    memory: &'a Memory,
    clients: Vec<Client>,
    /// Whose they are, one by one.
    known: Vec<(ServerAddress, Credential)>,
    tasks: Vec<Task>,
    jobs: Vec<Job>,
    worst: Exit,
}

impl<'a> Run<'a> {
    fn new(resume: &'a Resume, memory: &'a Memory) -> Self {
        Self {
            resume,
            memory,
            clients: Vec::new(),
            known: Vec::new(),
            tasks: Vec::new(),
            jobs: Vec::new(),
            worst: Exit::Done,
        }
    }

    /// The client for an upload, or for a command whose memory has the form of one.
    fn client(&mut self, entry: &UploadEntry) -> Result<usize, Complaint> {
        let server = meaning::server(&self.resume.reach, Some(entry))?;
        let credential = meaning::credential(&self.resume.reach, Some(entry))?;
        let same =
            |other: &(ServerAddress, Credential)| *other == (server.clone(), credential.clone());
        Ok(self.known.iter().position(same).unwrap_or_else(|| {
            meaning::warn_of_open_token(&credential, self.resume.manner.quiet);
            let retries = self.resume.manner.retries;
            self.clients.push(client(server.clone(), credential.clone(), self.memory, retries));
            self.known.push((server, credential));
            self.known.len() - 1
        }))
    }

    fn complain(&mut self, about: &str, complaint: &Complaint) {
        say(&format!("{about}: {complaint}"));
        self.worst = self.worst.max(complaint.exit);
    }

    /// All that an interrupted command named: what is done by now is found to be there.
    fn add_job(&mut self, entry: &JobEntry, printer: &mut Printer) {
        let client = match self.client(&job::as_upload(entry)) {
            Ok(client) => client,
            Err(complaint) => return self.complain(&job::title(entry), &complaint),
        };
        let selection = Selection::of(&entry.paths, &entry.folder, entry.skip_refused);
        self.worst = self.worst.max(report(&selection, printer));
        for (key, upload) in self.memory.state.uploads.iter().filter(|(_, upload)| {
            job::covers(entry, upload) && upload.path.as_ref().is_some_and(|path| !path.exists())
        }) {
            if let Err(complaint) = document(upload) {
                self.complain(&format!("document {}", crate::printable(key)), &complaint);
            }
        }
        let options = PutOptions {
            chunk_bytes: self.resume.manner.chunk_size.or(entry.chunk_size),
            on_conflict: entry.on_conflict,
            again: false,
            document_id: None,
            parallel: self.resume.manner.parallel,
        };
        let files = selection.documents.len() as u64;
        let number = self.jobs.len();
        self.tasks.extend(selection.documents.into_iter().map(|document| Task {
            client,
            document,
            options: options.clone(),
            job: Some(number),
        }));
        // The server that was typed is the command's from here on.
        let server = Some(self.known[client].0.to_string());
        let stands = JobEntry { server, files, done: 0, ..entry.clone() };
        if !stands.is_same_command(entry) {
            self.memory.uploads().job_is_over(entry.clone());
        }
        self.jobs.push(Job::begin(self.memory, stands));
    }

    fn add_upload(&mut self, document_id: DocumentId, entry: &UploadEntry) {
        let prepared = document(entry).and_then(|document| Ok((document, self.client(entry)?)));
        let (document, client) = match prepared {
            Ok(prepared) => prepared,
            Err(complaint) => {
                return self.complain(&format!("document {document_id}"), &complaint);
            }
        };
        let options = PutOptions {
            chunk_bytes: self.resume.manner.chunk_size.or(entry.chunk_size),
            on_conflict: None,
            again: false,
            document_id: Some(document_id),
            parallel: self.resume.manner.parallel,
        };
        self.tasks.push(Task { client, document, options, job: None });
    }
}

/// What was asked for.
struct Chosen<'a> {
    jobs: Vec<&'a JobEntry>,
    /// Those that belong to none of the jobs, in the order in which they were named, or in
    /// that of their numbers.
    uploads: Vec<(DocumentId, &'a UploadEntry)>,
}

fn choose<'a>(resume: &Resume, state: &'a UploadsState) -> Result<Chosen<'a>, Complaint> {
    if !resume.documents.is_empty() {
        let named = resume.documents.iter().map(|document| {
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
        });
        let uploads = named.collect::<Result<_, Complaint>>()?;
        return Ok(Chosen { jobs: Vec::new(), uploads });
    }
    let jobs = meaning::jobs(state, resume.reach.to.as_ref());
    let mut uploads = meaning::entries(state, resume.reach.to.as_ref());
    uploads.retain(|(_, entry)| !jobs.iter().any(|job| job::covers(job, entry)));
    if jobs.len() + uploads.len() > 1 && !resume.all {
        return Err(Complaint::usage(
            "there are several unfinished uploads; name one (`towline uploads` lists them) or say --all",
        ));
    }
    Ok(Chosen { jobs, uploads })
}

fn document(entry: &UploadEntry) -> Result<Document, Complaint> {
    let refused = |message: String| Complaint::new(Exit::Refused, message);
    let Some(local) = entry.path.clone() else {
        return Err(refused(
            "the list does not say which local file it is; put the file again".into(),
        ));
    };
    if !local.exists() {
        return Err(refused(format!(
            "its file {} is not there any more; if it was moved, put it where it lies now, and \
             the upload goes on",
            shown(&local)
        )));
    }
    let remote = DocumentPath::new(entry.folder.clone(), entry.filename.clone())
        .map_err(|reason| refused(reason.to_string()))?;
    Ok(Document { local, remote })
}
