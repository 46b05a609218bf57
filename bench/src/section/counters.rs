//! What a server asks of the system and of its catalog, counted.

use crate::count::Count;
use crate::goal_test::{GoalTest, Site};
use crate::metric::{Metrics, plain};
use crate::program;
use crate::workload::Workload;
use anyhow::Result;
use fastrand::Rng;

const GIB: f64 = (1u64 << 30) as f64;

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
        let count = Count::of(&workload, site.workspace, site.limit)?;
        add(&mut metrics, &plain(self.filesize), &count, "/GiB", workload.bytes() as f64 / GIB);
        let workload = Workload::folder(source.path(), self.files, random)?;
        let count = Count::of(&workload, site.workspace, site.limit)?;
        let what = format!("{} files", self.files);
        add(&mut metrics, &what, &count, "/file", f64::from(self.files));
        Ok(metrics)
    }
}

fn add(metrics: &mut Metrics, what: &str, count: &Count, unit: &str, units: f64) {
    for (counter, counted) in count.counters() {
        let each = counted as f64 / units;
        let digits = if each < 10.0 { 3 } else { 0 };
        metrics.add(format!("{what}: {}", counter.name()), format!("{each:.digits$} {unit}"));
    }
}
