//! What a byte costs in files of different sizes, and what it costs to write the same
//! files plainly: disk and memory of a machine are not flat themselves.

use crate::goal_test::{GoalTest, Site, say};
use crate::interrupt;
use crate::metric::{self, Curve, Goal, Line, Metrics, plain};
use crate::pattern::{Pattern, size};
use crate::process_stats;
use crate::raw_client::RawClient;
use crate::runtime::block_on;
use crate::stats::median;
use crate::towlined::Towlined;
use anyhow::Result;
use fastrand::Rng;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use towline_types::block::BLOCK_SIZE_BYTES;

const MIB: u64 = 1 << 20;

/// The most that the dearest size of those that are sent alone may cost, of the cheapest.
const SPREAD_MAX: f64 = 1.25;

#[derive(Debug)]
pub(crate) struct Sizes {
    filesizes: Vec<u64>,
    /// Smaller files go together, on channels of one connection, as a client sends
    /// them: that number of bytes of them.
    together: u64,
    rounds: u32,
}

impl Sizes {
    pub(crate) fn new(quick: bool) -> Self {
        if quick {
            Self { filesizes: vec![MIB, 4 * MIB, 16 * MIB], together: 8 * MIB, rounds: 1 }
        } else {
            let filesizes =
                [1, 16, 256, 1024, 4 * 1024, 20 * 1024].map(|mebibytes| mebibytes * MIB);
            Self { filesizes: filesizes.to_vec(), together: 256 * MIB, rounds: 3 }
        }
    }

    fn count(&self, filesize: u64) -> u64 {
        (self.together / filesize).max(1)
    }

    /// The longest go once: they are their own average.
    fn rounds_of(&self, filesize: u64) -> u32 {
        if filesize > 4 * 1024 * MIB { 1 } else { self.rounds }
    }
}

impl GoalTest for Sizes {
    fn name(&self) -> &'static str {
        "sizes"
    }

    fn title(&self) -> String {
        "what a byte costs in small files and in long ones".to_owned()
    }

    fn space_bytes(&self) -> u64 {
        self.together
    }

    fn run(&self, site: &Site) -> Result<Metrics> {
        let longest = self.filesizes.iter().copied().max().unwrap_or_default();
        let pattern = Pattern::up_to(size(longest), &mut Rng::with_seed(site.seed));
        let mut costs = Vec::new();
        let mut metrics = Metrics::default();
        for &filesize in &self.filesizes {
            if let Some(why) = site.lacks(&plain(filesize), filesize.max(self.together)) {
                metrics.skipped.push(why);
                continue;
            }
            let cost = self.cost(site, filesize, &pattern)?;
            add(&mut metrics, &cost);
            costs.push(cost);
        }
        let alone: Vec<&Cost> =
            costs.iter().filter(|cost| self.count(cost.filesize) == 1).collect();
        let spread = spread(&alone, |cost| cost.upload.seconds);
        metrics.add_with_goal(
            "seconds, dearest / cheapest sent alone",
            format!("{spread:.2}"),
            Goal::of(format!("≤ {SPREAD_MAX}"), spread <= SPREAD_MAX),
        );
        let spread = self::spread(&alone, |cost| cost.plain.seconds);
        metrics.add("the same of plain files", format!("{spread:.2}"));
        metrics.curve = Some(curve(&costs));
        Ok(metrics)
    }
}

fn add(metrics: &mut Metrics, cost: &Cost) {
    let what = plain(cost.filesize);
    let mut add = |name: &str, figure: f64| {
        metrics.add(format!("{what}: {name}"), format!("{figure:.3} s/GiB"));
    };
    add("by the clock", cost.upload.seconds);
    add("server's CPU", cost.upload.cpu_seconds);
    add("plain file, by the clock", cost.plain.seconds);
    add("plain file, CPU", cost.plain.cpu_seconds);
}

fn curve(costs: &[Cost]) -> Curve {
    let line = |name, of: fn(&Cost) -> f64| Line { name, points: costs.iter().map(of).collect() };
    Curve {
        places: costs.iter().map(|cost| plain(cost.filesize)).collect(),
        lines: vec![
            line("seconds", |cost| cost.upload.seconds),
            line("server's CPU", |cost| cost.upload.cpu_seconds),
            line("plain file", |cost| cost.plain.seconds),
        ],
    }
}

/// The highest by the lowest.
fn spread(costs: &[&Cost], of: fn(&Cost) -> f64) -> f64 {
    let figures = || costs.iter().map(|cost| of(cost));
    figures().fold(0.0, f64::max) / figures().fold(f64::INFINITY, f64::min)
}

/// What a GiB costs in files of one size.
struct Cost {
    filesize: u64,
    upload: Took,
    plain: Took,
}

/// By the wall clock, and of the processor.
#[derive(Debug, Clone, Copy)]
struct Took {
    seconds: f64,
    cpu_seconds: f64,
}

impl Took {
    fn of(wall: Duration, cpu: Duration) -> Self {
        Self { seconds: wall.as_secs_f64(), cpu_seconds: cpu.as_secs_f64() }
    }

    /// The middle of many, for each of that number of GiB.
    fn middle(many: &[Self], gibibytes: f64) -> Self {
        let middle = |of: fn(&Self) -> f64| median(many.iter().map(of)).unwrap_or(f64::NAN);
        Self {
            seconds: middle(|one| one.seconds) / gibibytes,
            cpu_seconds: middle(|one| one.cpu_seconds) / gibibytes,
        }
    }
}

impl Sizes {
    /// Medians of the rounds.
    fn cost(&self, site: &Site, filesize: u64, pattern: &Pattern) -> Result<Cost> {
        let (mut plain, mut upload) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds_of(filesize) {
            plain.push(self.write(site, filesize, pattern)?);
            upload.push(self.upload(site, filesize, pattern)?);
        }
        let gibibytes = (filesize * self.count(filesize)) as f64 / (1024 * MIB) as f64;
        let upload = Took::middle(&upload, gibibytes);
        say(&format!("  {}: {:.3} s/GiB", metric::plain(filesize), upload.seconds));
        Ok(Cost { filesize, upload, plain: Took::middle(&plain, gibibytes) })
    }

    /// Sends them to a server.
    fn upload(&self, site: &Site, filesize: u64, pattern: &Pattern) -> Result<Took> {
        let place = site.workspace.place()?;
        let towlined = Towlined::start(place.path())?;
        let (address, token) = (towlined.address(), towlined.token()?);
        let names: Vec<String> = (0..self.count(filesize)).map(|n| format!("{n}.bin")).collect();
        site.free_memory(filesize.max(self.together))?;
        let used = process_stats::cpu(towlined.id())?;
        let wall = block_on(site.limit_for(filesize), async {
            let mut raw_client = RawClient::login(address, &token).await?;
            let began = Instant::now();
            raw_client.put(&names, size(filesize), pattern).await?;
            Ok(began.elapsed())
        })?;
        let used = process_stats::cpu(towlined.id())?.saturating_sub(used);
        towlined.stop()?;
        clear(place);
        Ok(Took::of(wall, used))
    }

    /// Writes them and syncs each, and nothing else.
    fn write(&self, site: &Site, filesize: u64, pattern: &Pattern) -> Result<Took> {
        let place = site.workspace.place()?;
        site.free_memory(filesize.max(self.together))?;
        let used = process_stats::cpu(std::process::id())?;
        let began = Instant::now();
        for number in 0..self.count(filesize) {
            let mut file = File::create_new(place.path().join(number.to_string()))?;
            for _ in 0..filesize / BLOCK_SIZE_BYTES {
                file.write_all(pattern.block())?;
            }
            rustix::fs::fdatasync(&file)?;
            interrupt::check()?;
        }
        let took =
            Took::of(began.elapsed(), process_stats::cpu(std::process::id())?.saturating_sub(used));
        clear(place);
        Ok(took)
    }
}

fn clear(place: TempDir) {
    drop(place);
    rustix::fs::sync();
}
