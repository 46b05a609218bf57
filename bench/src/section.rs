//! What is asked: of all contenders ([`Section`]), each with a workload and the contender
//! whose times are the reference, and of Towline alone ([`GoalTest`]).

mod big;
mod counters;
mod fair;
mod get;
mod idle;
mod many;
mod resume;
mod sizes;
mod small;
mod weak;

use crate::arguments::Compare;
use crate::contender::Contender;
use crate::goal_test::GoalTest;
use crate::workload::Workload;
use anyhow::{Result, ensure};
use fastrand::Rng;
use std::path::Path;

/// One question to all contenders.
pub(crate) trait Section {
    /// As it is typed.
    fn name(&self) -> &'static str;

    /// What is asked, for a person.
    fn title(&self) -> String;

    /// The most bytes that lie on the disk at a time because of it, where each
    /// contender runs that number of times.
    fn space_bytes(&self, runs: u64) -> u64;

    /// Writes what is to be sent.
    fn workload(&self, folder: &Path, random: &mut Rng) -> Result<Workload>;

    /// Who takes part.
    fn contenders(&self) -> Vec<Box<dyn Contender>>;

    /// Whose time the times of the others are held against.
    fn reference(&self) -> &'static str;

    /// What processor time is counted for.
    fn unit(&self) -> Unit;
}

/// A unit of a workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    /// How many of them the workload has.
    pub(crate) count: f64,
}

/// What was asked for.
pub(crate) struct Wanted {
    pub(crate) sections: Vec<Box<dyn Section>>,
    pub(crate) goal_tests: Vec<Box<dyn GoalTest>>,
}

/// The sections that were asked for, in their order here.
///
/// # Errors
/// Where one was asked for that is none.
pub(crate) fn wanted(compare: &Compare) -> Result<Wanted> {
    let quick = compare.quick;
    let mut sections: Vec<Box<dyn Section>> = vec![
        Box::new(big::Big { bytes: compare.size_bytes() }),
        Box::new(small::Small { files: compare.files() }),
        Box::new(get::Get { bytes: compare.size_bytes() }),
    ];
    let mut goal_tests: Vec<Box<dyn GoalTest>> = vec![
        Box::new(many::Many::new(quick)),
        Box::new(idle::Idle::new(quick)),
        Box::new(fair::Fair::new(quick)),
        Box::new(resume::Resume::new(quick)),
        Box::new(sizes::Sizes::new(quick)),
        Box::new(weak::Weak::new(quick)),
        Box::new(counters::Counters { filesize: compare.size_bytes(), files: compare.files() }),
    ];
    let names = sections.iter().map(|section| section.name());
    let names: Vec<&str> =
        names.chain(goal_tests.iter().map(|goal_test| goal_test.name())).collect();
    for wanted in &compare.section {
        ensure!(
            names.contains(&wanted.as_str()),
            "there is no section {wanted}; there are {}",
            names.join(", ")
        );
    }
    let is_named = |name: &str| compare.section.iter().any(|one| one == name);
    sections.retain(|section| compare.section.is_empty() || is_named(section.name()));
    // Who names contenders asks for what they have in common.
    let all = compare.section.is_empty() && compare.only.is_empty();
    goal_tests.retain(|goal_test| all || is_named(goal_test.name()));
    Ok(Wanted { sections, goal_tests })
}
