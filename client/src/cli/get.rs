//! `towline get`: files, folders and links come back.

mod feed;
mod place;

use super::arguments::Get;
use super::error::CliError;
use super::output;
use super::printer::{LinesTo, Printer};
use super::resolve;
use super::runtime::block_on;
use super::selection::found_files::FoundFiles;
use super::signals;
use crate::client::Client;
use crate::client::get::{self as client_get, GetTold};
use crate::events::{Event, Fetched, Fetching};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::get::local_folder::LocalFolder;
use crate::get::prepare::{Choices, Ended, Outcome};
use crate::get::receiver::{Receiver, Told};
use crate::get::staging::Durability;
use crate::get::unfinished::Unfinished;
use crate::get::{self, FolderModes};
use crate::locked::lock;
use crate::walk::Rules;
use feed::{Feed, First};
use place::{Goal, Source, Spot, spot};
use rustix::fs::Mode;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

pub(super) fn run(get: Get) -> Result<Exit, CliError> {
    if get.output.json && get.to_local.as_deref().is_some_and(place::is_standard_output) {
        output::put_events_on_error();
    }
    let sources: Result<Vec<_>, _> = get.sources.iter().map(|text| Source::parse(text)).collect();
    let sources = sources?;
    let goal = Goal::of(get.to_local.as_deref(), sources.len())?;
    let rules = get.choose.rules()?;
    let server = resolve::server(&get.connect, None)?;
    let credential = resolve::credential(&get.connect, None)?;
    resolve::warn_of_open_token(&credential, get.output.quiet);
    let security = resolve::security(&get.connect, &server, &credential)?;
    // Read before there are threads: to read it is to set it.
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    let client = || {
        resolve::secured(Client::new(server.clone(), credential.token.clone()), security)
            .token_file(credential.file.clone())
            .retries(get.output.retries)
    };
    let lines_to = if goal == Goal::Output { LinesTo::Error } else { LinesTo::Output };
    let printer = Printer::for_fetching(get.output.style(), lines_to);
    let run = Run {
        goal,
        on_conflict: get.on_conflict,
        durability: if get.no_sync { Durability::Unsynced } else { Durability::Synced },
        connections: get.parallel,
        rules,
        max_entries: get.entries.max_entries,
        umask,
        progress: Progress {
            printer: Mutex::new(printer),
            worst: Mutex::default(),
            current: Mutex::new(PathBuf::from(&get.sources[0])),
        },
        found: Arc::new(FoundFiles::default()),
    };
    let cancel = signals::pause();
    let fetchers = (0..run.connections).map(|_| client()).collect();
    let ran = block_on(run.all(sources, client(), fetchers, &cancel))?;
    let Progress { printer, worst, current: _ } = run.progress;
    let mut printer = printer.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut exit = worst.into_inner().unwrap_or_else(PoisonError::into_inner);
    exit = exit.max(ran?);
    printer.finish_fetching(exit);
    Ok(exit)
}

struct Run {
    goal: Goal,
    on_conflict: towline_types::OnConflict,
    durability: Durability,
    /// How many connections files are fetched over at the same time.
    connections: usize,
    /// What of folders is left out.
    rules: Rules,
    /// The most entries that a server may list.
    max_entries: u64,
    umask: Mode,
    progress: Progress,
    /// The files that were listed so far.
    found: Arc<FoundFiles>,
}

/// What is told while things are fetched.
struct Progress {
    printer: Mutex<Printer>,
    worst: Mutex<Exit>,
    /// The file that is being fetched; before the first one, what was asked for.
    current: Mutex<PathBuf>,
}

impl Run {
    /// `lister` asks what there is while the fetchers fetch it.
    async fn all(
        &self,
        sources: Vec<Source>,
        mut lister: Client,
        mut fetchers: Vec<Client>,
        cancel: &CancellationToken,
    ) -> Result<Exit, CliError> {
        lock(&self.progress.printer).expect(vec![Arc::clone(&self.found)]);
        let is_one = sources.len() == 1;
        let mut sources = sources.into_iter();
        let first = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(self.paused()),
            // Cancel-safe: it only asks.
            first = self.first(&mut sources, &mut lister, is_one) => first?,
        };
        let Some((what, first)) = first else { return Ok(Exit::Done) };
        if self.goal == Goal::Output {
            let (document_id, expected) = first
                .file()
                .ok_or_else(|| CliError::usage("only a file can be written to standard output"))?;
            self.found.add(expected.filesize.get());
            self.found.are_all();
            let receiver = get::to_output(document_id, expected).map_err(no_threads)?;
            // The bytes come in their order, over one connection.
            fetchers.truncate(1);
            return Ok(self.fetch(&mut fetchers, receiver, cancel).await);
        }
        let goal = self.goal.clone();
        let goal = if is_one { goal.continued(&what, first.is_named_folder()) } else { goal };
        let Spot { folder, name, is_new } = spot(&goal, first.name())?;
        let base = open(&folder, is_new)?;
        // Where the folder cannot be made or marked, the things below it say why.
        let made = match (&goal, &name) {
            (Goal::As(_), Some(name)) if first.is_named_folder() => {
                base.make_subfolder(name, first.folder_mode()).ok()
            }
            _ => None,
        };
        let is_first_made = made.as_ref().is_some_and(|(_, is_made)| *is_made);
        let unfinished = made.and_then(|(folder, _)| Unfinished::mark(folder, &what).ok());
        // Folders of a tree are made durable together, at the end.
        let is_one_file = first.file().is_some() && is_one;
        let choices = Choices {
            on_conflict: self.on_conflict,
            durability: self.durability,
            syncs_folders: !is_one_file,
        };
        let fetching = get::into_folder(base.clone(), choices, self.umask, fetchers.len());
        let get::Fetching { wanted, receiver, modes } = fetching.map_err(no_threads)?;
        let feed = Feed {
            wanted,
            found: &self.found,
            progress: &self.progress,
            is_first_made,
            rules: &self.rules,
            max_entries: self.max_entries,
        };
        let feeding = async {
            let fed = feed.all(first, name, sources, &mut lister).await;
            self.found.are_all();
            fed
        };
        let fetching = self.fetch(&mut fetchers, receiver, cancel);
        let exit = both(feeding, fetching, cancel, &self.progress).await;
        let is_whole = exit == Exit::Done && *lock(&self.progress.worst) == Exit::Done;
        let unfinished = unfinished.filter(|_| is_whole);
        let done = tokio::task::spawn_blocking({
            let durability = self.durability;
            move || complete(&modes, &base, unfinished, durability, !is_one_file)
        });
        for (path, failure) in done.await.unwrap_or_default() {
            self.progress.failed(&path, &failure);
        }
        Ok(exit)
    }

    /// The first source that is on the server, and the text by which it was asked for; `None` where
    /// none is there, which was said then.
    async fn first(
        &self,
        sources: &mut impl Iterator<Item = Source>,
        lister: &mut Client,
        is_one: bool,
    ) -> Result<Option<(String, First)>, CliError> {
        for source in sources {
            let what = source.to_string();
            // With `-o NAME` the source gets another name here, with `-o -` none.
            let keeps_name = matches!(self.goal, Goal::Into(_) | Goal::IntoNew(_));
            match First::of(source, keeps_name, lister, &self.progress).await {
                Ok(first) => return Ok(Some((what, first))),
                Err(failure) if is_one || !failure.is_of_one_thing() => {
                    return Err(CliError::about(&what, failure));
                }
                Err(failure) => self.progress.failed(Path::new(&what), &failure),
            }
        }
        Ok(None)
    }

    async fn fetch(
        &self,
        fetchers: &mut [Client],
        receiver: Receiver,
        cancel: &CancellationToken,
    ) -> Exit {
        let listener = |told| self.progress.tell(told);
        let fetched = client_get::fetch(fetchers, &receiver, cancel, &listener).await;
        lock(&self.progress.printer).fetched_bytes(receiver.fetched_bytes());
        match fetched {
            Ok(()) => Exit::Done,
            Err(Failure::Interrupted(_)) => self.paused(),
            Err(failure) => {
                let failure = match self.goal {
                    Goal::Output => Failure::OfOutput(Box::new(failure)),
                    _ => failure,
                };
                let path = receiver.current().map(|download| download.path.clone());
                lock(&self.progress.printer).failed(path.as_deref(), &failure);
                failure.exit()
            }
        }
    }

    fn paused(&self) -> Exit {
        let text = match self.goal {
            Goal::Output => {
                "interrupted; what was written to standard output is not the whole file. The same \
                 command begins with its first byte again"
            }
            _ => "paused; what has arrived is kept. Run the same command again to continue",
        };
        lock(&self.progress.printer).note(text);
        Exit::Resumable
    }
}

/// Lists and fetches at the same time. Where the fetching ends before, nothing more is listed.
async fn both(
    feeding: impl Future<Output = Result<(), Failure>>,
    fetching: impl Future<Output = Exit>,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Exit {
    let mut fetching = std::pin::pin!(fetching);
    let mut exit = tokio::select! {
        biased;
        exit = &mut fetching => return exit,
        () = cancel.cancelled() => Exit::Done,
        fed = feeding => match fed {
            Ok(()) => Exit::Done,
            Err(failure) => {
                lock(&progress.printer).failed(None, &failure);
                failure.exit()
            }
        },
    };
    exit = exit.max(fetching.await);
    exit
}

/// Gives folders their modes, and makes what was fetched durable. Blocks.
fn complete(
    modes: &FolderModes,
    base: &LocalFolder,
    unfinished: Option<Unfinished>,
    durability: Durability,
    is_tree: bool,
) -> Vec<(PathBuf, Failure)> {
    let unmarked = unfinished.map_or(Ok(()), Unfinished::has_ended);
    let failure = |path: &Path, action, source| {
        let path = path.to_owned();
        (path.clone(), Failure::File { action, path, source, kept: None })
    };
    let failed = modes.end();
    let mut failed: Vec<_> =
        failed.into_iter().map(|(path, error)| failure(&path, "set the mode of", error)).collect();
    if let Err(error) = unmarked {
        failed.push(failure(base.path(), "write", error));
    }
    if is_tree
        && durability == Durability::Synced
        && let Err(error) = base.sync_file_system()
    {
        failed.push(failure(base.path(), "write", error));
    }
    failed
}

impl Progress {
    fn tell(&self, told: GetTold) {
        let mut printer = lock(&self.printer);
        match told {
            GetTold::Of(Told::Progress { download, left_bytes }) => {
                let filesize = download.expected.filesize;
                let mut current = lock(&self.current);
                if *current != download.path {
                    current.clone_from(&download.path);
                }
                printer.show(&Event::Fetching(Fetching {
                    path: download.path.clone(),
                    document_id: download.document_id,
                    filesize,
                    fetched: filesize.get() - left_bytes,
                }));
            }
            GetTold::Of(Told::Ended(ended)) => {
                drop(printer);
                self.ended(ended);
            }
            GetTold::Waiting(wait) => printer.show(&Event::Waiting {
                path: lock(&self.current).clone(),
                reason: wait.reason,
                attempt: wait.attempt,
                next_in: wait.next_in,
            }),
        }
    }

    fn ended(&self, ended: Ended) {
        let Ended { path, file, outcome } = ended;
        let mut printer = lock(&self.printer);
        let (existing, made) = match outcome {
            Outcome::Fetched => (false, false),
            Outcome::Existing => (true, false),
            Outcome::Made => (false, true),
            Outcome::Skipped(reason) => {
                return printer.show(&Event::Skipped { path, reason: reason.to_owned() });
            }
            Outcome::Failed(failure) => {
                drop(printer);
                return self.failed(&path, &failure);
            }
        };
        match file {
            Some((document_id, expected)) => printer.show(&Event::Fetched(Fetched {
                path,
                document_id,
                filesize: expected.filesize,
                blake3: expected.blake3,
                existing,
            })),
            None => printer.show(&Event::Made { path, existing: !made }),
        }
    }

    /// A rule has left a file, folder or link out.
    fn excluded(&self) {
        lock(&self.printer).is_excluded();
    }

    fn failed(&self, path: &Path, failure: &Failure) {
        let mut worst = lock(&self.worst);
        *worst = (*worst).max(failure.exit());
        lock(&self.printer).failed(Some(path), failure);
    }
}

fn open(folder: &Path, is_new: bool) -> Result<LocalFolder, CliError> {
    let opened = if is_new { get::local_folder::make(folder) } else { LocalFolder::open(folder) };
    opened.map_err(|error| place::cannot_open(folder, &error))
}

fn no_threads(error: std::io::Error) -> CliError {
    CliError::new(Exit::Refused, format!("cannot start: {}", crate::system::in_words(&error)))
}
