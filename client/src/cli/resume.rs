//! `towline resume`: continues the uploads and commands that the list has.

mod choice;

use super::arguments::Resume;
use super::error::CliError;
use super::job::{self, Job};
use super::order::{Files, Part};
use super::output::say;
use super::printer::Printer;
use super::receipts_file::ReceiptsFile;
use super::resolve::{self, Credential, Memory, Purpose};
use super::runtime::block_on;
use super::selection::{Selection, Told};
use super::sending::{Run, asides, client};
use crate::address::ServerAddress;
use crate::client::Client;
use crate::document::{Document, own_name};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::shell_word;
use crate::text::shown;
use crate::transfer::options::PutOptions;
use crate::uploads;
use crate::walk::{Rule, Rules, WalkOptions};
use choice::{choose, several};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use towline_state::UploadsState;
use towline_state::state_file::{JobEntry, UploadEntry};
use towline_types::{DocumentId, DocumentPath, StoreId};

pub(super) fn run(resume: Resume) -> Result<Exit, CliError> {
    let quiet = resume.output.quiet;
    let memory = resolve::memory(&resume.state_args, Purpose::GoOn, quiet)?;
    let chosen = choose(&resume, &memory.state)?;
    let resuming = memory.resuming(&resume.connect, resume.output.receipts.as_deref());
    if resume.typed.is_empty() && !resume.all && chosen.jobs.len() + chosen.uploads.len() > 1 {
        return Err(several(&chosen, &memory.state, &resuming.options()));
    }
    let mut printer = Printer::new(resume.output.style(), resuming);
    if chosen.jobs.is_empty() && chosen.uploads.is_empty() {
        let is_empty = memory.state.jobs.is_empty() && memory.state.uploads.is_empty();
        if let (Some(server), false) = (&resume.connect.to, is_empty) {
            return Err(none_of(server));
        }
        printer.nothing_to_do("no unfinished uploads");
        return Ok(Exit::Done);
    }
    let sources: Vec<PathBuf> = chosen.jobs.iter().flat_map(|job| job.paths.clone()).collect();
    let receipts = resume.output.receipts.as_deref();
    let receipts = receipts.map(|path| ReceiptsFile::open(path, &sources)).transpose()?;
    let mut plan = Plan::new(&resume, &memory);
    for entry in chosen.jobs {
        plan.add_job(entry, &mut printer);
    }
    for (document_id, entry) in chosen.uploads {
        plan.add_upload(document_id, entry, &mut printer);
    }
    let Plan { clients, parts, jobs, asides, worst, .. } = plan;
    let timeout = resume.output.timeout.map(Duration::from_secs);
    let run = Run { clients, parts, jobs, asides, timeout, receipts };
    let exit = worst.max(block_on(run.all(&memory, &mut printer))?);
    printer.finish(exit);
    Ok(exit)
}

fn none_of(server: &ServerAddress) -> CliError {
    CliError::new(
        Exit::Refused,
        format!(
            "the list has no unfinished upload for {server}; `towline uploads` lists those for other \
             servers. If one of these servers has this address now, run the same `towline put` again \
             with --to {server}, or `towline resume DOCUMENT_ID --to {server}` for one upload"
        ),
    )
}

/// The clients, files and commands that a run takes from the list.
struct Plan<'a> {
    resume: &'a Resume,
    memory: &'a Memory,
    clients: Vec<Client>,
    /// For each client: its server, its token, and the store that has to answer.
    known: Vec<(ServerAddress, Credential, Option<StoreId>)>,
    parts: Vec<Part>,
    jobs: Vec<Job>,
    tell: mpsc::Sender<Told>,
    asides: mpsc::Receiver<Told>,
    worst: Exit,
}

impl<'a> Plan<'a> {
    fn new(resume: &'a Resume, memory: &'a Memory) -> Self {
        let (tell, asides) = asides();
        Self {
            resume,
            memory,
            clients: Vec::new(),
            known: Vec::new(),
            parts: Vec::new(),
            jobs: Vec::new(),
            tell,
            asides,
            worst: Exit::Done,
        }
    }

    /// The number of the client for an upload, or for a command in the form of an upload's entry.
    /// With `store`, the client sends nothing to another store. An upload needs no `store` here:
    /// the client looks it up in the list once the server has said which store it has.
    fn client(&mut self, entry: &UploadEntry, store: Option<StoreId>) -> Result<usize, CliError> {
        let server = resolve::server(&self.resume.connect, Some(entry))?;
        let credential = resolve::credential(&self.resume.connect, Some(entry))?;
        let wanted = (server, credential, store);
        if let Some(known) = self.known.iter().position(|known| *known == wanted) {
            return Ok(known);
        }
        let (server, credential, store) = wanted.clone();
        // Two clients of one address have the same token, so the notice is printed once.
        let is_told = self.known.iter().any(|(at, with, _)| (at, with) == (&server, &credential));
        if !is_told {
            resolve::warn_of_open_token(&credential, self.resume.output.quiet);
            self.tell_of_token(entry, &server, &credential);
        }
        let retries = self.resume.output.retries;
        let client = client(&self.resume.connect, server, credential, self.memory, retries)?
            .expected_store(store)
            .limit_rate(self.resume.output.limit_rate)
            .receipts(self.resume.output.receipts.is_some());
        self.clients.push(client);
        self.known.push(wanted);
        Ok(self.known.len() - 1)
    }

    /// Prints that a token which so far was for another address is sent to the address that was
    /// typed: the server may have moved there.
    fn tell_of_token(&self, entry: &UploadEntry, server: &ServerAddress, token: &Credential) {
        let before = entry.server.as_deref().filter(|before| *before != server.to_string());
        let is_listed = self.resume.connect.token_file.is_none();
        if let (Some(before), Some(file), true, false) =
            (before, &token.file, is_listed, self.resume.output.quiet)
        {
            say(&format!(
                "the token in {} is sent to {server}; until now it was used for {}",
                shown(file),
                crate::text::printable(before)
            ));
        }
    }

    /// Prints that an entry of the list cannot be continued now, in every form of the output, and
    /// counts it.
    fn complain(&mut self, what: &About<'_>, error: &CliError, printer: &mut Printer) {
        let (about, path, document_id) = match what {
            About::Job(entry) => {
                (job::title(entry), entry.paths.first().map(PathBuf::as_path), None)
            }
            About::Path(path) => (shown(path), Some(*path), None),
            About::Upload(document_id, entry) => {
                (format!("document {document_id}"), entry.path.as_deref(), Some(*document_id))
            }
        };
        printer.cannot_begin(&about, path, document_id, error);
        self.worst = self.worst.max(error.exit);
    }

    /// Adds all files that an interrupted command named. Files that are done are found to be on the
    /// server.
    fn add_job(&mut self, entry: &JobEntry, printer: &mut Printer) {
        let client = match self.client(&job::as_upload(entry), entry.server_id) {
            Ok(client) => client,
            Err(error) => return self.complain(&About::Job(entry), &error, printer),
        };
        let is_away = |path: &&PathBuf| {
            std::fs::metadata(path).is_err_and(|error| uploads::is_not_there(&error))
        };
        let lost: Vec<PathBuf> = entry.paths.iter().filter(is_away).cloned().collect();
        for path in &lost {
            self.complain(&About::Path(path), &away(path), printer);
        }
        // A file below a named path with nothing at it needs no message: the message about the path
        // covers it.
        let is_below = |path: &Path| lost.iter().any(|lost| path.starts_with(lost));
        let begun = self.memory.state.uploads.iter().filter(|(_, upload)| {
            uploads::covers(entry, upload)
                && upload.path.as_deref().is_some_and(|path| !is_below(path))
        });
        for (key, upload) in begun {
            let Some(document_id) = UploadsState::document_id_of(key) else { continue };
            if let Err(error) = document(upload) {
                self.complain(&About::Upload(document_id, upload), &error, printer);
            }
        }
        let options = PutOptions {
            chunk_bytes: self.resume.output.chunk_size.or(entry.chunk_size),
            on_conflict: entry.on_conflict,
            again: entry.again,
            document_id: None,
            parallel: self.resume.output.parallel,
        };
        let number = self.jobs.len();
        let paths = entry.paths.iter().filter(|path| !lost.contains(path)).cloned().collect();
        let rules = entry.rules.iter().filter_map(|text| Rule::parse(text)).collect();
        let walk = WalkOptions {
            folder: entry.folder.clone(),
            // They were good when the command began.
            rules: Rules::new(rules).unwrap_or_default(),
            skips_refused: entry.skip_refused,
            follows_links: entry.copy_links,
            ..WalkOptions::default()
        };
        let selection = Selection::start(paths, walk, number, self.tell.clone());
        // Where a path is gone, the number of files is at least what it was before.
        let files = if lost.is_empty() { 0 } else { entry.files };
        let stands = JobEntry { files, done: 0, ..entry.clone() };
        let mut job = Job::of(self.memory, stands, Arc::clone(selection.files()));
        if !lost.is_empty() {
            job.stays_open();
        }
        let sent_again = job.sent_again().cloned();
        self.jobs.push(job);
        let files = Files::Named(selection);
        self.parts.push(Part { client, files, options, job: Some(number), sent_again });
    }

    fn add_upload(&mut self, document_id: DocumentId, entry: &UploadEntry, printer: &mut Printer) {
        let prepared =
            document(entry).and_then(|document| Ok((document, self.client(entry, None)?)));
        let (document, client) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                return self.complain(&About::Upload(document_id, entry), &error, printer);
            }
        };
        let options = PutOptions {
            chunk_bytes: self.resume.output.chunk_size.or(entry.chunk_size),
            on_conflict: None,
            again: false,
            document_id: Some(document_id),
            parallel: self.resume.output.parallel,
        };
        // Only where the file has its own name on the server, a `put` command could have begun the
        // upload.
        let is_own_name = own_name(&document.local).is_ok_and(|n| n == *document.remote.filename());
        if !is_own_name {
            let files = Files::One(document);
            self.parts.push(Part { client, files, options, job: None, sent_again: None });
            return;
        }
        let (server, credential, _) = &self.known[client];
        let command = JobEntry {
            paths: vec![document.local.clone()],
            folder: document.remote.folder().to_vec(),
            server: Some(server.to_string()),
            server_id: entry.server_id,
            on_conflict: None,
            chunk_size: entry.chunk_size,
            skip_refused: false,
            rules: Vec::new(),
            copy_links: false,
            again: false,
            sent_again: Vec::new(),
            token_file: credential.file.clone(),
            start_time: entry.start_time,
            files: 1,
            done: 0,
            other: serde_json::Map::new(),
        };
        let job = Some(self.jobs.len());
        self.jobs.push(Job::of_upload(self.memory, command));
        let files = Files::One(document);
        self.parts.push(Part { client, files, options, job, sent_again: None });
    }
}

/// An entry of the list, or a path of it, that may be impossible to continue now.
enum About<'a> {
    Job(&'a JobEntry),
    Path(&'a Path),
    Upload(DocumentId, &'a UploadEntry),
}

fn document(entry: &UploadEntry) -> Result<Document, CliError> {
    let refused = |message: String| CliError::new(Exit::Refused, message);
    let Some(local) = entry.path.clone() else {
        return Err(refused(
            "the list does not say which local file it is; put the file again".into(),
        ));
    };
    if let Err(error) = std::fs::metadata(&local) {
        let failure =
            Failure::File { action: "open", path: local.clone(), source: error, kept: None };
        return Err(if is_lost(&failure) { away(&local) } else { failure.into() });
    }
    let remote = DocumentPath::new(entry.folder.clone(), entry.filename.clone())
        .map_err(|reason| refused(reason.to_string()))?;
    Ok(Document { local, remote })
}

/// Whether nothing is at the path now, though a file was there when the upload began.
fn is_lost(failure: &Failure) -> bool {
    matches!(failure, Failure::File { source, .. } if uploads::is_not_there(source))
}

/// The error about a path with nothing at it, which may come back.
fn away(path: &Path) -> CliError {
    CliError::new(
        Exit::Resumable,
        format!(
            "{} is missing now. If it is on a disk that is not connected, connect the disk and run \
             `towline resume` again. If you moved it, run `towline put` with its new path: the upload \
             continues. If it is gone for good, `towline uploads --forget {}` removes it from the list",
            shown(path),
            shell_word(path)
        ),
    )
}
