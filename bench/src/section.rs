//! What is compared: a load, those who carry it, and the one by whom they are measured.

mod big;
mod small;

use crate::arguments::Compare;
use crate::contender::Contender;
use crate::load::Load;
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
    /// contender runs so often.
    fn space_bytes(&self, runs: u64) -> u64;

    /// Writes what is to be sent.
    fn load(&self, folder: &Path, random: &mut Rng) -> Result<Load>;

    /// Who takes part.
    fn contenders(&self) -> Vec<Box<dyn Contender>>;

    /// Whose time the times of the others are held against.
    fn reference(&self) -> &'static str;

    /// What processor time is counted for.
    fn unit(&self) -> Unit;
}

/// A portion of a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    /// How many of them the load has.
    pub(crate) count: f64,
}

/// The sections that were asked for, in their order here.
///
/// # Errors
/// Where one was asked for that is none.
pub(crate) fn wanted(compare: &Compare) -> Result<Vec<Box<dyn Section>>> {
    let all: Vec<Box<dyn Section>> = vec![
        Box::new(big::Big { bytes: compare.size_bytes() }),
        Box::new(small::Small { files: compare.files() }),
    ];
    let names: Vec<&str> = all.iter().map(|section| section.name()).collect();
    for wanted in &compare.section {
        ensure!(
            names.contains(&wanted.as_str()),
            "there is no section {wanted}; there are {}",
            names.join(", ")
        );
    }
    let is_wanted =
        |name: &str| compare.section.is_empty() || compare.section.iter().any(|one| one == name);
    Ok(all.into_iter().filter(|section| is_wanted(section.name())).collect())
}
