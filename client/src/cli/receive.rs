//! `towline receive [DIR]`: a server for one sitting. What others send lands in DIR as soon as it is
//! whole; what is unfinished stays in a hidden folder there, with which a later sitting goes on.
//!
//! A sender was told SUCCESS for what is whole (P3), so the store is removed only when everything in it
//! has landed durably. That is decided when the server has stopped: the store is opened once more without
//! a port, and what it has then is all that was ever accepted. Whatever kills the program before, the next
//! sitting finds the store and goes on.

mod ended;
mod folders;
mod landed_list;
mod landing;
mod line_file;
mod offer;
mod own_name;
mod place;
mod private_group;
mod rights;
mod teller;

use super::arguments::Receive;
use super::error::{CliError, of_server};
use super::signals;
use crate::exit::Exit;
use crate::system::in_words;
use crate::text::{printable, shown};
use landing::{Landing, Outcome};
use offer::Offer;
use place::Place;
use rustix::fs::Mode;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use teller::Teller;
use tokio::task::{JoinHandle, block_in_place};
use tokio_util::sync::CancellationToken;
use towline_server::RunError;
use towline_server::cli::{Arrivals, ClosedSitting, Lines, Page, Sitting, Thing, ThingKind};
use towline_types::{Name, NodeId, StoreId};

/// How often it is asked what has arrived.
const INTERVAL: Duration = Duration::from_millis(500);

/// The most pages that are landed between two looks at everything else: a sender that moves things without
/// pause keeps neither a new line nor the end of the sitting away.
const PAGES_BETWEEN_LOOKS: u32 = 4;

/// With `--once`: how long a sender that has gone may take to come again, as one does whose connection
/// was lost.
const COMES_AGAIN: Duration = Duration::from_secs(5);

pub(super) fn run(receive: &Receive) -> Result<Exit, CliError> {
    // Read before there are threads: to read it is to set it.
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    let typed = receive.folder.clone().unwrap_or_else(|| PathBuf::from("."));
    let place = Place::open(&typed)?;
    let cancel = signals::pause();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| refused(format!("cannot start: {}", in_words(&error))))?;
    // The store is opened by descriptors of these: they stay open as long as a thread may use it.
    let _held = (place.folder().clone(), place.hidden().clone());
    let ended = runtime.block_on(sit(receive, place, umask, &cancel));
    // What still hangs on a disk that does not answer has promised nothing.
    runtime.shutdown_timeout(Duration::from_millis(300));
    ended
}

fn refused(message: String) -> CliError {
    CliError::new(Exit::Refused, message)
}

/// Why the server does not serve any more.
enum Ended {
    /// It is to stop.
    Asked,
    /// It has stopped by itself.
    ByItself(String),
    /// It is to stop, because the folders are not where they were.
    Moved(CliError),
}

async fn sit(
    receive: &Receive,
    mut place: Place,
    umask: Mode,
    cancel: &CancellationToken,
) -> Result<Exit, CliError> {
    let sitting = match Sitting::open(&place.store(), receive.listen.as_ref()).await {
        Ok(sitting) => sitting,
        Err(error) => {
            let error = of_store(&place, error);
            block_in_place(|| place.give_up());
            return Err(error);
        }
    };
    place.check_at_begin()?;
    let store_id = sitting.store_id();
    let landing = block_in_place(|| Landing::open(&place, umask, store_id)).map_err(|error| {
        let hidden = shown(place.hidden().path());
        refused(format!("{hidden} cannot be read: {}; nothing was begun", in_words(&error)))
    })?;
    let address = sitting.address().parse().map_err(|error| refused(format!("{error}")))?;
    let (arrivals, lines) = (sitting.arrivals(), sitting.lines());
    let stop = CancellationToken::new();
    let mut serving = tokio::spawn(sitting.serve(stop.clone().cancelled_owned()));
    let mut receiving = Receiving {
        teller: Teller::new(receive.answer.style(), &address),
        landing,
        folder: place.folder().path().to_owned(),
        told: HashSet::new(),
        not_landed: HashSet::new(),
        handled: 0,
    };
    let follow = Follow { once: receive.once, lines, arrivals };
    // Its part of the store is dropped with it: the store is closed when the server has stopped.
    let ended = receiving.follow(follow, &place, &mut serving, cancel).await;
    receiving.teller.close();
    if let Ok(Ended::ByItself(why)) = ended {
        let why = place.in_persons_words(&why);
        return Err(refused(format!("the server has ended by itself: {why}"))
            .advising(&place.goes_on("what has arrived is kept")));
    }
    stop.cancel();
    let served = serving.await;
    served
        .map_err(|error| error.to_string())
        .and_then(|served| served.map_err(|error| error.to_string()))
        .map_err(|why| {
            let why = place.in_persons_words(&printable(&why));
            refused(format!("the server has not stopped in good order: {why}"))
                .advising(&place.goes_on("what has arrived is kept"))
        })?;
    if let Ok(Ended::Moved(error)) = ended {
        return Err(error);
    }
    let looked = last_look(receiving, place, store_id).await;
    ended.and(looked)
}

/// What the store, which is in this process, could not do.
fn of_store(place: &Place, error: anyhow::Error) -> CliError {
    let mut error = of_server(error);
    error.message = place.in_persons_words(&error.message);
    error
}

/// Looks at the store without a server. Where everything in it has landed, it is removed.
///
/// What is looked at has to be the store that was served. It is opened from the hidden folder that is
/// held, none is made, and its number is compared; and as its database is opened by a path in the end,
/// the folders have to be where they were, before and after that. A new or another store would say that
/// nothing is left, and the one that has what senders were told is stored would be removed (P3).
async fn last_look(
    mut receiving: Receiving,
    place: Place,
    store_id: StoreId,
) -> Result<Exit, CliError> {
    place.check()?;
    let opened = ClosedSitting::open(&place.store()).await;
    let store = opened.map_err(|error| {
        of_store(&place, error).advising(&place.goes_on("what has arrived is kept"))
    })?;
    place.check()?;
    if store.store_id() != store_id {
        return Err(place.has_other_store());
    }
    let mut arrivals = store.arrivals();
    receiving.not_landed.clear();
    // Nothing arrives any more, so there is an end.
    while let Landed::Some = receiving.land(&mut arrivals, &CancellationToken::new()).await? {}
    let unfinished = arrivals.unfinished().await.map_err(of_server)?.len();
    drop(arrivals);
    // What it has is known. A store that does not close in good order is put in order by the next start.
    let _ = store.close().await;
    if let Some(left) = left(&place, receiving.not_landed.len(), unfinished) {
        return Err(left);
    }
    // P3: everything that a sender was told is stored has its name here, durably, before the store goes.
    // P5: where that cannot be made sure, the store stays.
    block_in_place(|| receiving.landing.sync_all()).map_err(|error| {
        let folder = shown(place.folder().path());
        refused(format!("{folder} cannot be synced: {}", in_words(&error)))
            .advising(&place.goes_on("what has arrived is kept"))
    })?;
    place.check()?;
    // The store is locked until it is gone: no server can open it and accept something.
    let ended = block_in_place(|| place.end())?;
    block_in_place(|| ended.remove())?;
    drop(store);
    Ok(Exit::Done)
}

/// Why the store stays, if it does.
fn left(place: &Place, not_landed: usize, unfinished: usize) -> Option<CliError> {
    if not_landed > 0 {
        let folder = shown(place.folder().path());
        let message = format!("arrived whole and without a name in {folder}: {not_landed}");
        return Some(refused(message).advising(&place.goes_on("they are kept")));
    }
    if unfinished > 0 {
        let what = "the sender runs the same command again; what has arrived is kept";
        let message = format!("uploads that are not complete: {unfinished}");
        return Some(CliError::new(Exit::Resumable, message).advising(&place.goes_on(what)));
    }
    None
}

/// How much of what has arrived was landed.
enum Landed {
    All,
    /// There may be more.
    Some,
}

/// What is asked while the server serves.
struct Follow {
    once: bool,
    lines: Lines,
    arrivals: Arrivals,
}

struct Receiving {
    teller: Teller,
    landing: Landing,
    folder: PathBuf,
    /// What could not be given a name, and was told.
    told: HashSet<NodeId>,
    /// What could not be given a name since this was cleared.
    not_landed: HashSet<NodeId>,
    /// How many files, folders and links have been dealt with, those that could not land included.
    handled: u64,
}

impl Receiving {
    /// Lands what arrives, until the person, `--once` or the server itself ends the sitting.
    async fn follow(
        &mut self,
        mut follow: Follow,
        place: &Place,
        serving: &mut JoinHandle<Result<(), RunError>>,
        cancel: &CancellationToken,
    ) -> Result<Ended, CliError> {
        let ended = self.follow_on(&mut follow, place, serving, cancel).await;
        let is_stopping = follow.lines.is_stopping();
        drop(follow);
        match ended {
            // A server that stops answers no question any more; why it does is known at its end.
            Err(_) if is_stopping => Ok(Ended::ByItself(why(serving.await))),
            ended => ended,
        }
    }

    async fn follow_on(
        &mut self,
        follow: &mut Follow,
        place: &Place,
        serving: &mut JoinHandle<Result<(), RunError>>,
        cancel: &CancellationToken,
    ) -> Result<Ended, CliError> {
        let mut offer = Offer::first(follow.once, &follow.lines, &self.teller).await?;
        let mut last_seen = Instant::now();
        loop {
            // Paths that are told lead there no more, and a path decides in the last look.
            if let Err(moved) = block_in_place(|| place.check_meanwhile()) {
                return Ok(Ended::Moved(moved));
            }
            // Asked in this order: what a sender sends that comes after the first question is there to
            // be found by the last one.
            let is_sent_to = follow.lines.has_sender();
            if is_sent_to {
                last_seen = Instant::now();
            }
            let unfinished = follow.arrivals.unfinished().await.map_err(of_server)?;
            let is_complete = unfinished.is_empty();
            self.teller.show(unfinished);
            let handled = self.handled;
            let landed = self.land(&mut follow.arrivals, cancel).await?;
            let is_all = matches!(landed, Landed::All);
            let is_new = !is_all || self.handled != handled;
            let is_over = !is_sent_to && is_complete && !is_new && handled > 0;
            let is_gone = !is_sent_to && last_seen.elapsed() >= COMES_AGAIN;
            if follow.once && is_over && is_gone {
                return Ok(Ended::Asked);
            }
            if is_gone && is_complete && self.handled == 0 {
                offer.was_for_nothing();
            }
            if offer.renew(&follow.lines, &self.teller).await? {
                last_seen = Instant::now();
            }
            tokio::select! {
                // All are cancel-safe.
                biased;
                () = cancel.cancelled() => return Ok(Ended::Asked),
                ended = &mut *serving => return Ok(Ended::ByItself(why(ended))),
                () = tokio::time::sleep(INTERVAL), if is_all => {}
                () = std::future::ready(()), if !is_all => {}
            }
        }
    }

    /// Lands what has arrived, some pages of it; after a page no more where `cancel` says so. A page that
    /// was not dealt with comes again.
    async fn land(
        &mut self,
        arrivals: &mut Arrivals,
        cancel: &CancellationToken,
    ) -> Result<Landed, CliError> {
        for _ in 0..PAGES_BETWEEN_LOOKS {
            if cancel.is_cancelled() {
                break;
            }
            let Some(page) = arrivals.page().await.map_err(of_server)? else {
                return Ok(Landed::All);
            };
            let mut outcomes = Vec::new();
            for thing in &page.things {
                if !self.landing.is_done(thing) {
                    outcomes.extend(self.land_one(arrivals, &page, thing).await);
                }
            }
            block_in_place(|| self.landing.keep()).map_err(|error| {
                let folder = shown(&self.folder);
                refused(format!("{folder} cannot be synced: {}", in_words(&error)))
            })?;
            // Their names are durable now.
            for (sent, outcome) in outcomes {
                self.handled += 1;
                self.teller.outcome(&sent, outcome);
            }
            arrivals.taken(&page);
        }
        Ok(Landed::Some)
    }

    /// What became of the thing, and what its sender calls it; nothing where it could not land, which
    /// is told.
    async fn land_one(
        &mut self,
        arrivals: &Arrivals,
        page: &Page,
        thing: &Thing,
    ) -> Option<(PathBuf, Outcome)> {
        let sent: PathBuf = thing.names.iter().map(Name::as_str).collect();
        let opened = match &thing.kind {
            ThingKind::File(version) => arrivals.open(page, version.document_id).await.map(Some),
            _ => Ok(None),
        };
        let landed = match opened {
            Ok(file) => block_in_place(|| self.landing.land(page.user, thing, file))
                .map_err(|error| in_words(&error)),
            Err(error) => Err(printable(&format!("{error:#}"))),
        };
        match landed {
            Ok(outcome) => Some((sent, outcome)),
            Err(why) => {
                self.not_landed.insert(thing.node_id);
                if self.told.insert(thing.node_id) {
                    self.handled += 1;
                    self.teller.failed(&sent, &no_name(&sent, &self.folder, &why));
                }
                None
            }
        }
    }
}

fn no_name(sent: &Path, folder: &Path, why: &str) -> CliError {
    let (sent, folder) = (shown(sent), shown(folder));
    refused(format!("{sent} has arrived whole and gets no name in {folder}: {why}"))
        .advising("it is kept, and it is tried again at the end")
}

fn why(ended: Result<Result<(), RunError>, tokio::task::JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "no reason is known".to_owned(),
        Ok(Err(error)) => printable(&error.to_string()),
        Err(error) => printable(&error.to_string()),
    }
}
