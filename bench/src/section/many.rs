//! Many clients at the same time, each with a connection of its own, beside one client
//! that sends as much.

use crate::goal_test::{GoalTest, Site, say};
use crate::metric::{Goal, Metrics, mebibytes, mebibytes_per_second, percent, plain};
use crate::pattern::{Pattern, size};
use crate::process_stats::{self, Watch};
use crate::raw_client::RawClient;
use crate::runtime::block_on;
use crate::stats::median;
use crate::towlined::Towlined;
use anyhow::{Context as _, Result};
use fastrand::Rng;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use towline_types::FileSize;

const MIB: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Many {
    clients: u32,
    /// Of the file of each.
    filesize: u64,
    /// Of the one upload whose memory is watched.
    single: u64,
    rounds: u32,
}

impl Many {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self { clients: 20, filesize: MIB, single: 8 * MIB, rounds: 1 }
        } else {
            Self { clients: 1000, filesize: 4 * MIB, single: 1024 * MIB, rounds: 3 }
        }
    }

    fn whole(&self) -> u64 {
        u64::from(self.clients) * self.filesize
    }
}

impl GoalTest for Many {
    fn name(&self) -> &'static str {
        "many"
    }

    fn title(&self) -> String {
        format!("{} clients at the same time, {} each", self.clients, plain(self.filesize))
    }

    fn space_bytes(&self) -> u64 {
        self.whole().max(self.single)
    }

    fn run(&self, site: &Site) -> Result<Metrics> {
        let longest = size(self.whole().max(self.single));
        let pattern = Arc::new(Pattern::up_to(longest, &mut Rng::with_seed(site.seed)));
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            for (clients, filesize, runs) in
                [(1, self.whole(), &mut alone), (self.clients, self.filesize, &mut together)]
            {
                let run = once(site, &pattern, clients, filesize)?;
                say(&format!("  {clients} in round {round}: {:.3} s", run.all.as_secs_f64()));
                runs.push(run);
            }
        }
        let single = once(site, &pattern, 1, self.single)?;
        self.metrics(&alone, &together, &single)
    }
}

impl Many {
    fn metrics(&self, alone: &[Run], together: &[Run], single: &Run) -> Result<Metrics> {
        let rate = |runs: &[Run]| {
            let seconds = median(runs.iter().map(|run| run.all.as_secs_f64()));
            seconds.map(|seconds| self.whole() as f64 / seconds)
        };
        let rates = rate(alone).zip(rate(together));
        let (alone, all) = rates.context("there was no round")?;
        let ratio = all / alone;
        let spread = median(together.iter().map(Run::slowest_over_median)).unwrap_or_default();
        let memory = together.iter().map(|run| run.anonymous_bytes).max().unwrap_or_default();
        let resident = together.iter().map(|run| run.resident_bytes).max().unwrap_or_default();
        let mut metrics = Metrics::default();
        metrics.add("one client with as many bytes", mebibytes_per_second(alone));
        metrics.add("all clients together", mebibytes_per_second(all));
        metrics.add_with_goal(
            "all together / one",
            percent(ratio),
            Goal::of("≥ 80 %", ratio >= 0.8),
        );
        metrics.add_with_goal(
            "slowest client / median client",
            format!("{spread:.2}"),
            Goal::of("≤ 2", spread <= 2.0),
        );
        metrics.add_with_goal(
            "server's RssAnon over idle, all",
            mebibytes(memory),
            Goal::of("< 200 MiB", memory < 200 * MIB),
        );
        metrics.add("server's VmHWM, all", mebibytes(resident));
        let memory = single.anonymous_bytes;
        metrics.add_with_goal(
            format!("server's RssAnon over idle, one of {}", plain(self.single)),
            mebibytes(memory),
            Goal::of("< 16 MiB", memory < 16 * MIB),
        );
        Ok(metrics)
    }
}

/// All clients, once.
struct Run {
    /// From the first connection to the last receipt.
    all: Duration,
    each: Vec<Duration>,
    /// The most that the server had more than before.
    anonymous_bytes: u64,
    /// The most that it had at all, mapped files included.
    resident_bytes: u64,
}

impl Run {
    fn slowest_over_median(&self) -> f64 {
        let seconds = || self.each.iter().map(Duration::as_secs_f64);
        let slowest = seconds().fold(0.0, f64::max);
        median(seconds()).map_or(0.0, |median| slowest / median)
    }
}

fn once(site: &Site, pattern: &Arc<Pattern>, clients: u32, filesize: u64) -> Result<Run> {
    let place = site.workspace.place()?;
    let towlined = Towlined::start(place.path())?;
    site.free_memory(u64::from(clients) * filesize)?;
    let idle = process_stats::anonymous_bytes(towlined.id())?;
    let watch = Watch::over(towlined.id());
    let (address, token) = (towlined.address(), towlined.token()?);
    let began = Instant::now();
    let each = block_on(site.limit, all(address, &token, pattern, clients, size(filesize)))?;
    let all = began.elapsed();
    let run = Run {
        all,
        each,
        anonymous_bytes: watch.most()?.saturating_sub(idle),
        resident_bytes: process_stats::peak_bytes(towlined.id())?,
    };
    towlined.stop()?;
    drop(place);
    rustix::fs::sync();
    Ok(run)
}

/// Says how long each took, from its connection to its receipt.
async fn all(
    address: SocketAddr,
    token: &str,
    pattern: &Arc<Pattern>,
    clients: u32,
    filesize: FileSize,
) -> Result<Vec<Duration>> {
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (token, pattern) = (token.to_owned(), Arc::clone(pattern));
        tasks.spawn(async move {
            let began = Instant::now();
            let mut raw_client = RawClient::login(address, &token).await?;
            raw_client.put(&[format!("{client}.bin")], filesize, &pattern).await?;
            anyhow::Ok(began.elapsed())
        });
    }
    let mut each = Vec::new();
    while let Some(done) = tasks.join_next().await {
        each.push(done??);
    }
    Ok(each)
}
