//! Going on with an upload: what it costs before the first new byte is taken, and
//! whether that grows with the file.

use crate::goal_test::{GoalTest, Site, say};
use crate::metric::{Goal, Metrics, plain};
use crate::pattern::{Pattern, size};
use crate::process_stats;
use crate::raw_client::RawClient;
use crate::runtime::block_on;
use crate::stats::median;
use crate::towlined::Towlined;
use anyhow::Result;
use fastrand::Rng;
use std::time::{Duration, Instant};
use towline_types::DocumentId;
use towline_types::block::BLOCK_SIZE_BYTES;

const MIB: u64 = 1 << 20;

/// An upload that has half of its bytes stands in the middle of a block besides: the
/// part that has no value yet is what a server may have to read.
const INTO_BLOCK: u64 = BLOCK_SIZE_BYTES / 2;

/// A wait that no user notices.
const GRANT_MS_MAX: f64 = 100.0;

#[derive(Debug)]
pub(crate) struct Resume {
    filesizes: Vec<u64>,
    takeovers: u32,
    restarts: u32,
}

impl Resume {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self { filesizes: vec![8 * MIB, 32 * MIB], takeovers: 2, restarts: 1 }
        } else {
            let filesizes = vec![64 * MIB, 1024 * MIB, 10_240 * MIB];
            Self { filesizes, takeovers: 9, restarts: 5 }
        }
    }
}

impl GoalTest for Resume {
    fn name(&self) -> &'static str {
        "resume"
    }

    fn title(&self) -> String {
        "going on with an upload that is half there".to_owned()
    }

    fn space_bytes(&self) -> u64 {
        self.filesizes.iter().copied().min().unwrap_or_default()
    }

    fn run(&self, site: &Site) -> Result<Metrics> {
        let longest = self.filesizes.iter().copied().max().unwrap_or_default();
        let pattern = Pattern::up_to(size(longest), &mut Rng::with_seed(site.seed));
        let mut metrics = Metrics::default();
        let mut granted = Vec::new();
        for &filesize in &self.filesizes {
            // All of it is reserved at once.
            if let Some(why) = site.lacks(&plain(filesize), filesize) {
                metrics.skipped.push(why);
                continue;
            }
            let (live, restarted) = self.one(site, filesize, &pattern)?;
            add(&mut metrics, &format!("{}, live", plain(filesize)), &live);
            add(&mut metrics, &format!("{}, restarted", plain(filesize)), &restarted);
            let both = live.iter().chain(&restarted);
            granted.extend(both.map(|one| one.granted.as_secs_f64() * 1e3));
        }
        let longest = granted.iter().copied().fold(0.0, f64::max);
        metrics.add_with_goal(
            "the longest wait for any grant",
            format!("{longest:.2} ms"),
            Goal::of(format!("< {GRANT_MS_MAX} ms"), longest < GRANT_MS_MAX),
        );
        Ok(metrics)
    }
}

impl Resume {
    /// Takes one upload over many times, from the connection before, which is still
    /// open, and after restarts of the server.
    fn one(
        &self,
        site: &Site,
        filesize: u64,
        pattern: &Pattern,
    ) -> Result<(Vec<Resumption>, Vec<Resumption>)> {
        let place = site.workspace.place()?;
        let mut towlined = Towlined::start(place.path())?;
        let upload = block_on(site.limit, Half::sent(&towlined, filesize, pattern))?;
        let upload = &upload;
        let live = block_on(site.limit, async {
            let mut live = Vec::new();
            // Kept open: a connection that hangs is what is taken over from.
            let mut before = None;
            for _ in 0..self.takeovers {
                let (resumption, raw_client) = upload.resume(&towlined, pattern).await?;
                live.push(resumption);
                before.replace(raw_client);
            }
            Ok(live)
        })?;
        let mut restarted = Vec::new();
        for _ in 0..self.restarts {
            towlined.stop()?;
            towlined = Towlined::start(place.path())?;
            let resume = upload.resume(&towlined, pattern);
            restarted.push(block_on(site.limit, resume)?.0);
        }
        towlined.stop()?;
        say(&format!("  {}: done", plain(filesize)));
        Ok((live, restarted))
    }
}

/// An upload that waits for the rest.
struct Half {
    document_id: DocumentId,
    filesize: u64,
}

/// How one went on.
struct Resumption {
    /// From the request to the grant.
    granted: Duration,
    /// From the request to the moment at which the server has a byte more.
    first_byte: Duration,
    /// What the server has read of files meanwhile.
    read_bytes: u64,
}

impl Half {
    async fn sent(towlined: &Towlined, filesize: u64, pattern: &Pattern) -> Result<Self> {
        let mut raw_client = RawClient::login(towlined.address(), &towlined.token()?).await?;
        let document_id = raw_client.begin("half.bin", size(filesize)).await?.document_id;
        raw_client.send(pattern, size(filesize), 0..filesize / 2 + INTO_BLOCK).await?;
        Ok(Self { document_id, filesize })
    }

    /// Goes on for the length of a block, which ends in the middle of the next.
    async fn resume(
        &self,
        towlined: &Towlined,
        pattern: &Pattern,
    ) -> Result<(Resumption, RawClient)> {
        let (address, token) = (towlined.address(), towlined.token()?);
        let mut raw_client = RawClient::login(address, &token).await?;
        let mut watcher = RawClient::login(address, &token).await?;
        let read_before = process_stats::read_bytes(towlined.id())?;
        let began = Instant::now();
        let offset = raw_client.resume(self.document_id).await?.offset.get();
        let granted = began.elapsed();
        let end = offset + BLOCK_SIZE_BYTES;
        // A progress would say it up to 200 ms later.
        let watching = async {
            while watcher.received(self.document_id).await? <= offset {}
            Ok(began.elapsed())
        };
        let sending = raw_client.send(pattern, size(self.filesize), offset..end);
        let ((), first_byte) = tokio::try_join!(sending, watching)?;
        let read_bytes = process_stats::read_bytes(towlined.id())?.saturating_sub(read_before);
        Ok((Resumption { granted, first_byte, read_bytes }, raw_client))
    }
}

fn add(metrics: &mut Metrics, what: &str, resumptions: &[Resumption]) {
    let milliseconds = |of: fn(&Resumption) -> Duration| {
        let all = resumptions.iter().map(|one| of(one).as_secs_f64() * 1e3);
        format!("{:.2} ms", median(all).unwrap_or(f64::NAN))
    };
    metrics.add(format!("{what}: granted"), milliseconds(|one| one.granted));
    metrics.add(format!("{what}: first byte"), milliseconds(|one| one.first_byte));
    let read = resumptions.iter().map(|one| one.read_bytes).max().unwrap_or_default();
    metrics.add_with_goal(
        format!("{what}: read back, at most"),
        format!("{:.1} KiB", read as f64 / 1024.0),
        Goal::of("≤ 1 MiB", read <= BLOCK_SIZE_BYTES),
    );
}
