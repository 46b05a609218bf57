//! What `towline put` and `towline resume` have in common: the run over all files, and what is
//! said and remembered at its end.

mod extent;

use super::arguments::ConnectArgs;
use super::error::CliError;
use super::job::Job;
use super::movement::Movement;
use super::order::{Order, Part};
use super::printer::{Printer, Stop};
use super::receipts_file::ReceiptsFile;
use super::resolve::{self, Credential, Memory};
use super::selection::{Aside, Selection, Told};
use super::unfinished::{how_to_go_on, interrupted_before, unanswered};
use super::{order, signals};
use crate::address::ServerAddress;
use crate::client::Client;
use crate::events::Event;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::feed::FeedItem;
use crate::item::Sent;
use crate::locked::{into_inner, lock};
use crate::text::shown;
use extent::{concerns_all, gone_meanwhile, is_stranger, refuses_all};
use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;
use towline_state::state_file::JobEntry;
use towline_types::OnConflict;

/// The number of messages of walks that wait to be told.
const ASIDES: usize = 256;

/// The channel on which walks tell what they find besides files.
pub(super) fn asides() -> (mpsc::Sender<Told>, mpsc::Receiver<Told>) {
    mpsc::channel(ASIDES)
}

pub(super) fn client(
    connect: &ConnectArgs,
    server: ServerAddress,
    credential: Credential,
    memory: &Memory,
    retries: Option<u32>,
) -> Result<Client, CliError> {
    let security = resolve::security(connect, &server, &credential)?;
    let client = Client::new(server, credential.token).token_file(credential.file).retries(retries);
    Ok(memory.lent_to(resolve::secured(client, security)))
}

/// All that a run has to do.
pub(super) struct Run {
    pub(super) clients: Vec<Client>,
    pub(super) parts: Vec<Part>,
    pub(super) jobs: Vec<Job>,
    /// What the walks of the parts tell.
    pub(super) asides: mpsc::Receiver<Told>,
    /// How long nothing may move before the run gives up.
    pub(super) timeout: Option<Duration>,
    /// Where receipts are kept, if they are.
    pub(super) receipts: Option<ReceiptsFile>,
}

impl Run {
    /// Uploads for one client after the other. A file that fails does not hold the others
    /// up, except where they would all fail in the same way.
    pub(super) async fn all(self, memory: &Memory, printer: &mut Printer) -> Exit {
        self.all_until(&signals::pause(), memory, printer).await
    }

    async fn all_until(
        self,
        cancel: &CancellationToken,
        memory: &Memory,
        printer: &mut Printer,
    ) -> Exit {
        let Self { mut clients, parts, jobs, mut asides, timeout, receipts } = self;
        let found: Vec<_> = parts.iter().map(Part::found).collect();
        let progress = Progress {
            printer: Mutex::new(printer),
            jobs: Mutex::new(jobs),
            ended: Mutex::new(Ended::default()),
            movement: Movement::new(timeout),
            receipts: Mutex::new(receipts),
        };
        // Cancelled by a person or by the timeout: both pause what is under way.
        let cancel = &cancel.child_token();
        for part in &parts {
            if let order::Files::Named(selection) = &part.files {
                progress.first_look(selection, cancel, &mut asides).await;
            }
        }
        let is_together = {
            let mut jobs = lock(&progress.jobs);
            jobs.iter_mut().for_each(Job::begin);
            // A folder is gone on with as a whole also where it has one file.
            found.iter().map(|found| found.count()).sum::<u64>() > 1
                || jobs.iter().any(Job::names_a_folder)
        };
        {
            let mut printer = lock(&progress.printer);
            printer.expect(found.clone());
            if is_together {
                printer.pause_together();
            }
        }
        let left = progress.run(&mut clients, parts, cancel, &mut asides).await;
        while let Ok(told) = asides.try_recv() {
            progress.tell(told);
        }
        let Progress { printer, jobs, ended, receipts, .. } = progress;
        let printer = into_inner(printer);
        let jobs = into_inner(jobs);
        let mut ended = into_inner(ended);
        if let Some(receipts) = into_inner(receipts)
            && let Err(failure) = receipts.close(printer)
        {
            printer.failed(None, &failure);
            ended.worst = ended.worst.max(failure.exit());
        }
        let files: u64 = found.iter().map(|found| found.count()).sum();
        let is_all = found.iter().all(|found| found.is_all());
        let unbegun = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(ended.count);
        ended.unbegun += unbegun;
        let Ended { begun, unbegun, refused_all, is_other_server, .. } = ended;
        let folders_and_links: u64 = found.iter().map(|found| found.folders_and_links()).sum();
        let made = ended.folders_and_links;
        let unmade = usize::try_from(folders_and_links).unwrap_or(usize::MAX).saturating_sub(made);
        let is_left = unbegun > 0 || unmade > 0 || !is_all;
        // The interruption came before the first file, or between two of the clients.
        if cancel.is_cancelled() && !ended.is_paused && is_left {
            ended.is_paused = true;
            ended.worst = ended.worst.max(Exit::Resumable);
        }
        // A new token goes on with the files that were not begun.
        if refused_all == Some(Code::AuthExpired) && is_left {
            ended.worst = ended.worst.max(Exit::Resumable);
        }
        // Not everything was looked for, and nothing says why.
        if !is_all && ended.worst == Exit::Done {
            ended.worst = Exit::Resumable;
        }
        let mistyped = entries_of(&jobs, &ended.never_met);
        for job in jobs {
            job.end().await;
        }
        if begun + unbegun + unmade > 0 || (ended.is_paused && !is_all) {
            let state = memory.state_now();
            // An earlier run may have begun what this one has not come to.
            let known: HashSet<_> =
                state.uploads.values().filter_map(|entry| entry.path.as_deref()).collect();
            let was_begun = |path: &&PathBuf| {
                !known.is_empty() && path.canonicalize().is_ok_and(|path| known.contains(&*path))
            };
            let begun_before = left.iter().filter(was_begun).count().min(unbegun);
            printer.unfinished(begun + begun_before, unbegun - begun_before, unmade);
            let how = match refused_all {
                // The same command would be refused again; the failure says what helps.
                _ if is_other_server => String::new(),
                None => how_to_go_on(memory, &state, printer.options_to_resume()),
                Some(Code::AuthExpired) => {
                    "To continue, run the same command again with a new token.".to_owned()
                }
                Some(_) => String::new(),
            };
            if is_together {
                let why = if ended.is_paused { Stop::Paused } else { Stop::Stopped };
                printer.rests(why, &how);
            } else if let (true, 0, Some(path)) = (ended.is_paused, begun, left.first()) {
                // Of a file that was begun the event has said it.
                printer.note(&interrupted_before(path, &how));
            }
        }
        if memory.keeps() {
            let state = memory.state_now();
            let is_listed = |job: &&JobEntry| state.jobs.iter().any(|it| it.is_same_command(job));
            for job in mistyped.iter().filter(is_listed) {
                printer.note(&unanswered(job, &memory.option()));
            }
        }
        ended.worst
    }
}

/// What a run shares with what it calls.
struct Progress<'a> {
    printer: Mutex<&'a mut Printer>,
    jobs: Mutex<Vec<Job>>,
    ended: Mutex<Ended>,
    movement: Movement,
    receipts: Mutex<Option<ReceiptsFile>>,
}

/// How the files of a run have ended so far.
#[derive(Default)]
struct Ended {
    worst: Exit,
    is_paused: bool,
    /// Files that have ended, interrupted ones that were begun included.
    count: usize,
    /// Files that were interrupted and of which the server has a part.
    begun: usize,
    /// Files that were interrupted before anything was sent.
    unbegun: usize,
    /// Folders and links that have ended.
    folders_and_links: usize,
    /// The reason for which the server refuses all files.
    refused_all: Option<Code>,
    is_other_server: bool,
    /// The commands whose client as a whole was refused.
    refused_as_a_whole: BTreeSet<usize>,
    /// The commands whose server has not answered while they ran.
    never_met: BTreeSet<usize>,
    /// The file that was interrupted before anything was sent.
    interrupted: Option<PathBuf>,
}

impl Progress<'_> {
    /// Sends all parts, and tells what the walks find meanwhile. Returns files that were not
    /// begun.
    async fn run(
        &self,
        clients: &mut [Client],
        parts: Vec<Part>,
        cancel: &CancellationToken,
        asides: &mut mpsc::Receiver<Told>,
    ) -> Vec<PathBuf> {
        let mut sending = std::pin::pin!(self.send(clients, parts, cancel));
        loop {
            tokio::select! {
                biased;
                // Cancel-safe.
                Some(told) = asides.recv() => self.tell(told),
                left = &mut sending => return left,
                silence = self.movement.silence(), if !cancel.is_cancelled() => {
                    lock(&self.printer).note(&silence);
                    cancel.cancel();
                }
            }
        }
    }

    /// Something has happened, and is shown.
    fn heard(&self, event: &Event) {
        self.movement.heard(event);
        lock(&self.printer).show(event);
    }

    /// Waits for the first files of a walk, and tells what it finds meanwhile.
    async fn first_look(
        &self,
        selection: &Selection,
        cancel: &CancellationToken,
        asides: &mut mpsc::Receiver<Told>,
    ) {
        let mut look = std::pin::pin!(selection.first_look());
        loop {
            tokio::select! {
                biased;
                // All are cancel-safe.
                () = cancel.cancelled() => return,
                Some(told) = asides.recv() => self.tell(told),
                () = &mut look => break,
            }
        }
        while let Ok(told) = asides.try_recv() {
            self.tell(told);
        }
    }

    /// Tells what a walk has found besides files.
    fn tell(&self, Told { command, aside }: Told) {
        let mut printer = lock(&self.printer);
        match aside {
            Aside::Skipped(path, reason) => printer.show(&Event::Skipped { path, reason }),
            Aside::Excluded => printer.is_excluded(),
            Aside::Barren(path) => {
                printer.note(&format!("{}: it contains nothing that can be sent", shown(&path)));
            }
            Aside::Note(path, message) => printer.show(&Event::Notice { path, message }),
            Aside::Refused(path, failure) => {
                printer.failed(Some(&path), &failure);
                let exit = failure.exit();
                let mut ended = lock(&self.ended);
                ended.worst = ended.worst.max(exit);
                if exit == Exit::Resumable {
                    // It was counted among the files, and is not one of those that were not begun.
                    ended.count += 1;
                    if let Some(job) = lock(&self.jobs).get_mut(command) {
                        job.one_has_ended();
                        job.stays_open();
                    }
                }
            }
        }
    }

    /// Sends the parts of one client after the other. Returns files that were not begun.
    async fn send(
        &self,
        clients: &mut [Client],
        mut parts: Vec<Part>,
        cancel: &CancellationToken,
    ) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for (number, client) in clients.iter_mut().enumerate() {
            let (mine, others): (Vec<Part>, _) =
                parts.into_iter().partition(|part| part.client == number);
            parts = others;
            let jobs: BTreeSet<usize> = mine.iter().filter_map(|part| part.job).collect();
            client.works_for(entries_of(&lock(&self.jobs), &jobs));
            let order = Order::of(mine);
            let (commands, stoppers) = (order.commands(), order.stoppers());
            let mut listener = |event| self.heard(&event);
            let mut end = |item: &FeedItem, put| self.ended(commands.of(item.index), item, put);
            if !cancel.is_cancelled() {
                let rest = client.put_all(order, cancel, &mut listener, &mut end).await;
                let files = rest.into_iter().filter(|item| item.kind.is_file());
                left.extend(files.map(|item| item.document.local));
            }
            let rest = stoppers.iter().flat_map(|stopper| stopper.stop());
            let files = rest.filter(|item| item.kind.is_file());
            left.extend(files.map(|item| item.document.local));
            self.client_has_ended(client, &jobs);
            if !cancel.is_cancelled() {
                for document_id in client.forget_what_is_gone().await {
                    let text = format!(
                        "document {document_id} is not an unfinished upload on the server any more; it is removed from the list"
                    );
                    lock(&self.printer).note(&text);
                }
            }
        }
        left.splice(..0, lock(&self.ended).interrupted.take());
        left
    }

    /// A file, folder or link has ended; says whether to go on with others.
    fn ended(&self, number: Option<usize>, item: &FeedItem, put: Result<Sent, Failure>) -> bool {
        let FeedItem { document, kind, not_kept, .. } = item;
        let local = &*document.local;
        let mut jobs = lock(&self.jobs);
        let mut job = number.and_then(|number| jobs.get_mut(number));
        let mut ended = lock(&self.ended);
        // An interruption leaves folders and links unmade; a file may be begun.
        let was_interrupted = matches!(put, Err(Failure::Interrupted(_)));
        if kind.is_file() {
            ended.count += 1;
            job.iter_mut().for_each(|job| job.one_has_ended());
        } else if !was_interrupted {
            ended.folders_and_links += 1;
            job.iter_mut().for_each(|job| job.folder_or_link_has_ended());
        }
        let failure = match put {
            Ok(Sent::File(receipt)) => {
                lock(&self.printer).loses(*not_kept);
                job.into_iter().for_each(|job| job.one_is_done(local));
                if let Some(receipts) = &mut *lock(&self.receipts)
                    && let Err(failure) = receipts.keep(&receipt)
                {
                    lock(&self.printer).has_no_receipt(local, &failure);
                    ended.worst = ended.worst.max(failure.exit());
                }
                return true;
            }
            Ok(Sent::Made { existing, .. }) => {
                lock(&self.printer).loses(*not_kept);
                if !existing && kind.is_by_itself() {
                    lock(&self.printer).is_made();
                }
                return true;
            }
            Ok(Sent::LeftOut(_)) => return true,
            Err(failure) => {
                let replaces = item.options.on_conflict == Some(OnConflict::Replace);
                gone_meanwhile(failure).of_item(kind.node_kind(), &document.remote, replaces)
            }
        };
        let on_conflict = job.as_ref().and_then(|job| job.entry().on_conflict);
        if failure.code() == Some(Code::Exists) && on_conflict == Some(OnConflict::Skip) {
            let (path, reason) = (local.to_owned(), "its name is taken on the server".to_owned());
            lock(&self.printer).show(&Event::Skipped { path, reason });
            return true;
        }
        ended.worst = ended.worst.max(failure.exit());
        let may_go_on = failure.exit() == Exit::Resumable || failure.kept().is_some();
        if let Some(job) = job.filter(|_| may_go_on || concerns_all(&failure)) {
            job.stays_open();
        }
        match &failure {
            Failure::Interrupted(kept) => {
                ended.is_paused = true;
                if !kind.is_file() {
                    // It counts among those that were found and have not ended.
                } else if kept.is_some() {
                    ended.begun += 1;
                } else {
                    ended.unbegun += 1;
                    ended.interrupted = Some(local.to_owned());
                }
            }
            failure => lock(&self.printer).failed(Some(local), failure),
        }
        ended.is_other_server |= matches!(failure, Failure::OtherServer { document_id: None, .. });
        let refused_all = failure.code().filter(|code| refuses_all(*code));
        let is_stranger = is_stranger(&failure);
        let signs_none = matches!(&failure, Failure::Receipt(failure) if failure.concerns_all());
        if refused_all.is_some() || is_stranger || signs_none {
            ended.refused_as_a_whole.extend(number);
        }
        ended.refused_all = ended.refused_all.or(refused_all);
        !ended.is_paused && !concerns_all(&failure)
    }

    fn client_has_ended(&self, client: &Client, its_jobs: &BTreeSet<usize>) {
        let mut jobs = lock(&self.jobs);
        let mut ended = lock(&self.ended);
        for number in its_jobs {
            let Some(job) = jobs.get_mut(*number) else { continue };
            match client.store() {
                Some(store) if !ended.is_other_server => job.is_at(store),
                // Where it has answered and did not take the token, nothing of the command was begun.
                _ if ended.refused_as_a_whole.contains(number) && client.has_logged_in() => {}
                _ if ended.refused_as_a_whole.contains(number) => job.was_refused(),
                _ if !client.has_met_server() => {
                    ended.never_met.insert(*number);
                }
                _ => {}
            }
        }
    }
}

fn entries_of(jobs: &[Job], some: &BTreeSet<usize>) -> Vec<JobEntry> {
    some.iter().filter_map(|job| Some(jobs.get(*job)?.as_written())).collect()
}

#[cfg(test)]
mod tests;
