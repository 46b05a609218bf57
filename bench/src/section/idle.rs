//! Connections that are logged in and say nothing, and one upload beside them.

use crate::descriptors;
use crate::goal_test::{GoalTest, Site, say};
use crate::metric::{Goal, Metrics, mebibytes, mebibytes_per_second, percent, plain};
use crate::pattern::{Pattern, size};
use crate::process_stats;
use crate::raw_client::RawClient;
use crate::runtime::block_on;
use crate::stats::median;
use crate::towlined::Towlined;
use anyhow::{Context as _, Result};
use fastrand::Rng;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;

/// How many connections log in at the same time: fewer than wait in a listener's queue.
const WAVE: u32 = 200;

/// How many connections come from one address, which has some 28,000 ports.
const PER_ADDRESS: u32 = 4000;

/// How often each connection is pinged; each at its own moment.
const LOOKED_AFTER: Duration = Duration::from_secs(30);

/// Connections of uploads that may not be over yet when the next begins.
const UPLOADS_MAX: u64 = 8;

/// What a login needs and leaves is given back within it.
const SETTLES: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Idle {
    connections: u32,
    /// Of each upload.
    filesize: u64,
    uploads: u32,
    /// Watched with nothing going on.
    silence: Duration,
}

impl Idle {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self { connections: 100, filesize: 8 * MIB, uploads: 1, silence: SETTLES }
        } else {
            Self { connections: 10_000, filesize: 1024 * MIB, uploads: 5, silence: LOOKED_AFTER }
        }
    }
}

impl GoalTest for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn title(&self) -> String {
        format!("{} connections that say nothing", self.connections)
    }

    fn space_bytes(&self) -> u64 {
        self.filesize
    }

    fn run(&self, site: &Site) -> Result<Metrics> {
        let connections = self.connections.min(allowed());
        let pattern = Pattern::up_to(size(self.filesize), &mut Rng::with_seed(site.seed));
        let place = site.workspace.place()?;
        let towlined = Towlined::start(place.path())?;
        let limit = site.limit.saturating_mul(5 + 3 * self.uploads);
        let seen = block_on(limit, self.look(site, &towlined, connections, &pattern))?;
        towlined.stop()?;
        Ok(self.metrics(connections, &seen))
    }
}

/// What was seen.
struct Seen {
    alone: Vec<Duration>,
    beside: Vec<Duration>,
    before_bytes: u64,
    after_bytes: u64,
    /// The server's processor time of the silence.
    used: Duration,
}

impl Idle {
    async fn look(
        &self,
        site: &Site<'_>,
        towlined: &Towlined,
        connections: u32,
        pattern: &Pattern,
    ) -> Result<Seen> {
        let mut alone = self.uploads(site, "before", towlined, pattern).await?;
        tokio::time::sleep(SETTLES).await;
        let before_bytes = process_stats::anonymous_bytes(towlined.id())?;
        let began = Instant::now();
        let idle = connect(connections, towlined.address(), &towlined.token()?).await?;
        say(&format!("  {} logged in after {:.1} s", idle.len(), began.elapsed().as_secs_f64()));
        tokio::time::sleep(SETTLES).await;
        let after_bytes = process_stats::anonymous_bytes(towlined.id())?;
        let used = process_stats::cpu(towlined.id())?;
        tokio::time::sleep(self.silence).await;
        let used = process_stats::cpu(towlined.id())?.saturating_sub(used);
        let beside = self.uploads(site, "beside", towlined, pattern).await?;
        drop(idle);
        tokio::time::sleep(SETTLES).await;
        // A machine that grows slower meanwhile is not their fault.
        alone.extend(self.uploads(site, "after", towlined, pattern).await?);
        Ok(Seen { alone, beside, before_bytes, after_bytes, used })
    }

    async fn uploads(
        &self,
        site: &Site<'_>,
        prefix: &str,
        towlined: &Towlined,
        pattern: &Pattern,
    ) -> Result<Vec<Duration>> {
        let (address, token) = (towlined.address(), towlined.token()?);
        let mut took = Vec::new();
        for number in 0..self.uploads {
            let names = [format!("{prefix}-{number}.bin")];
            site.free_memory(self.filesize)?;
            let began = Instant::now();
            let mut raw_client = RawClient::login(address, &token).await?;
            raw_client.put(&names, size(self.filesize), pattern).await?;
            took.push(began.elapsed());
            towlined.remove(&names[0])?;
        }
        Ok(took)
    }

    fn metrics(&self, connections: u32, seen: &Seen) -> Metrics {
        let rate = |took: &[Duration]| {
            let seconds = median(took.iter().map(Duration::as_secs_f64)).unwrap_or(f64::NAN);
            self.filesize as f64 / seconds
        };
        let (alone, beside) = (rate(&seen.alone), rate(&seen.beside));
        let ratio = beside / alone;
        let grown = seen.after_bytes.saturating_sub(seen.before_bytes);
        let each = grown / u64::from(connections);
        let mut metrics = Metrics::default();
        if connections < self.connections {
            let why =
                format!("{} of them: the limit of open files", self.connections - connections);
            metrics.skipped.push(why);
        }
        metrics.add(format!("server's RssAnon over idle, {connections}"), mebibytes(grown));
        metrics.add_with_goal(
            "the same for each connection",
            format!("{:.1} KiB", each as f64 / 1024.0),
            Goal::of("< 16 KiB", each < 16 << 10),
        );
        let used = seen.used.as_secs_f64() / self.silence.as_secs_f64();
        metrics.add("server's CPU, of one core", format!("{:.1} %", used * 100.0));
        let what = plain(self.filesize);
        metrics.add(format!("an upload of {what} alone"), mebibytes_per_second(alone));
        metrics.add("the same beside them", mebibytes_per_second(beside));
        metrics.add_with_goal("beside / alone", percent(ratio), Goal::of("≥ 90 %", ratio >= 0.9));
        metrics
    }
}

/// A server takes half as many connections as it may have descriptors, and some are
/// for the uploads.
fn allowed() -> u32 {
    let half = descriptors::raised() / 2;
    u32::try_from(half.saturating_sub(UPLOADS_MAX)).unwrap_or(u32::MAX)
}

/// Opens that number of connections, and logs in on each.
async fn connect(connections: u32, address: SocketAddr, token: &str) -> Result<Vec<RawClient>> {
    let mut idle = Vec::new();
    for wave in (0..connections).step_by(WAVE as usize) {
        let mut tasks = JoinSet::new();
        for number in wave..connections.min(wave + WAVE) {
            let from = u32::from(Ipv4Addr::new(127, 0, 0, 2)) + number / PER_ADDRESS;
            let token = token.to_owned();
            tasks.spawn(async move {
                RawClient::login_from(Ipv4Addr::from(from), address, &token).await
            });
        }
        while let Some(raw_client) = tasks.join_next().await {
            idle.push(raw_client?.context("a connection that was to be idle")?);
        }
    }
    Ok(idle)
}
