//! What a crash test has done, and its results.

use super::ledger::Heard;
use std::fmt;
use std::time::Duration;

/// Counts of disasters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// `kill -9` of the server.
    pub server_kills: u64,
    /// The part of `server_kills` that happened at a named point of the code.
    pub server_kills_at_points: u64,
    /// `kill -9` of `towline put`.
    pub client_kills: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// The part of `power_cuts` that happened at a named point of the code.
    pub power_cuts_at_points: u64,
    /// Crashes at a point of the recovery from a crash.
    pub double_crashes: u64,
    /// Starts after a disaster that were killed at a random moment.
    pub starts_killed: u64,
    /// Orderly stops.
    pub stops: u64,
    /// Data folders on which all uploads were completed at the end.
    pub grounds: u64,
}

impl Counts {
    /// Kills of either side.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.server_kills + self.client_kills
    }
}

/// The table at the end.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed that reproduces the run, as far as its timing allows.
    pub seed: u64,
    /// The disasters.
    pub counts: Counts,
    /// The promises that were made meanwhile.
    pub heard: Heard,
    /// How long the run took.
    pub took: Duration,
    /// The first promise that was broken, in words.
    pub broken: Option<String>,
    /// Why there were no power cuts, if there were none.
    pub no_power_cuts: Option<String>,
}

impl Heard {
    pub(super) fn add(&mut self, other: Self) {
        self.begun += other.begun;
        self.resumed += other.resumed;
        self.durable += other.durable;
        self.receipts += other.receipts;
        self.damaged += other.damaged;
        self.taken_back += other.taken_back;
        self.cancelled += other.cancelled;
        self.tree_changes += other.tree_changes;
        self.over_http += other.over_http;
        self.http_reads += other.http_reads;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, heard, .. } = self;
        let mut row = |name: &str, count: u64| writeln!(f, "| {name} | {count} |");
        row("kill -9 of the server", counts.server_kills)?;
        row("… of these at a named point", counts.server_kills_at_points)?;
        row("kill -9 of `towline put`", counts.client_kills)?;
        row("power cuts", counts.power_cuts)?;
        row("… of these at a named point", counts.power_cuts_at_points)?;
        row("crashes during recovery", counts.double_crashes)?;
        row("starts killed at any moment", counts.starts_killed)?;
        row("orderly stops", counts.stops)?;
        row("data folders brought to a good end", counts.grounds)?;
        row("uploads begun", heard.begun)?;
        row("resumes granted", heard.resumed)?;
        row("durable offsets promised", heard.durable)?;
        row("SUCCESS promised", heard.receipts)?;
        row("damaged blocks refused", heard.damaged)?;
        row("blocks taken back", heard.taken_back)?;
        row("uploads cancelled", heard.cancelled)?;
        row("changes of a tree promised", heard.tree_changes)?;
        row("answers over HTTP that promised something", heard.over_http)?;
        row("documents read over HTTP", heard.http_reads)?;
        row("promises broken", u64::from(self.broken.is_some()))?;
        writeln!(f, "seed {}, {:.0} s", self.seed, self.took.as_secs_f64())?;
        if let Some(why) = &self.no_power_cuts {
            writeln!(f, "SKIPPED, not passed: power cuts: {why}")?;
        }
        if let Some(broken) = &self.broken {
            writeln!(f, "BROKEN: {broken}")?;
        }
        Ok(())
    }
}
