//! What a server asks of the system and of its catalog, counted.

use crate::goal_test::{GoalTest, Site, say};
use crate::measure;
use crate::metric::{Metrics, plain};
use crate::program;
use crate::strace::{Call, Strace};
use crate::towlined::{self, Towlined};
use crate::workload::Workload;
use anyhow::Result;
use fastrand::Rng;

const GIB: f64 = (1u64 << 30) as f64;

/// Watched, every call takes several times as long.
const SLOWER: u32 = 4;

#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) filesize: u64,
    pub(crate) files: u32,
}

impl GoalTest for Counters {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn title(&self) -> String {
        "what the server asks of the system, counted by strace".to_owned()
    }

    fn space_bytes(&self) -> u64 {
        // The log of the small files is as large as they are.
        2 * self.filesize + u64::from(self.files) * (32 << 10)
    }

    fn run(&self, site: &Site) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        if let Err(why) = program::find("strace") {
            metrics.skipped.push(why);
            return Ok(metrics);
        }
        let source = site.workspace.place()?;
        let random = &mut Rng::with_seed(site.seed);
        let workload = Workload::file(source.path(), self.filesize, random)?;
        let count = Count::of(&workload, site)?;
        add(&mut metrics, &plain(self.filesize), &count, "/GiB", workload.bytes() as f64 / GIB);
        let workload = Workload::folder(source.path(), self.files, random)?;
        let count = Count::of(&workload, site)?;
        let what = format!("{} files", self.files);
        add(&mut metrics, &what, &count, "/file", f64::from(self.files));
        Ok(metrics)
    }
}

/// Of one workload, from the client's start to the server's end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    calls: u64,
    writes: u64,
    /// Of files and folders, the catalog's not counted.
    syncs: u64,
    /// Of the catalog's log: it is synced once for each transaction that is promised.
    commits: u64,
    renames: u64,
    /// Renames that put a new state file into its place.
    state_files: u64,
}

impl Count {
    fn of(workload: &Workload, site: &Site) -> Result<Self> {
        let place = site.workspace.place()?;
        let strace = Strace::into(&place.path().join("strace.log")).map_err(anyhow::Error::msg)?;
        let watched = strace.under(&towlined::command(place.path())?);
        let towlined = Towlined::start_as(watched, place.path())?;
        let towline = towlined.put(workload.path(), towlined.address())?;
        let mark = strace.mark()?;
        let limit = site.limit.saturating_mul(SLOWER);
        let (wall, _) = measure::run(towline, &place.path().join("client.log"), limit)?;
        say(&format!("  watched, it took {:.1} s", wall.as_secs_f64()));
        let id = towlined.id();
        towlined.stop()?;
        strace.ended(id)?;
        let mut count = Self::default();
        strace.calls(mark, |call| count.add(call))?;
        Ok(count)
    }

    fn add(&mut self, call: Call) {
        self.calls += 1;
        match call.name {
            "fsync" | "fdatasync" if call.arguments.contains("catalog.db-wal>") => {
                self.commits += 1
            }
            "fsync" | "fdatasync" if !call.arguments.contains("catalog.db") => self.syncs += 1,
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.writes += 1,
            "rename" | "renameat" | "renameat2" => {
                self.renames += 1;
                // The old name comes first.
                self.state_files += u64::from(call.arguments.contains("/uploads_state.json\""));
            }
            _ => {}
        }
    }
}

fn add(metrics: &mut Metrics, what: &str, count: &Count, unit: &str, units: f64) {
    for (name, counted) in [
        ("system calls", count.calls),
        ("writes", count.writes),
        ("syncs of files and folders", count.syncs),
        ("catalog transactions", count.commits),
        ("renames", count.renames),
        ("state files written", count.state_files),
    ] {
        let each = counted as f64 / units;
        let digits = if each < 10.0 { 3 } else { 0 };
        metrics.add(format!("{what}: {name}"), format!("{each:.digits$} {unit}"));
    }
}
