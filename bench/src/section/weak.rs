//! A link so slow and so short-lived that no connection carries a whole file.

use crate::goal_test::{GoalTest, Site};
use crate::link::{Heard, Link, Manner};
use crate::measure;
use crate::metric::{Goal, Metrics, plain};
use crate::towlined::Towlined;
use crate::workload::Workload;
use anyhow::{Result, ensure};
use fastrand::Rng;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Weak {
    filesize: u64,
    manner: Manner,
}

impl Weak {
    pub(crate) fn new(quick: bool) -> Self {
        let breaks_after = Duration::from_millis(if quick { 700 } else { 3000 });
        let filesize = if quick { 96 << 10 } else { 1 << 20 };
        Self { filesize, manner: Manner { bytes_per_second: 64 << 10, breaks_after } }
    }
}

impl GoalTest for Weak {
    fn name(&self) -> &'static str {
        "weak"
    }

    fn title(&self) -> String {
        let Manner { bytes_per_second, breaks_after } = self.manner;
        format!(
            "{} over a link of {}/s that breaks every {}",
            plain(self.filesize),
            plain(bytes_per_second),
            humantime::format_duration(breaks_after)
        )
    }

    fn space_bytes(&self) -> u64 {
        2 * self.filesize
    }

    fn run(&self, site: &Site) -> Result<Metrics> {
        let place = site.workspace.place()?;
        let workload = Workload::file(place.path(), self.filesize, &mut Rng::with_seed(site.seed))?;
        let towlined = Towlined::start(place.path())?;
        let link = Link::to(towlined.address(), self.manner)?;
        let towline = towlined.put(workload.path(), link.address())?;
        let (wall, _) = measure::run(towline, &place.path().join("client.log"), site.limit)?;
        let heard = link.heard();
        drop(link);
        workload.check(&towlined.document(workload.path().file_name().unwrap_or_default()))?;
        towlined.stop()?;
        self.metrics(wall, &heard)
    }
}

impl Weak {
    fn metrics(&self, wall: Duration, heard: &[Heard]) -> Result<Metrics> {
        let gains = gains(heard);
        ensure!(heard.iter().any(|one| one.confirmed.is_some()), "nothing was confirmed");
        let least = gains.iter().copied().min().unwrap_or_default();
        let ideal = self.filesize as f64 / self.manner.bytes_per_second as f64;
        let mut metrics = Metrics::default();
        metrics.add("finished after", format!("{:.1} s", wall.as_secs_f64()));
        metrics.add("the same over a link that holds, at best", format!("{ideal:.1} s"));
        metrics.add("connections", gains.len().to_string());
        metrics.add_with_goal(
            "the least that one was good for",
            format!("{:.1} KiB", least as f64 / 1024.0),
            Goal::of("> 0", least > 0),
        );
        Ok(metrics)
    }
}

/// How much further each connection has brought the upload: from where it was let go on
/// to where the next was, or to the end.
fn gains(heard: &[Heard]) -> Vec<u64> {
    let mut gains = Vec::new();
    for (number, one) in heard.iter().enumerate() {
        let after = heard[number + 1..].iter().find_map(|next| next.granted);
        let end = one.confirmed.or(after);
        gains.push(one.granted.zip(end).map_or(0, |(from, to)| to.saturating_sub(from)));
    }
    gains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_good_for_what_lies_between_two_grants() {
        let granted = |offset| Heard { granted: Some(offset), confirmed: None };
        let last = Heard { granted: Some(90), confirmed: Some(100) };
        assert_eq!(gains(&[granted(0), granted(40), Heard::default(), last]), [40, 50, 0, 10]);
    }
}
