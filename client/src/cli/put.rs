//! `towline put`, and what it has in common with `towline resume`.

use super::arguments::Put;
use super::error::CliError;
use super::job::Job;
use super::output::{line, say};
use super::printer::Printer;
use super::resolve::{self, Credential, Memory, Purpose};
use super::runtime::block_on;
use super::selection::Selection;
use super::signals;
use crate::address::ServerAddress;
use crate::client::Client;
use crate::document::Document;
use crate::events::{Event, Receipt};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::shell_word;
use crate::text::shown;
use crate::transfer::options::PutOptions;
use crate::{units, uploads};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;
use towline_state::state_file::JobEntry;
use towline_state::{UploadsState, clock};

pub(super) fn run(put: Put) -> Result<Exit, CliError> {
    let folder = resolve::folder(put.folder.as_deref())?;
    if put.dry_run {
        return Ok(dry_run(&Selection::of(&put.paths, &folder, put.skip_refused)));
    }
    let server = resolve::server(&put.connect, None)?;
    let credential = resolve::credential(&put.connect, None)?;
    resolve::warn_of_open_token(&credential, put.output.quiet);
    let memory = resolve::memory(&put.state_args, Purpose::Remember, put.output.quiet)?;

    let selection = Selection::of(&put.paths, &folder, put.skip_refused);
    let options = PutOptions {
        chunk_bytes: put.output.chunk_size,
        on_conflict: Some(put.on_conflict.into()),
        again: put.again,
        document_id: None,
        parallel: put.output.parallel,
    };
    let files = selection.files_to_send();
    // The list remembers every command until it is done, also a command that is interrupted before
    // the server has a byte of its only file.
    let job = (files > 0).then(|| JobEntry {
        // A path with nothing at it is refused in this run: no later run has to look for it.
        paths: put.paths.iter().filter(|path| is_there(path)).map(|path| absolute(path)).collect(),
        folder,
        server: Some(server.to_string()),
        server_id: None,
        on_conflict: options.on_conflict,
        chunk_size: options.chunk_bytes,
        skip_refused: put.skip_refused,
        token_file: credential.file.clone(),
        start_time: Some(clock::now()),
        files,
        done: 0,
        other: serde_json::Map::new(),
    });
    let mut clients = [client(server, credential, &memory, put.output.retries)];
    let mut printer = Printer::new(put.output.style(), memory.resuming(&put.connect));
    if !put.skip_refused {
        printer.offer_skipping();
    }
    let refused = report(&selection, &mut printer);
    let mut jobs: Vec<Job> = job.into_iter().map(|entry| Job::begin(&memory, entry)).collect();
    if refused == Exit::Resumable {
        jobs.iter_mut().for_each(Job::stays_open);
    }
    let job = (!jobs.is_empty()).then_some(0);
    let tasks = selection.documents.into_iter();
    let tasks = tasks.map(|document| Task { client: 0, document, options: options.clone(), job });
    let sent = block_on(all(&mut clients, tasks.collect(), jobs, &memory, &mut printer))?;
    let exit = refused.max(sent);
    printer.finish(exit);
    Ok(exit)
}

fn is_there(path: &Path) -> bool {
    !std::fs::metadata(path).is_err_and(|error| uploads::is_not_there(&error))
}

/// The absolute path, by which a later run finds the file from any working folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Prints which files of a selection are not sent. Returns the exit code that follows from them.
pub(super) fn report(selection: &Selection, printer: &mut Printer) -> Exit {
    for (path, reason) in &selection.skipped {
        printer.show(&Event::Skipped { path: path.clone(), reason: reason.clone() });
    }
    for path in &selection.barren {
        printer.note(&format!("{}: there is nothing in it to upload", shown(path)));
    }
    for (path, failure) in &selection.refused {
        printer.failed(Some(path), failure);
    }
    resolve::worst(selection.refused.iter().map(|(_, failure)| failure.exit()))
}

/// Prints what would be sent, without asking a server.
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
    resolve::worst(selection.refused.iter().map(|(_, failure)| failure.exit()))
}

/// One file, and the number of the client that uploads it.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) client: usize,
    pub(super) document: Document,
    pub(super) options: PutOptions,
    /// The number of the command that the file belongs to, if it belongs to one.
    pub(super) job: Option<usize>,
}

pub(super) fn client(
    server: ServerAddress,
    credential: Credential,
    memory: &Memory,
    retries: Option<u32>,
) -> Client {
    let client = Client::new(server, credential.token).token_file(credential.file).retries(retries);
    memory.lent_to(client)
}

/// Uploads the files of one client after another. A file that fails does not keep the other files
/// from being sent, unless all would fail for the same reason.
pub(super) async fn all(
    clients: &mut [Client],
    tasks: Vec<Task>,
    jobs: Vec<Job>,
    memory: &Memory,
    printer: &mut Printer,
) -> Exit {
    all_until(&signals::pause(), clients, tasks, jobs, memory, printer).await
}

async fn all_until(
    cancel: &CancellationToken,
    clients: &mut [Client],
    mut tasks: Vec<Task>,
    jobs: Vec<Job>,
    memory: &Memory,
    printer: &mut Printer,
) -> Exit {
    let mut worst = Exit::Done;
    let mut is_paused = false;
    let mut refused_all = None;
    let mut is_other_server = false;
    let mut begun = 0;
    let mut unbegun: Vec<(PathBuf, Option<usize>)> = Vec::new();
    let mut never_met = BTreeSet::new();
    let file_count = tasks.len();
    printer.expect(tasks.iter().map(|task| task.document.local.as_path()));
    // A folder is continued as a whole, also where it has one file.
    let is_together = file_count > 1 || jobs.iter().any(Job::names_a_folder);
    if is_together {
        printer.pause_together();
    }
    let printer = Mutex::new(printer);
    let jobs = Mutex::new(jobs);
    for (number, client) in clients.iter_mut().enumerate() {
        let (mine, others): (Vec<Task>, _) =
            tasks.into_iter().partition(|task| task.client == number);
        tasks = others;
        let parts: Vec<_> = mine.iter().map(|task| task.job).collect();
        let commands: BTreeSet<usize> = parts.iter().copied().flatten().collect();
        client.works_for(entries_of(&lock(&jobs), &commands));
        let mine: Vec<_> = mine.into_iter().map(|task| (task.document, task.options)).collect();
        let mut has_ended = vec![false; mine.len()];
        let mut listener = |event| lock(&printer).show(&event);
        let mut end = |n: usize, put: Result<Receipt, Failure>| {
            has_ended[n] = true;
            let mut jobs = lock(&jobs);
            let job = parts[n].and_then(|job| jobs.get_mut(job));
            let failure = match put {
                Ok(_) => {
                    job.into_iter().for_each(Job::one_is_done);
                    return true;
                }
                Err(failure) => failure,
            };
            let local: &Path = &mine[n].0.local;
            let failure = gone_meanwhile(failure);
            worst = worst.max(failure.exit());
            let may_go_on = failure.exit() == Exit::Resumable || failure.kept().is_some();
            if let Some(job) = job.filter(|_| may_go_on || concerns_all(&failure)) {
                job.stays_open();
            }
            match &failure {
                Failure::Interrupted(kept) => {
                    is_paused = true;
                    begun += usize::from(kept.is_some());
                    if kept.is_none() {
                        unbegun.push((local.to_owned(), None));
                    }
                }
                failure => lock(&printer).failed(Some(local), failure),
            }
            is_other_server |= matches!(failure, Failure::OtherServer { document_id: None, .. });
            refused_all = refused_all.or(failure.code().filter(|code| refuses_all(*code)));
            !is_paused && !concerns_all(&failure)
        };
        if !cancel.is_cancelled() {
            client.put_many(&mine, cancel, &mut listener, &mut end).await;
        }
        let left = mine.iter().zip(&parts).zip(&has_ended).filter(|(_, has_ended)| !**has_ended);
        unbegun.extend(left.map(|(((document, _), job), _)| (document.local.clone(), *job)));
        for number in commands {
            let mut jobs = lock(&jobs);
            let Some(job) = jobs.get_mut(number) else { continue };
            match client.store() {
                Some(store) if !is_other_server => job.is_at(store),
                _ if !client.has_met_server() => {
                    never_met.insert(number);
                }
                _ => {}
            }
        }
        if !cancel.is_cancelled() {
            for document_id in client.forget_what_is_gone().await {
                let text = format!(
                    "document {document_id} is no longer an unfinished upload on the server; it is off the list"
                );
                lock(&printer).note(&text);
            }
        }
    }
    let printer = printer.into_inner().unwrap_or_else(PoisonError::into_inner);
    // The interruption came before the first file, or between two of the clients.
    if cancel.is_cancelled() && !is_paused && !unbegun.is_empty() {
        is_paused = true;
        worst = worst.max(Exit::Resumable);
    }
    // With a new token the same command sends the files that were not begun.
    if refused_all == Some(Code::AuthExpired) && !unbegun.is_empty() {
        worst = worst.max(Exit::Resumable);
    }
    let mut jobs = jobs.into_inner().unwrap_or_else(PoisonError::into_inner);
    for job in unbegun.iter().filter_map(|(_, job)| *job) {
        if let Some(job) = jobs.get_mut(job) {
            job.stays_open();
        }
    }
    let mistyped = entries_of(&jobs, &never_met);
    for job in jobs {
        job.end().await;
    }
    if begun + unbegun.len() > 0 {
        let state = memory.state_now();
        // An earlier run may have begun a file that this run has not reached.
        let known: HashSet<_> =
            state.uploads.values().filter_map(|entry| entry.path.as_deref()).collect();
        let was_begun = |path: &PathBuf| {
            !known.is_empty() && path.canonicalize().is_ok_and(|path| known.contains(&*path))
        };
        let begun_before = unbegun.iter().filter(|(path, _)| was_begun(path)).count();
        printer.unfinished(begun + begun_before, unbegun.len() - begun_before);
        let how = match refused_all {
            // The same command would be refused again; the message of the failure says what helps.
            _ if is_other_server => String::new(),
            None => how_to_go_on(memory, &state, printer.options_to_resume()),
            Some(Code::AuthExpired) => {
                "Run the same command again with a new token to go on.".to_owned()
            }
            Some(_) => String::new(),
        };
        if is_together {
            printer.rests(is_paused, &how);
        } else if let (true, Some((path, _))) = (is_paused, unbegun.first()) {
            // Where a file was begun, the event has said it.
            printer.note(&interrupted_before(path, &how));
        }
    }
    if memory.keeps() {
        let state = memory.state_now();
        for job in mistyped.iter().filter(|job| state.jobs.iter().any(|it| it.is_same_command(job)))
        {
            printer.note(&never_answered(job, &memory.option()));
        }
    }
    worst
}

fn entries_of(jobs: &[Job], some: &BTreeSet<usize>) -> Vec<JobEntry> {
    some.iter().filter_map(|job| Some(jobs.get(*job)?.entry().clone())).collect()
}

fn interrupted_before(path: &Path, how: &str) -> String {
    let how = if how.is_empty() { String::new() } else { format!(". {how}") };
    format!("{}: interrupted before anything was sent{how}", shown(path))
}

/// The note about a command of the list whose server has never answered: the address may be
/// mistyped.
fn never_answered(job: &JobEntry, options: &str) -> String {
    let server = crate::text::printable(job.server.as_deref().unwrap_or_default());
    let path = job.paths.first().map_or_else(|| "PATH".to_owned(), |path| shell_word(path));
    format!(
        "{server} has never answered; what was to go there stays in the list (towline uploads). \
         If the address is wrong, `towline uploads --forget {path}{options}` takes it off"
    )
}

/// The failure of a file that was there when the command began and is not there now. Its disk may
/// be unplugged, or its folder moved, so the file may come back.
fn gone_meanwhile(failure: Failure) -> Failure {
    match failure {
        Failure::File { source, path, .. } if uploads::is_not_there(&source) => {
            Failure::Gone { path }
        }
        other => other,
    }
}

/// The sentence that says how a person continues a command.
fn how_to_go_on(memory: &Memory, state: &UploadsState, options: &str) -> String {
    if !memory.keeps() || state.jobs.is_empty() {
        return "Run the same command again to go on.".to_owned();
    }
    let others = state.jobs.len() > 1
        || state.uploads.values().any(|entry| !uploads::covers(&state.jobs[0], entry));
    let mut command = "towline resume".to_owned();
    if others {
        command.push_str(" --all");
    }
    command.push_str(options);
    format!("Run the same command again, or `{command}`, to go on.")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn concerns_all(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. }
        | Failure::NoServer { .. }
        | Failure::Protocol(_)
        | Failure::OtherServer { document_id: None, .. } => true,
        // Where no attempt is repeated (`--retries 0`), the first lost connection ends the run.
        Failure::ConnectionLost { attempts, .. } => *attempts <= 1,
        Failure::Refused { reply, .. } => refuses_all(reply.code),
        _ => false,
    }
}

/// Whether the server refuses the client as a whole, whatever the client sends.
fn refuses_all(code: Code) -> bool {
    matches!(code, Code::Unauthorized | Code::AuthExpired | Code::VersionUnsupported)
}

#[cfg(test)]
mod tests {
    use super::super::arguments::StateArgs;
    use super::super::printer::{OutputStyle, Resuming};
    use super::*;
    use crate::token::Token;

    #[tokio::test]
    async fn an_interruption_before_the_first_file_is_no_success() {
        let home = tempfile::tempdir().unwrap();
        for count in [1, 3] {
            let tasks = (0..count).map(|n| {
                let path = home.path().join(format!("{n}.txt"));
                std::fs::write(&path, "a").unwrap();
                let document = Document::in_folder(path, Vec::new()).unwrap();
                Task { client: 0, document, options: PutOptions::default(), job: None }
            });
            let state_args = StateArgs { state_file: Some(home.path().join("state.json")) };
            let memory = resolve::memory(&state_args, Purpose::Remember, true).unwrap();
            // No test case asks this server anything.
            let server = "127.0.0.1:1".parse().unwrap();
            let mut clients = [Client::new(server, Token::new("t").unwrap())];
            let style = OutputStyle { quiet: true, ..OutputStyle::default() };
            let mut printer = Printer::new(style, Resuming::SameCommand);
            let cancel = CancellationToken::new();
            cancel.cancel();
            let tasks = tasks.collect();
            let ended = all_until(&cancel, &mut clients, tasks, Vec::new(), &memory, &mut printer);
            assert_eq!(ended.await, Exit::Resumable, "of {count} files");
        }
    }
}
