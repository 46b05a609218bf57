//! Disasters at random, again and again, and the question after each: was any
//! promise broken?
//!
//! A server process over a data folder of its own, on volumes that can lose their
//! power. People upload to it over raw connections, somebody with the real `towline
//! put`. Everything that is promised to them goes into a ledger. Then the server is
//! killed, or a client, or the power goes: at any moment, or at a named point of the
//! code; and while the server starts again it may be killed once more. Then the
//! server's words and the disk are held against the ledger, and all go on where they
//! were. Every now and then everything is brought to its end, looked at as a whole,
//! and a new data folder begins.
//!
//! P1, P2, P3 and P4 of the README are what is watched; P5 has tests of its own.

mod audit;
mod disaster;
mod ground;
mod ledger;
mod putter;
mod scene;
mod talk;
mod tally;
mod uploader;

pub use ground::Layout;
pub use ledger::Heard;
pub use tally::{Counts, Report};

use crate::process::Launch;
use crate::site::Site;
use crate::strace::Strace;
use crate::volume::Unavailable;
use audit::Audit;
use disaster::{Disaster, Point};
use ground::Ground;
use ledger::Ledger;
use scene::{Scene, Stuck};
use std::path::Path;
use std::time::{Duration, Instant};
use talk::Lines;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Torture {
    /// Where chance begins.
    pub seed: u64,
    /// So many kills, power cuts and double crashes, unless time is over before.
    pub goal: Goal,
    /// Where to stop.
    pub until: Option<Instant>,
    /// Failpoints that are always set: for the controls.
    pub failpoints: Option<String>,
    /// SQLite's syncs are left out: for a control, by `strace`.
    pub fakes_catalog_sync: bool,
    /// `--durability relaxed`: what is not called durable may be lost, but a name is
    /// whole all the same, and what is called durable stays.
    pub is_relaxed: bool,
    /// How the data folder lies; anyhow, where nothing is said.
    pub layout: Option<Layout>,
    /// Counts are printed now and then.
    pub is_loud: bool,
}

/// How many of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// `kill -9`, of server and client.
    pub kills: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Crashes during recovery.
    pub doubles: u64,
}

/// A data folder is tortured for so many rounds.
const ROUNDS: u32 = 25;

/// The whole state of a torture.
struct Run {
    torture: Torture,
    chance: fastrand::Rng,
    counts: Counts,
    heard: Heard,
    began: Instant,
    no_power_cuts: Option<String>,
    last: Option<Disaster>,
}

impl Torture {
    /// Kills, power cuts and double crashes until so many were had.
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

    /// Goes through with it, until the goal is reached, time is over, or a promise
    /// was broken.
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

    /// What is still to be had.
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

    /// One data folder, from its beginning to its good end. Tells the first promise
    /// that was broken.
    async fn one_ground(&mut self) -> Option<String> {
        let ground = self.ground().await;
        let mut launch = Launch::over(ground.site());
        if let Some(always) = &self.torture.failpoints {
            launch = launch.failpoints(always);
        }
        if self.torture.is_relaxed {
            launch = launch.arguments(&["--durability", "relaxed"]);
        }
        let ledger = Ledger::of_server(self.torture.is_relaxed);
        let lines = Lines::default();
        let audit = Audit::default();
        if self.torture.fakes_catalog_sync {
            launch = launch.under(&no_catalog_sync(ground.site()).words());
        }
        let mut scene = Scene {
            ground,
            ledger,
            audit,
            launch,
            server: None,
            plan: None,
            has_crashed: false,
            putter: None,
            lines,
            last_words: Vec::new(),
        };
        let ended = self.rounds(&mut scene).await;
        self.heard.add(scene.ledger.heard());
        if let Some(putter) = &mut scene.putter {
            putter.kill().await;
        }
        if let Some(server) = scene.server.take() {
            scene.bury(server).await;
        }
        let broken = ended.err().map(|stuck| stuck.0).or(scene.ledger.broken())?;
        let last =
            scene.last_words.iter().rev().take(12).rev().cloned().collect::<Vec<_>>().join("\n");
        Some(format!("{broken}\nthe server's last words:\n{last}"))
    }

    async fn ground(&mut self) -> Ground {
        let only_cuts_left = self.left().kills + self.left().doubles == 0;
        let layout = self.torture.layout.unwrap_or_else(|| match self.chance.u8(0..10) {
            0 if !only_cuts_left => Layout::Folder,
            0..5 => Layout::OneVolume,
            _ => Layout::TwoVolumes,
        });
        match Ground::new(layout).await {
            Ok(ground) => ground,
            // What could be had once can be had again.
            Err(error) if self.counts.power_cuts > 0 => panic!("no volume any more: {error}"),
            Err(Unavailable(why)) => {
                self.no_power_cuts = Some(why);
                Ground::new(Layout::Folder).await.expect("a folder")
            }
        }
    }

    async fn rounds(&mut self, scene: &mut Scene) -> Result<(), Stuck> {
        for _ in 0..ROUNDS {
            if self.is_over() {
                break;
            }
            self.round(scene).await?;
            if scene.ledger.broken().is_some() {
                return Ok(());
            }
        }
        if self.torture.is_loud {
            println!("{:.0} s: {:?}", self.began.elapsed().as_secs_f64(), self.counts);
        }
        scene.finish().await
    }

    async fn round(&mut self, scene: &mut Scene) -> Result<(), Stuck> {
        let disaster = self.disaster(&scene.ground);
        if disaster.point().is_some() {
            self.counts.stops += u64::from(scene.stop().await?);
        }
        if scene.server.is_none() {
            self.start(scene, disaster.point()).await?;
        }
        scene.audit().await?;
        if let Some(broken) = scene.ledger.broken() {
            let (last, layout) = (&self.last, scene.ground.layout);
            return Err(Stuck(format!("{broken} (after {last:?}, {layout:?})")));
        }
        let traffic = scene.traffic(&mut self.chance).await;
        self.wait(scene, &disaster).await;
        self.strike(scene, &disaster).await?;
        scene.calm(traffic, &disaster).await;
        self.last = Some(disaster.clone());
        if let Some(broken) = scene.ledger.broken() {
            return Err(Stuck(format!("{broken} (after {disaster:?}, {:?})", scene.ground.layout)));
        }
        Ok(())
    }

    fn disaster(&mut self, ground: &Ground) -> Disaster {
        let Goal { kills, cuts, doubles } = self.left();
        // A double crash begins with any disaster.
        let (kills, cuts) = if kills + cuts == 0 { (doubles, doubles) } else { (kills, cuts) };
        let can_cut = ground.has_power_to_lose() && cuts > 0;
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

    /// Starts the server, perhaps after it was killed once more on the way.
    async fn start(&mut self, scene: &mut Scene, plan: Option<&Point>) -> Result<(), Stuck> {
        let left = self.left();
        let all = left.kills + left.cuts + left.doubles;
        // Only where a crash has left something is there a recovery to be killed in.
        if scene.has_crashed
            && left.doubles > 0
            && self.chance.u64(..all) < left.doubles.saturating_mul(2)
        {
            for _ in 0..self.chance.u8(1..3) {
                self.crash_in_recovery(scene).await?;
            }
        }
        let mut launch = scene.launch.clone();
        if let Some(point) = plan {
            launch = launch.failpoints(&self.plan(point));
        }
        scene.plan = plan.cloned();
        let server = match launch.try_start().await {
            Ok(server) => server,
            // What recovery does can reach the point that was meant for later.
            Err(ended) if plan.is_some() && ended.was_killed() => {
                self.counts.double_crashes += u64::from(scene.has_crashed);
                scene.plan = None;
                scene.launch.try_start().await.map_err(Stuck::at_start)?
            }
            Err(ended) => return Err(Stuck::at_start(ended)),
        };
        scene.launch = scene.launch.clone().listen(server.address());
        scene.server = Some(server);
        Ok(())
    }

    async fn crash_in_recovery(&mut self, scene: &mut Scene) -> Result<(), Stuck> {
        if self.chance.u8(0..4) == 0 {
            let after = Duration::from_micros(self.chance.u64(500..40_000));
            scene.launch.start_and_kill(after).await;
            self.counts.starts_killed += 1;
        } else {
            let point = Point::while_recovering(&mut self.chance);
            match scene.launch.clone().failpoints(&self.plan(&point)).try_start().await {
                Err(ended) if ended.was_killed() => self.counts.double_crashes += 1,
                Err(ended) => return Err(Stuck::at_start(ended)),
                // It had nothing to do there.
                Ok(server) => scene.bury(server).await,
            }
        }
        if scene.ground.has_power_to_lose() && self.chance.bool() {
            scene.ground.power_off();
            scene.ground.power_on();
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

    /// Until it is time for the disaster.
    async fn wait(&mut self, scene: &mut Scene, disaster: &Disaster) {
        let server = scene.server.as_mut().expect("the server was started");
        match disaster.point() {
            Some(_) => drop(server.ends_within(Duration::from_millis(700)).await),
            None => {
                let most = if self.chance.u8(0..8) == 0 { 1200 } else { 160 };
                // A random moment: the point is that there is nothing to wait for.
                tokio::time::sleep(Duration::from_millis(self.chance.u64(0..most))).await;
            }
        }
    }

    async fn strike(&mut self, scene: &mut Scene, disaster: &Disaster) -> Result<(), Stuck> {
        let at_point = scene.died_as_planned()?;
        if *disaster == Disaster::KillClient {
            if let Some(putter) = &mut scene.putter {
                self.counts.client_kills += u64::from(putter.kill().await);
            }
            return Ok(());
        }
        if disaster.cuts_power() {
            // A machine does nothing more once its power goes; this server would, for a
            // moment, and see one disk go before the other.
            scene.server.as_mut().expect("the server was started").freeze();
            scene.ground.power_off();
        }
        let server = scene.server.take().expect("the server was started");
        scene.bury(server).await;
        scene.has_crashed = true;
        if disaster.cuts_power() {
            scene.ground.neighbours_go();
            scene.ground.power_on();
            self.counts.power_cuts += 1;
            self.counts.power_cuts_at_points += u64::from(at_point);
        } else {
            self.counts.server_kills += 1;
            self.counts.server_kills_at_points += u64::from(at_point);
        }
        Ok(())
    }
}

/// Has every sync of SQLite's be called done and left out.
fn no_catalog_sync(site: &Site) -> Strace {
    let catalog = site.catalog_path();
    let beside = |end: &str| catalog.with_extension(format!("db{end}"));
    Strace::inject(Path::new("/dev/null"), "fsync,fdatasync", "retval=0")
        .about([beside(""), beside("-wal")])
}

impl Goal {
    /// As many as time allows, mixed.
    pub const ENDLESS: Self = Self { kills: 1 << 40, cuts: 1 << 40, doubles: 1 << 37 };
}
