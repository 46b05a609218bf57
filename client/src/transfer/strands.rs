//! The extra connections of one transfer. The main connection holds the lease and has
//! the last word; a strand takes blocks as it has room for them, in whatever order that
//! comes to, and when there are no more it confirms that the server has dealt with all
//! that it sent.
//!
//! Nobody keeps account of who has which block. Where a strand was lost, the server is
//! asked for what it holds, and what is missing is sent again: so a lost connection
//! costs its own blocks and no others.

mod lag;
mod losses;
mod ramp;
mod strand;

use crate::feeder::Block;
use crate::retry::Backoff;
use lag::Lag;
use losses::Losses;
pub(super) use ramp::Ramp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
pub(super) use strand::Errand;
use strand::{News, Order, Worker};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use towline_types::BlockIndex;

/// After the main connection is lost, strands may go on for so long with what they have,
/// and no longer than this without a sign that they do.
const FLUSH: Duration = Duration::from_secs(30);
const FLUSH_SILENCE: Duration = Duration::from_secs(3);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Strands {
    /// Nothing where the server knows no strands.
    errand: Option<Errand>,
    /// How many there should be.
    wanted: usize,
    strands: BTreeMap<u32, Strand>,
    /// How many there have been.
    ever: u32,
    tickets: u64,
    reporter: UnboundedSender<(u32, News)>,
    reports: UnboundedReceiver<(u32, News)>,
    /// Blocks that were lost with a connection, and not sent again yet.
    losses: Losses,
    /// How the last ones keep the others waiting.
    lag: Lag,
    /// Of those that were given up on their way back: who takes their place waits as they
    /// would have.
    backoffs: Vec<Arc<Mutex<Backoff>>>,
}

/// One of them, as seen from here.
#[derive(Debug)]
struct Strand {
    orders: UnboundedSender<Order>,
    task: JoinHandle<()>,
    /// Has joined, as far as is known.
    is_open: bool,
    wants: bool,
    /// Was given blocks since it last confirmed.
    is_behind: bool,
    /// Was asked to confirm all that it was given.
    asked: Option<u64>,
    backoff: Arc<Mutex<Backoff>>,
    /// What is on its connection is not to arrive any more.
    is_given_up: Arc<AtomicBool>,
}

impl Drop for Strand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Strand {
    /// Ends it, and what is on its way.
    async fn give_up(mut self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Strands {
    pub(super) fn new(errand: Option<Errand>, wanted: usize) -> Self {
        let (reporter, reports) = mpsc::unbounded_channel();
        let wanted = if errand.is_some() { wanted } else { 0 };
        let strands = BTreeMap::new();
        Self {
            errand,
            wanted,
            strands,
            ever: 0,
            tickets: 0,
            reporter,
            reports,
            losses: Losses::default(),
            lag: Lag::default(),
            backoffs: Vec::new(),
        }
    }

    /// Whether there could be any.
    pub(super) fn are_possible(&self) -> bool {
        self.errand.is_some()
    }

    /// How many there should be.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    pub(super) fn add_one(&mut self) {
        self.wanted += 1;
    }

    /// Starts those that should be there and are not.
    pub(super) fn fill_up(&mut self) {
        let Some(errand) = &self.errand else { return };
        while self.strands.len() < self.wanted {
            self.ever += 1;
            let (orders, inbox) = mpsc::unbounded_channel();
            let backoff = self.backoffs.pop();
            let backoff = backoff.unwrap_or_else(|| Arc::new(Mutex::new(Backoff::new(None))));
            let is_given_up = Arc::new(AtomicBool::new(false));
            let worker = Worker {
                number: self.ever,
                errand: errand.clone(),
                orders: inbox,
                reports: self.reporter.clone(),
                backoff: Arc::clone(&backoff),
                is_given_up: Arc::clone(&is_given_up),
            };
            let task = tokio::spawn(worker.run());
            let strand = Strand {
                orders,
                task,
                is_open: false,
                wants: false,
                is_behind: false,
                asked: None,
                backoff,
                is_given_up,
            };
            self.strands.insert(self.ever, strand);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.strands.is_empty()
    }

    /// How much of the file they have sent.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.errand.as_ref().map_or(0, |errand| errand.sent_bytes.load(Ordering::Relaxed))
    }

    /// Whether one of them could take a block.
    pub(super) fn want_a_block(&self) -> bool {
        self.strands.values().any(|strand| strand.wants)
    }

    /// Gives a block to one that wants it.
    pub(super) fn hand_out(&mut self, block: Block) {
        let Some((&number, strand)) = self.strands.iter_mut().find(|(_, strand)| strand.wants)
        else {
            // Taken by nobody, it is missing like one that was lost.
            self.losses.add(Instant::now());
            return;
        };
        strand.wants = false;
        strand.is_behind = true;
        strand.asked = None;
        if strand.orders.send(Order::Send(block)).is_err() {
            self.remove_lost(number);
        }
    }

    /// A block was handed out, to one of them or to the main connection.
    pub(super) fn handed_out(&mut self) {
        self.losses.handed_out();
        self.lag.reset();
    }

    /// One that is no more, and does not come back; so is what it had.
    fn remove_lost(&mut self, number: u32) {
        self.strands.remove(&number);
        self.wanted = self.wanted.saturating_sub(1);
        self.losses.add(Instant::now());
    }

    /// Takes in what one of them says; a block that did not arrive as it was sent.
    ///
    /// Cancel-safe: news are either taken in or still there.
    pub(super) async fn next(&mut self) -> Option<BlockIndex> {
        // There is always somebody who could say something: we ourselves.
        let (number, news) = self.reports.recv().await?;
        let strand = self.strands.get_mut(&number)?;
        match news {
            News::Room => (strand.is_open, strand.wants) = (true, true),
            News::Damaged(index) => return Some(index),
            News::Confirmed(ticket) => {
                strand.is_behind &= strand.asked != Some(ticket);
                self.lag.reset();
            }
            News::Lost | News::Over => {
                // Where it was looking for its way back, its loss is counted.
                if strand.is_open && strand.is_behind {
                    self.losses.add(Instant::now());
                }
                (strand.is_open, strand.wants, strand.asked) = (false, false, None);
                if news == News::Over {
                    self.strands.remove(&number);
                    self.wanted = self.wanted.saturating_sub(1);
                }
            }
        }
        None
    }

    /// Has them confirm what they were given; says whether all have. One that is looking
    /// for its way back is given up: what it had is lost, and it must not come upon the
    /// blocks that others send for it.
    pub(super) async fn settle(&mut self) -> bool {
        let is_stray = |strand: &Strand| strand.is_behind && !strand.is_open;
        let strays: Vec<u32> =
            self.strands.iter().filter(|(_, s)| is_stray(s)).map(|(number, _)| *number).collect();
        for number in strays {
            if let Some(strand) = self.strands.remove(&number) {
                self.backoffs.push(Arc::clone(&strand.backoff));
                strand.give_up().await;
            }
        }
        // A task ends with a word, unless its code has panicked.
        let has_ended = |strand: &Strand| strand.is_behind && strand.orders.is_closed();
        let ended: Vec<u32> =
            self.strands.iter().filter(|(_, s)| has_ended(s)).map(|(number, _)| *number).collect();
        for number in ended {
            self.remove_lost(number);
        }
        for strand in self.strands.values_mut().filter(|s| s.is_behind && s.asked.is_none()) {
            self.tickets += 1;
            strand.asked = Some(self.tickets);
            let _ = strand.orders.send(Order::Confirm(self.tickets));
        }
        !self.strands.values().any(|strand| strand.is_behind)
    }

    /// When those who have not confirmed are to be looked at.
    pub(super) fn lag_ends(&self) -> Option<Instant> {
        self.lag.ends()
    }

    /// Gives up those who have not confirmed, where that has taken too long and not enough
    /// has come: the server has that much. Says whether it did.
    pub(super) async fn give_up_late(&mut self, received_bytes: u64) -> bool {
        let bytes = received_bytes.saturating_add(self.sent_bytes());
        if !self.lag.is_too_long(Instant::now(), bytes) {
            return false;
        }
        let is_late = |strand: &Strand| strand.is_behind;
        let late: Vec<u32> =
            self.strands.iter().filter(|(_, s)| is_late(s)).map(|(number, _)| *number).collect();
        for number in late {
            if let Some(strand) = self.strands.remove(&number) {
                strand.give_up().await;
            }
            // It would be as late again.
            self.remove_lost(number);
        }
        self.lag.reset();
        true
    }

    /// Nobody waits for those who have not confirmed.
    pub(super) fn are_in_time(&mut self) {
        self.lag.reset();
    }

    /// Whether blocks were lost.
    pub(super) fn have_lost(&self) -> bool {
        !self.losses.is_none()
    }

    /// Whether what was lost cannot wait until the end.
    pub(super) fn must_mend(&self) -> bool {
        self.losses.are_due(Instant::now())
    }

    /// What was lost is being sent again.
    pub(super) fn mended(&mut self) {
        self.losses = Losses::default();
    }

    /// Lets them end what they have begun, after the main connection was lost: a new lease
    /// would forget the blocks that they are at. It takes no longer than it takes them.
    pub(super) async fn flush(&mut self) {
        let began = Instant::now();
        while !self.settle().await && began.elapsed() < FLUSH {
            let before = self.sent_bytes();
            let heard = timeout(FLUSH_SILENCE, self.next()).await;
            if heard.is_err() && self.sent_bytes() == before {
                return;
            }
        }
    }
}
