//! What came out: the rounds of every contender, and the figures made of them.

use crate::contender::Class;
use crate::goal_test::GoalTestResult;
use crate::machine::Machine;
use crate::sample::{Cost, Sample};
use crate::section::Unit;
use crate::stats::{Spread, median};
use std::time::Duration;

/// One run of the whole comparison.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    /// Whether each went twice every round, and the second counted.
    pub(crate) warmed_up: bool,
    pub(crate) seed: u64,
    /// Everything together.
    pub(crate) took: Duration,
    pub(crate) sections: Vec<SectionResult>,
    pub(crate) goal_tests: Vec<GoalTestResult>,
}

#[derive(Debug)]
pub(crate) struct SectionResult {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) reference: &'static str,
    pub(crate) unit: Unit,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) skipped: Vec<Skipped>,
}

/// What one contender did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) manner: &'static str,
    pub(crate) version: Option<String>,
    /// Of the rounds that went well.
    pub(crate) samples: Vec<Sample>,
    /// Why the others did not.
    pub(crate) failures: Vec<String>,
}

/// One who could not take part.
#[derive(Debug)]
pub(crate) struct Skipped {
    pub(crate) name: &'static str,
    pub(crate) why: String,
}

/// The figures of one contender. Where there is none, there was nothing to measure.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) seconds: Spread,
    /// How many times as long as the reference.
    pub(crate) ratio: Option<f64>,
    /// Seconds for each [`Unit`], medians of the rounds.
    pub(crate) client_cpu: Option<f64>,
    pub(crate) server_cpu: Option<f64>,
    pub(crate) both_cpu: Option<f64>,
    /// The most of all rounds.
    pub(crate) client_peak_bytes: Option<u64>,
    pub(crate) server_peak_bytes: Option<u64>,
}

impl Results {
    /// Whether every round of every contender went well, and every goal test; a goal that
    /// was missed is a result like others.
    pub(crate) fn are_whole(&self) -> bool {
        let mut outcomes = self.sections.iter().flat_map(|section| &section.outcomes);
        outcomes.all(|outcome| outcome.failures.is_empty())
            && self.goal_tests.iter().all(|goal_test| goal_test.metrics.is_ok())
    }
}

impl SectionResult {
    /// The figures of one of its contenders; nothing where no round went well.
    pub(crate) fn figures(&self, outcome: &Outcome) -> Option<Figures> {
        let samples = &outcome.samples;
        let seconds = outcome.seconds()?;
        let reference = self.outcomes.iter().find(|other| other.name == self.reference);
        let reference = reference.and_then(Outcome::seconds);
        let cpu = |of: fn(&Sample) -> Option<f64>| {
            median(samples.iter().filter_map(of)).map(|seconds| seconds / self.unit.count)
        };
        let servers = samples.iter().filter_map(|sample| sample.server);
        Some(Figures {
            seconds,
            ratio: reference.map(|reference| seconds.median / reference.median),
            client_cpu: cpu(|sample| Some(seconds_of(sample.client))),
            server_cpu: cpu(|sample| sample.server.map(seconds_of)),
            both_cpu: cpu(|sample| {
                Some(seconds_of(sample.client) + sample.server.map_or(0.0, seconds_of))
            }),
            client_peak_bytes: samples.iter().map(|sample| sample.client.peak_bytes).max(),
            server_peak_bytes: servers.map(|server| server.peak_bytes).max(),
        })
    }
}

impl Outcome {
    /// By the wall clock; nothing where no round went well.
    pub(crate) fn seconds(&self) -> Option<Spread> {
        Spread::of(self.samples.iter().map(|sample| sample.wall.as_secs_f64()))
    }

    /// Whether this is what it is all about.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("towline")
    }
}

fn seconds_of(cost: Cost) -> f64 {
    cost.cpu.as_secs_f64()
}
