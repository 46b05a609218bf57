//! One client of one user beside forty connections of another user: what the first one keeps of the
//! speed that it has alone.

use crate::goal_test::{GoalTest, Site, say};
use crate::metric::{Goal, Metrics, mebibytes_per_second, percent, plain};
use crate::pattern::{Pattern, size};
use crate::raw_client::RawClient;
use crate::runtime::block_on;
use crate::stats::median;
use crate::towlined::Towlined;
use anyhow::{Context as _, Result, anyhow};
use fastrand::Rng;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;

/// What each connection of the crowd sends of an upload before it cancels it and begins another one.
const CROWD_BYTES: u64 = 32 * MIB;

#[derive(Debug)]
pub(crate) struct Fair {
    /// Connections of the other user.
    crowd: u32,
    /// Of the file of the one client.
    filesize: u64,
    rounds: u32,
}

impl Fair {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self { crowd: 4, filesize: 8 * MIB, rounds: 1 }
        } else {
            Self { crowd: 40, filesize: 512 * MIB, rounds: 5 }
        }
    }
}

impl GoalTest for Fair {
    fn name(&self) -> &'static str {
        "fair"
    }

    fn title(&self) -> String {
        format!("one client beside {} connections of another user", self.crowd)
    }

    fn space_bytes(&self) -> u64 {
        self.filesize + u64::from(self.crowd + 1) * CROWD_BYTES
    }

    fn run(&self, site: &Site) -> Result<Metrics> {
        let longest = size(self.filesize.max(CROWD_BYTES));
        let pattern = Arc::new(Pattern::up_to(longest, &mut Rng::with_seed(site.seed)));
        let place = site.workspace.place()?;
        let towlined = Towlined::start(place.path())?;
        let crowd = towlined.add_user("crowd")?;
        let limit = site.limit.saturating_mul(3 * self.rounds);
        let seen = block_on(limit, self.look(site, &towlined, &crowd, &pattern))?;
        towlined.stop()?;
        Ok(self.metrics(&seen))
    }
}

/// What was seen.
struct Seen {
    alone: Vec<Duration>,
    beside: Vec<Duration>,
    /// What the crowd has sent meanwhile, in bytes in a second.
    crowd: f64,
}

impl Fair {
    async fn look(
        &self,
        site: &Site<'_>,
        towlined: &Towlined,
        crowd: &str,
        pattern: &Arc<Pattern>,
    ) -> Result<Seen> {
        let (address, token) = (towlined.address(), towlined.token()?);
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        let (mut crowd_bytes, mut crowd_seconds) = (0, 0.0);
        for round in 1..=self.rounds {
            site.free_memory(self.filesize)?;
            alone.push(self.upload(towlined, address, &token, pattern).await?);
            let together = Crowd::begin(self.crowd, address, crowd, pattern, site.limit);
            let began = Instant::now();
            beside.push(self.upload(towlined, address, &token, pattern).await?);
            crowd_seconds += began.elapsed().as_secs_f64();
            crowd_bytes += together.end()?;
            let took = [&alone, &beside].map(|took| took.last().map_or(0.0, Duration::as_secs_f64));
            say(&format!("  round {round}: {:.3} s alone, {:.3} s beside them", took[0], took[1]));
        }
        let crowd = crowd_bytes as f64 / crowd_seconds;
        Ok(Seen { alone, beside, crowd })
    }

    async fn upload(
        &self,
        towlined: &Towlined,
        address: SocketAddr,
        token: &str,
        pattern: &Pattern,
    ) -> Result<Duration> {
        let name = "one.bin".to_owned();
        let began = Instant::now();
        let mut raw_client = RawClient::login(address, token).await?;
        raw_client.put(std::slice::from_ref(&name), size(self.filesize), pattern).await?;
        let took = began.elapsed();
        towlined.remove(&name)?;
        Ok(took)
    }

    fn metrics(&self, seen: &Seen) -> Metrics {
        let rate = |took: &[Duration]| {
            let seconds = median(took.iter().map(Duration::as_secs_f64)).unwrap_or(f64::NAN);
            self.filesize as f64 / seconds
        };
        let (alone, beside) = (rate(&seen.alone), rate(&seen.beside));
        let ratio = beside / alone;
        let mut metrics = Metrics::default();
        let what = plain(self.filesize);
        metrics.add(format!("an upload of {what} alone"), mebibytes_per_second(alone));
        metrics.add("the same beside them", mebibytes_per_second(beside));
        metrics.add("all of them together", mebibytes_per_second(seen.crowd));
        metrics.add_with_goal("beside / alone", percent(ratio), Goal::of("≥ 40 %", ratio >= 0.4));
        metrics
    }
}

/// The connections of the other user. They have a thread of their own, as if they came from another
/// machine: the one client does not wait for them before its bytes are on their way.
struct Crowd {
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Crowd {
    fn begin(
        size: u32,
        address: SocketAddr,
        token: &str,
        pattern: &Arc<Pattern>,
        limit: Duration,
    ) -> Self {
        let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (token, pattern) = (token.to_owned(), Arc::clone(pattern));
        let (told, counted) = (Arc::clone(&is_over), Arc::clone(&sent));
        let all = async move {
            let mut tasks = JoinSet::new();
            for number in 0..size {
                let (token, pattern) = (token.clone(), Arc::clone(&pattern));
                let (told, counted) = (Arc::clone(&told), Arc::clone(&counted));
                tasks.spawn(async move {
                    send_and_cancel(address, &token, number, &pattern, (&counted, &told)).await
                });
            }
            while let Some(done) = tasks.join_next().await {
                done?.context("a connection of the crowd")?;
            }
            Ok(())
        };
        Self { is_over, sent, thread: thread::spawn(move || block_on(limit, all)) }
    }

    /// Waits until each connection has cancelled its last upload; says how many bytes were sent
    /// until now.
    fn end(self) -> Result<u64> {
        let sent = self.sent.load(Ordering::Relaxed);
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the crowd has panicked"))??;
        Ok(sent)
    }
}

/// Sends uploads as fast as they are taken, one after the other, and counts their bytes, until it is
/// told that it is over.
async fn send_and_cancel(
    address: SocketAddr,
    token: &str,
    number: u32,
    pattern: &Pattern,
    (sent, is_over): (&AtomicU64, &AtomicBool),
) -> Result<()> {
    let mut raw_client = RawClient::login(address, token).await?;
    // No byte more is sent, so that each of them ends by the cancel.
    let filesize = size(CROWD_BYTES + 1);
    while !is_over.load(Ordering::Relaxed) {
        let granted = raw_client.begin(&format!("{number}.bin"), filesize).await?;
        raw_client.send(pattern, filesize, 0..CROWD_BYTES).await?;
        sent.fetch_add(CROWD_BYTES, Ordering::Relaxed);
        raw_client.cancel(granted.document_id).await.context("cannot cancel")?;
    }
    Ok(())
}
