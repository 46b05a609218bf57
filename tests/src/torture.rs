//! Random disasters, one after another, and after each of them the check that no promise was
//! broken.
//!
//! A server process over a data folder of its own, on volumes that can lose their power. Users
//! upload to it over raw connections and over HTTP, going on at one door with what was begun at the
//! other, and one user uploads with the real `towline put`. Every promise to them is written to a
//! ledger. Another user's files and folders are replaced, moved,
//! removed and restored meanwhile. Then the server or a client is killed, or the power is
//! cut: at a random moment, or at a named point of the code; and while the server starts again it
//! may be killed once more. After that the server's answers and the disk are compared with the
//! ledger, and all uploads continue. From time to time all uploads are completed, the whole folder
//! is checked, and a new data folder begins.
//!
//! The test checks P1, P2, P3 and P4 of the README; P5 has tests of its own. Of the trees it checks
//! that each change that was answered stays, that one that was not answered was made wholly or not
//! at all, and that the list, the log of changes and the disk are one: see `tree_check.rs`.

mod audit;
mod cli_uploader;
mod crash_client;
mod data_dirs;
mod disaster;
mod http_look;
mod http_record;
mod http_uploader;
mod ledger;
mod round;
mod tally;
mod tree_check;
mod tree_ledger;
mod tree_worker;
mod uploader;

pub use data_dirs::Layout;
pub use ledger::Heard;
pub use tally::{Counts, Report};

use crate::process::Launch;
use crate::site::Site;
use crate::strace::Strace;
use crate::volume::Unavailable;
use audit::Audit;
use crash_client::Connections;
use data_dirs::DataDirs;
use disaster::{Disaster, Point};
use ledger::Ledger;
use round::{Round, Stuck};
use std::path::Path;
use std::time::{Duration, Instant};

/// The settings of a crash test.
#[derive(Debug, Clone)]
pub struct CrashTest {
    /// The seed of the random choices.
    pub seed: u64,
    /// The number of kills, power cuts and double crashes, unless the time ends before.
    pub goal: Goal,
    /// When the test stops.
    pub until: Option<Instant>,
    /// Failpoints that are always set: for the controls, which have to break a promise.
    pub failpoints: Option<String>,
    /// `strace` leaves SQLite's syncs out: for a control.
    pub fakes_catalog_sync: bool,
    /// `--durability relaxed`: bytes that are not called durable may be lost, but every published
    /// file is complete, and what is called durable stays.
    pub is_relaxed: bool,
    /// The layout of the data folder; a random one where none is given.
    pub layout: Option<Layout>,
    /// Prints the counts from time to time.
    pub is_loud: bool,
}

/// The number of disasters of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// `kill -9`, of server and client.
    pub kills: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Crashes during recovery.
    pub doubles: u64,
}

/// The number of rounds with one data folder.
const ROUNDS: u32 = 25;

/// The whole state of a crash test.
struct Run {
    torture: CrashTest,
    chance: fastrand::Rng,
    counts: Counts,
    heard: Heard,
    began: Instant,
    no_power_cuts: Option<String>,
    last: Option<Disaster>,
}

impl CrashTest {
    /// Kills, power cuts and double crashes, until these numbers are reached.
    #[must_use]
    pub fn of(seed: u64, goal: Goal) -> Self {
        Self {
            seed,
            goal,
            until: None,
            failpoints: None,
            fakes_catalog_sync: false,
            is_relaxed: false,
            layout: None,
            is_loud: false,
        }
    }

    /// Runs the test, until the goal is reached, the time is over, or a promise is broken.
    pub async fn run(self) -> Report {
        let chance = fastrand::Rng::with_seed(self.seed);
        let mut run = Run {
            torture: self,
            chance,
            counts: Counts::default(),
            heard: Heard::default(),
            began: Instant::now(),
            no_power_cuts: None,
            last: None,
        };
        let mut broken = None;
        while broken.is_none() && !run.is_over() {
            broken = run.one_ground().await;
            run.counts.grounds += u64::from(broken.is_none());
        }
        run.report(broken)
    }
}

impl Run {
    fn report(&self, broken: Option<String>) -> Report {
        Report {
            seed: self.torture.seed,
            counts: self.counts,
            heard: self.heard,
            took: self.began.elapsed(),
            broken,
            no_power_cuts: self.no_power_cuts.clone(),
        }
    }

    /// The numbers that are still to be reached.
    fn left(&self) -> Goal {
        let Goal { kills, cuts, doubles } = self.torture.goal;
        Goal {
            kills: kills.saturating_sub(self.counts.kills()),
            cuts: match self.no_power_cuts {
                Some(_) => 0,
                None => cuts.saturating_sub(self.counts.power_cuts),
            },
            doubles: doubles.saturating_sub(self.counts.double_crashes),
        }
    }

    fn is_over(&self) -> bool {
        let Goal { kills, cuts, doubles } = self.left();
        kills + cuts + doubles == 0 || self.torture.until.is_some_and(|end| Instant::now() >= end)
    }

    /// Uses one data folder from its start until all uploads on it are completed. Returns the first
    /// promise that was broken.
    async fn one_ground(&mut self) -> Option<String> {
        let data_dirs = self.data_dirs().await;
        let mut launch = Launch::over(data_dirs.site());
        if let Some(always) = &self.torture.failpoints {
            launch = launch.failpoints(always);
        }
        if self.torture.is_relaxed {
            launch = launch.arguments(&["--durability", "relaxed"]);
        }
        let ledger = Ledger::of_server(self.torture.is_relaxed);
        let connections = Connections::default();
        let audit = Audit::default();
        if self.torture.fakes_catalog_sync {
            launch = launch.under(&no_catalog_sync(data_dirs.site()).words());
        }
        let mut round = Round {
            data_dirs,
            ledger,
            audit,
            launch,
            server: None,
            plan: None,
            has_crashed: false,
            cli_uploader: None,
            connections,
            last_words: Vec::new(),
        };
        let ended = self.rounds(&mut round).await;
        self.heard.add(round.ledger.heard());
        if let Some(cli_uploader) = &mut round.cli_uploader {
            cli_uploader.kill().await;
        }
        if let Some(server) = round.server.take() {
            round.bury(server).await;
        }
        let broken = ended.err().map(|stuck| stuck.0).or(round.ledger.broken())?;
        let last =
            round.last_words.iter().rev().take(12).rev().cloned().collect::<Vec<_>>().join("\n");
        Some(format!("{broken}\nthe server's last words:\n{last}"))
    }

    async fn data_dirs(&mut self) -> DataDirs {
        let only_cuts_left = self.left().kills + self.left().doubles == 0;
        let layout = self.torture.layout.unwrap_or_else(|| match self.chance.u8(0..10) {
            0 if !only_cuts_left => Layout::Folder,
            0..5 => Layout::OneVolume,
            _ => Layout::TwoVolumes,
        });
        match DataDirs::new(layout).await {
            Ok(data_dirs) => data_dirs,
            // The machine had volumes before, so it can have one again.
            Err(error) if self.counts.power_cuts > 0 => panic!("no volume any more: {error}"),
            Err(Unavailable(why)) => {
                self.no_power_cuts = Some(why);
                DataDirs::new(Layout::Folder).await.expect("a folder")
            }
        }
    }

    async fn rounds(&mut self, round: &mut Round) -> Result<(), Stuck> {
        for _ in 0..ROUNDS {
            if self.is_over() {
                break;
            }
            self.round(round).await?;
            if round.ledger.broken().is_some() {
                return Ok(());
            }
        }
        if self.torture.is_loud {
            println!("{:.0} s: {:?}", self.began.elapsed().as_secs_f64(), self.counts);
        }
        round.finish(&mut self.chance).await
    }

    async fn round(&mut self, round: &mut Round) -> Result<(), Stuck> {
        let disaster = self.disaster(&round.data_dirs);
        if disaster.point().is_some() {
            self.counts.stops += u64::from(round.stop().await?);
        }
        if round.server.is_none() {
            self.start(round, disaster.point()).await?;
        }
        round.audit(&mut self.chance).await?;
        if let Some(broken) = round.ledger.broken() {
            let (last, layout) = (&self.last, round.data_dirs.layout);
            return Err(Stuck(format!("{broken} (after {last:?}, {layout:?})")));
        }
        let traffic = round.traffic(&mut self.chance).await;
        self.wait(round, &disaster).await;
        self.strike(round, &disaster).await?;
        round.calm(traffic, &disaster).await;
        self.last = Some(disaster.clone());
        if let Some(broken) = round.ledger.broken() {
            return Err(Stuck(format!(
                "{broken} (after {disaster:?}, {:?})",
                round.data_dirs.layout
            )));
        }
        Ok(())
    }

    fn disaster(&mut self, data_dirs: &DataDirs) -> Disaster {
        let Goal { kills, cuts, doubles } = self.left();
        // A double crash begins with any disaster.
        let (kills, cuts) = if kills + cuts == 0 { (doubles, doubles) } else { (kills, cuts) };
        let can_cut = data_dirs.has_power_to_lose() && cuts > 0;
        if can_cut
            && self.chance.u64(..kills.min(1 << 20) + cuts.min(1 << 20)) >= kills.min(1 << 20)
        {
            return match self.chance.bool() {
                true => Disaster::PowerCut,
                false => Disaster::PowerCutAt(Point::while_serving(
                    &mut self.chance,
                    self.torture.is_relaxed,
                )),
            };
        }
        match self.chance.u8(0..10) {
            0..4 => Disaster::KillServer,
            4..7 => Disaster::KillServerAt(Point::while_serving(
                &mut self.chance,
                self.torture.is_relaxed,
            )),
            _ => Disaster::KillClient,
        }
    }

    /// Starts the server; it may be killed once more during the start.
    async fn start(&mut self, round: &mut Round, plan: Option<&Point>) -> Result<(), Stuck> {
        let left = self.left();
        let all = left.kills + left.cuts + left.doubles;
        // A kill during recovery needs something to recover, which only a crash leaves.
        if round.has_crashed
            && left.doubles > 0
            && self.chance.u64(..all) < left.doubles.saturating_mul(2)
        {
            for _ in 0..self.chance.u8(1..3) {
                self.crash_in_recovery(round).await?;
            }
        }
        let mut launch = round.launch.clone();
        if let Some(point) = plan {
            launch = launch.failpoints(&self.plan(point));
        }
        round.plan = plan.cloned();
        let server = match launch.try_start().await {
            Ok(server) => server,
            // The recovery can reach the point that was meant for later.
            Err(ended) if plan.is_some() && ended.was_killed() => {
                self.counts.double_crashes += u64::from(round.has_crashed);
                round.plan = None;
                round.launch.try_start().await.map_err(Stuck::at_start)?
            }
            Err(ended) => return Err(Stuck::at_start(ended)),
        };
        round.launch = round.launch.clone().listen(server.address());
        round.server = Some(server);
        Ok(())
    }

    async fn crash_in_recovery(&mut self, round: &mut Round) -> Result<(), Stuck> {
        if self.chance.u8(0..4) == 0 {
            let after = Duration::from_micros(self.chance.u64(500..40_000));
            round.launch.start_and_kill(after).await;
            self.counts.starts_killed += 1;
        } else {
            let point = Point::while_recovering(&mut self.chance);
            match round.launch.clone().failpoints(&self.plan(&point)).try_start().await {
                Err(ended) if ended.was_killed() => self.counts.double_crashes += 1,
                Err(ended) => return Err(Stuck::at_start(ended)),
                // The server had nothing to recover at that point.
                Ok(server) => round.bury(server).await,
            }
        }
        if round.data_dirs.has_power_to_lose() && self.chance.bool() {
            round.data_dirs.power_off();
            round.data_dirs.power_on();
        }
        Ok(())
    }

    /// The failpoints of a control, and one more.
    fn plan(&self, point: &Point) -> String {
        match &self.torture.failpoints {
            Some(always) => format!("{always},{point}"),
            None => point.to_string(),
        }
    }

    /// Waits until the moment of the disaster.
    async fn wait(&mut self, round: &mut Round, disaster: &Disaster) {
        let server = round.server.as_mut().expect("the server was started");
        match disaster.point() {
            Some(_) => drop(server.ends_within(Duration::from_millis(700)).await),
            None => {
                let most = if self.chance.u8(0..8) == 0 { 1200 } else { 160 };
                // A random moment: this tests exactly the moments for which no event could be
                // waited for.
                tokio::time::sleep(Duration::from_millis(self.chance.u64(0..most))).await;
            }
        }
    }

    async fn strike(&mut self, round: &mut Round, disaster: &Disaster) -> Result<(), Stuck> {
        let at_point = round.died_as_planned()?;
        if *disaster == Disaster::KillClient {
            if let Some(cli_uploader) = &mut round.cli_uploader {
                self.counts.client_kills += u64::from(cli_uploader.kill().await);
            }
            return Ok(());
        }
        if disaster.cuts_power() {
            // A machine does nothing more once its power is cut. This server would still run for a
            // moment, and see one disk fail before the other, so it is stopped first.
            round.server.as_mut().expect("the server was started").freeze();
            round.data_dirs.power_off();
        }
        let server = round.server.take().expect("the server was started");
        round.bury(server).await;
        round.has_crashed = true;
        if disaster.cuts_power() {
            round.data_dirs.neighbours_go();
            round.data_dirs.power_on();
            self.counts.power_cuts += 1;
            self.counts.power_cuts_at_points += u64::from(at_point);
        } else {
            self.counts.server_kills += 1;
            self.counts.server_kills_at_points += u64::from(at_point);
        }
        Ok(())
    }
}

/// Makes every sync of SQLite return success without syncing.
fn no_catalog_sync(site: &Site) -> Strace {
    let catalog = site.catalog_path();
    let beside = |end: &str| catalog.with_extension(format!("db{end}"));
    Strace::inject(Path::new("/dev/null"), "fsync,fdatasync", "retval=0")
        .about([beside(""), beside("-wal")])
}

impl Goal {
    /// As many as the time allows, mixed.
    pub const ENDLESS: Self = Self { kills: 1 << 40, cuts: 1 << 40, doubles: 1 << 37 };
}
