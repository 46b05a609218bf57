//! The results as a page.

use crate::goal_test::GoalTestResult;
use crate::metric::Metric;
use crate::result::{Outcome, Results, SectionResult};
use crate::table::{cells, notes, rounded};
use bytesize::ByteSize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The page; `picture` is how it names the chart.
pub(crate) fn of(results: &Results, picture: &str) -> String {
    let Results { machine, rounds, seed, .. } = results;
    let warmed_up = if results.warmed_up { ", each after a warm-up run" } else { "" };
    let mut page = format!(
        "# Towline beside its peers\n\n\
         Measured on {} by `cargo run --release -p towline-bench -- compare`: {rounds} round{}{warmed_up}, seed {seed}; all of it took {}.\n\
         {machine}.\n\n\
         ![Medians, with the fastest and the slowest round]({picture})\n",
        machine.date,
        if *rounds == 1 { "" } else { "s" },
        rounded(results.took),
    );
    for section in &results.sections {
        section_of(&mut page, section, machine.own_peak);
    }
    for goal_test in &results.goal_tests {
        trial_of(&mut page, goal_test);
    }
    page.push_str("\n## How\n");
    if !results.sections.is_empty() {
        how_compared(&mut page, results);
    }
    if !results.goal_tests.is_empty() {
        page.push_str(HOW_TRIED);
    }
    page
}

fn section_of(page: &mut String, section: &SectionResult, own_peak: ByteSize) {
    let (reference, unit) = (section.reference, section.unit.name);
    let _ = write!(
        page,
        "\n## {}\n\n\
         | | done when | median s | best s | worst s | × {reference} | CPU s/{unit}: client | server | both | peak MiB: client | server |\n\
         | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
        capitalised(&section.title),
    );
    for outcome in &section.outcomes {
        let name = if outcome.is_ours() {
            format!("**{}**", outcome.name)
        } else {
            outcome.name.to_owned()
        };
        let cells = match section.figures(outcome) {
            Some(figures) => cells(&figures, own_peak).join(" | "),
            None => "failed | | | | | | | |".to_owned(),
        };
        let _ = writeln!(page, "| {name} | {} | {cells} |", outcome.class.name());
    }
    let notes = notes(section);
    if !notes.is_empty() {
        let _ = writeln!(page);
    }
    for note in notes {
        let _ = writeln!(page, "- {}", one_line(&note));
    }
}

fn trial_of(page: &mut String, goal_test: &GoalTestResult) {
    let _ = writeln!(page, "\n## {}\n", capitalised(&goal_test.title));
    match &goal_test.metrics {
        Ok(metrics) => {
            if !metrics.figures.is_empty() {
                page.push_str("| | | goal | |\n| --- | --: | --: | --- |\n");
            }
            for Metric { what, value, goal } in &metrics.figures {
                let (goal, word) =
                    goal.as_ref().map_or(("", ""), |goal| (goal.text.as_str(), goal.word()));
                let _ = writeln!(page, "| {what} | {value} | {goal} | {word} |");
            }
            for why in &metrics.skipped {
                let _ = writeln!(page, "\n- skipped: {}", one_line(why));
            }
        }
        Err(error) => {
            let _ = writeln!(page, "- FAILED: {}", one_line(&format!("{error:#}")));
        }
    }
    let _ = writeln!(page, "\nTook {}.", rounded(goal_test.took));
}

/// Of the sections that have no contenders.
const HOW_TRIED: &str = "
Where Towline is asked alone, its server is a process, and so is `towline put` in *weak* and *counters* (the sections over a
weak link and under `strace`). Elsewhere the clients are on one thread of the measuring program: they speak real frames, with the value of every
block, but send one block again and again, so that they neither read nor hash. Each upload is measured on memory that
one like it has just used. `RssAnon` is the server's own memory without mapped files, looked at every 10 ms; `VmHWM` is the most that was resident, with them.
What was read back is `rchar` of `/proc/PID/io`: all that the server has read of files, its catalog included, from the disk or from the page cache.
Transactions are counted by the syncs of the catalog's log, one for each.
";

fn how_compared(page: &mut String, results: &Results) {
    let _ = write!(
        page,
        "\n\
         Every round has each contender once, in an order drawn anew. A server is started for it and waited for; then\n\
         the client's command is timed by the wall clock; then the server is stopped. Processor time and peak memory are\n\
         what the system's own accounts (`wait4`) say of both, from start to end, and of the processes they had. All of it\n\
         goes over the loopback interface and lies on one volume. What is sent is in the page cache before. What\n\
         arrived is compared with what was sent, and the disks are synced, before the next begins; it is removed at once where\n\
         it is one file, and at the end of all rounds where it is many, since ext4 makes new files slowly right after many\n\
         were deleted.\n\n\
         The first write to memory that a virtual machine's host has taken back costs some ten times as much as any later\n\
         one, and a guest tells its host of free memory two seconds after it was freed. So each contender runs once to warm up\n\
         right before it is measured; twice as much as it sends is written plainly, in short pieces and in long ones; the\n\
         machine is left alone until its host knows of all free memory; what was written is removed, and the contender,\n\
         whose server has been waiting, goes at once. Some rounds find such memory even so: medians.\n\n\
         *Done when* says where the bytes are when the client's command ends: *on disk*, synced, or *in memory*, from\n\
         which a power cut takes them. A process begins with the peak memory of the program that starts it, here {:.1}:\n\
         of less, nothing is known.\n\n",
        results.machine.own_peak
    );
    let mut said = BTreeSet::new();
    let mut versions = BTreeMap::new();
    for outcome in results.sections.iter().flat_map(|section| &section.outcomes) {
        let Outcome { name, manner, version, .. } = outcome;
        if said.insert(*name) {
            let _ = writeln!(page, "- {name}: {manner}");
        }
        if let Some(version) = version {
            versions.entry(version).or_insert(name);
        }
    }
    if !versions.is_empty() {
        let versions =
            versions.iter().map(|(version, name)| format!("{name}: {}", one_line(version)));
        let versions: Vec<String> = versions.collect();
        let _ = writeln!(page, "\nVersions:\n\n- {}", versions.join("\n- "));
    }
}

/// What a program has said may be anything.
fn one_line(text: &str) -> String {
    text.replace(['\n', '|', '<', '`'], " ")
}

pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
