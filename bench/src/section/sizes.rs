//! What a byte costs in files of different sizes.

use crate::finding::{Curve, Findings, Goal, Line, plain};
use crate::ground;
use crate::pattern::{Pattern, size};
use crate::runtime::block_on;
use crate::speaker::Speaker;
use crate::stats::median;
use crate::towlined::Towlined;
use crate::trial::{Site, Trial, say};
use crate::vitals;
use anyhow::Result;
use fastrand::Rng;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// The most that the dearest size of those that are sent alone may cost, of the cheapest.
const SPREAD_MAX: f64 = 1.25;

#[derive(Debug)]
pub(crate) struct Sizes {
    filesizes: Vec<u64>,
    /// Smaller files go together, on channels of one connection, as a client sends
    /// them: so many bytes of them.
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

impl Trial for Sizes {
    fn name(&self) -> &'static str {
        "sizes"
    }

    fn title(&self) -> String {
        "what a byte costs in small files and in long ones".to_owned()
    }

    fn space_bytes(&self) -> u64 {
        self.together
    }

    fn run(&self, site: &Site) -> Result<Findings> {
        let longest = self.filesizes.iter().copied().max().unwrap_or_default();
        let pattern = Pattern::up_to(size(longest), &mut Rng::with_seed(site.seed));
        let mut costs = Vec::new();
        let mut findings = Findings::default();
        for &filesize in &self.filesizes {
            if let Some(why) = site.lacks(&plain(filesize), filesize.max(self.together)) {
                findings.skipped.push(why);
                continue;
            }
            let cost = self.cost(site, filesize, &pattern)?;
            let Cost { seconds, cpu_seconds, .. } = cost;
            let what = plain(filesize);
            findings.add(format!("{what}: seconds/GiB"), format!("{seconds:.3}"));
            findings.add(format!("{what}: server's CPU s/GiB"), format!("{cpu_seconds:.3}"));
            costs.push(cost);
        }
        let alone = || costs.iter().filter(|cost| self.count(cost.filesize) == 1);
        let most = alone().map(|cost| cost.cpu_seconds).fold(0.0, f64::max);
        let least = alone().map(|cost| cost.cpu_seconds).fold(f64::INFINITY, f64::min);
        findings.add_with_goal(
            "CPU, dearest / cheapest of files sent alone",
            format!("{:.2}", most / least),
            Goal::of(format!("≤ {SPREAD_MAX}"), most <= least * SPREAD_MAX),
        );
        let points = |of: fn(&Cost) -> f64| costs.iter().map(of).collect();
        findings.curve = Some(Curve {
            places: costs.iter().map(|cost| plain(cost.filesize)).collect(),
            lines: vec![
                Line { name: "seconds", points: points(|cost| cost.seconds) },
                Line { name: "server's CPU seconds", points: points(|cost| cost.cpu_seconds) },
            ],
        });
        Ok(findings)
    }
}

/// What a GiB costs in files of one size.
struct Cost {
    filesize: u64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Sizes {
    /// Medians of the rounds.
    fn cost(&self, site: &Site, filesize: u64, pattern: &Pattern) -> Result<Cost> {
        if !site.quick && self.rounds_of(filesize) > 1 {
            // As in a comparison: free memory is left as this very load wants it.
            self.once(site, filesize, pattern)?;
        }
        let mut took = Vec::new();
        for _ in 0..self.rounds_of(filesize) {
            took.push(self.once(site, filesize, pattern)?);
        }
        let gibibytes = (filesize * self.count(filesize)) as f64 / (1024 * MIB) as f64;
        let middle = |of: fn(&(Duration, Duration)) -> Duration| {
            median(took.iter().map(|one| of(one).as_secs_f64() / gibibytes)).unwrap_or(f64::NAN)
        };
        let (seconds, cpu_seconds) = (middle(|one| one.0), middle(|one| one.1));
        say(&format!("  {}: {seconds:.3} s/GiB", plain(filesize)));
        Ok(Cost { filesize, seconds, cpu_seconds })
    }

    /// By the wall clock, and the server's processor time.
    fn once(&self, site: &Site, filesize: u64, pattern: &Pattern) -> Result<(Duration, Duration)> {
        let place = site.ground.place()?;
        let towlined = Towlined::start(place.path())?;
        let (address, token) = (towlined.address(), towlined.token()?);
        let names: Vec<String> = (0..self.count(filesize)).map(|n| format!("{n}.bin")).collect();
        let used = vitals::cpu(towlined.id())?;
        let wall = block_on(site.limit, async {
            let mut speaker = Speaker::login(address, &token).await?;
            let began = Instant::now();
            speaker.put(&names, size(filesize), pattern).await?;
            Ok(began.elapsed())
        })?;
        let used = vitals::cpu(towlined.id())?.saturating_sub(used);
        towlined.stop()?;
        drop(place);
        rustix::fs::sync();
        if names.len() > 1 {
            ground::rest(site.quick)?;
        }
        Ok((wall, used))
    }
}
