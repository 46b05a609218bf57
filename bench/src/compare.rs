//! The comparison: every round each contender once, in an order of its own, so that a
//! slow minute of the machine falls on all of them.

use crate::arguments::Compare;
use crate::chart;
use crate::contender::Contender;
use crate::goal_test::{GoalTestResult, Site, say};
use crate::interrupt;
use crate::machine::Machine;
use crate::markdown;
use crate::result::{Outcome, Results, SectionResult, Skipped};
use crate::sample::Sample;
use crate::section::{self, Section};
use crate::table;
use crate::workload::Workload;
use crate::workspace::{self, RunDir, Workspace};
use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// Where page and chart of a real run go: they are part of the repository.
const PAGES: &str = env!("CARGO_MANIFEST_DIR");

/// Measures what was asked for; says whether all of it went well.
pub(crate) fn run(compare: &Compare) -> Result<bool> {
    interrupt::watch()?;
    let wanted = section::wanted(compare)?;
    let seed = compare.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let mut random = Rng::with_seed(seed);
    let target = target()?;
    let sections = wanted.sections.iter();
    let needed = sections.map(|section| section.space_bytes(runs_of(compare))).max().unwrap_or(0);
    let held = if warms_up(compare) { workspace::MEMORY_BYTES_MAX } else { 0 };
    let workspace = Workspace::in_folder(compare.dir.as_deref().unwrap_or(&target), needed + held)?;
    say(&format!("seed {seed}; all of it in {}", workspace.path().display()));

    let began = Instant::now();
    let mut sections = Vec::new();
    for section in &wanted.sections {
        sections.extend(measured(section.as_ref(), compare, &workspace, &mut random)?);
    }
    ensure!(
        !sections.is_empty() || !wanted.goal_tests.is_empty(),
        "no contender's name begins with {}",
        compare.only.join(" or ")
    );
    // Before the goal tests, whose clients are in this very process and give it memory.
    let machine = Machine::this(workspace.file_system())?;
    let (limit, quick) = (compare.limit, compare.quick);
    let site = Site { workspace: &workspace, limit, seed, quick };
    let mut goal_tests = Vec::new();
    for goal_test in &wanted.goal_tests {
        goal_tests.push(GoalTestResult::of(goal_test.as_ref(), &site));
        interrupt::check()?;
    }
    let results = Results {
        machine,
        rounds: compare.rounds(),
        warmed_up: warms_up(compare),
        seed,
        took: began.elapsed(),
        sections,
        goal_tests,
    };
    report(compare, &results, &target)?;
    Ok(results.are_whole())
}

/// One who takes part, and what it has done so far.
struct Entry {
    contender: Box<dyn Contender>,
    outcome: Outcome,
}

/// All rounds of a section; nothing where none of its contenders was asked for.
fn measured(
    section: &dyn Section,
    compare: &Compare,
    workspace: &Workspace,
    random: &mut Rng,
) -> Result<Option<SectionResult>> {
    let mut contenders = section.contenders();
    contenders.retain(|contender| compare.wants(contender.name()));
    if contenders.is_empty() {
        return Ok(None);
    }
    let mut entries = Vec::new();
    let mut skipped = Vec::new();
    for contender in contenders {
        match contender.available() {
            Ok(()) => entries.push(Entry::of(contender)),
            Err(why) => skipped.push(Skipped { name: contender.name(), why }),
        }
    }
    say(&format!("\n{}", section.title()));
    for Skipped { name, why } in &skipped {
        say(&format!("  {name:15} skipped: {why}"));
    }

    let source = tempfile::Builder::new().prefix("source-").tempdir_in(workspace.path())?;
    let workload = section.workload(source.path(), random)?;
    rustix::fs::sync();
    let mut left = Leavings::of(workspace);
    for round in 1..=compare.rounds() {
        random.shuffle(&mut entries);
        for entry in &mut entries {
            let what = format!("round {round} of {}", compare.rounds());
            let took = once(entry.contender.as_ref(), &mut left, &workload, compare);
            interrupt::check()?;
            entry.outcome.add(&what, took);
        }
    }
    left.clear();
    drop(source);
    if let Workload::Folder { .. } = workload
        && !compare.quick
    {
        workspace::rest(workspace::FORGOTTEN)?;
    }

    // Each again in its place on the list.
    let place = |entry: &Entry| {
        let contenders = section.contenders();
        contenders.iter().position(|contender| contender.name() == entry.outcome.name)
    };
    entries.sort_by_key(place);
    Ok(Some(SectionResult {
        name: section.name(),
        title: section.title(),
        reference: section.reference(),
        unit: section.unit(),
        outcomes: entries.into_iter().map(|entry| entry.outcome).collect(),
        skipped,
    }))
}

/// One contender in one round: once to warm up, and immediately again to be measured.
///
/// On a guest whose host takes back what is free, the first write to a page costs ten
/// times what any later one does, and who gets such pages hangs on the size of the pieces
/// that the one before has written and on those that it writes itself. So it runs once to warm up,
/// and more memory than it takes is used and freed. It is ready before all that begins,
/// and goes as soon as that memory is free.
fn once(
    contender: &dyn Contender,
    left: &mut Leavings,
    workload: &Workload,
    compare: &Compare,
) -> Result<Sample> {
    workload.warm()?;
    let run_dir = left.workspace.run_dir(workload, compare.limit)?;
    let go = contender.ready(&run_dir)?;
    if warms_up(compare) {
        let run_dir = left.workspace.run_dir(workload, compare.limit)?;
        let warmed_up = contender.ready(&run_dir).and_then(|go| go());
        left.take(run_dir);
        warmed_up.context("in the warm-up run")?;
        left.workspace.free_memory(workload.bytes().saturating_mul(2))?;
    }
    let taken = go().and_then(|arrival| {
        workload.check(&arrival.path)?;
        Ok(arrival.sample)
    });
    left.take(run_dir);
    taken
}

/// What the contenders have left.
struct Leavings<'a> {
    workspace: &'a Workspace,
    /// Trees of small files. They stay to the end of the section: ext4 passes over
    /// inodes that were deleted in the last five seconds, one by one, so that a program that
    /// makes files right after many were deleted is slower by seconds.
    trees: Vec<TempDir>,
}

impl<'a> Leavings<'a> {
    fn of(workspace: &'a Workspace) -> Self {
        Self { workspace, trees: Vec::new() }
    }

    /// Takes what one round has left, and sees to it that no contender pays for the pages that another
    /// has made dirty. A big file goes at once: it is one inode, and much space.
    fn take(&mut self, run_dir: RunDir) {
        match run_dir.workload {
            Workload::Folder { .. } => self.trees.push(run_dir.into_folder()),
            Workload::File { .. } => drop(run_dir),
        }
        rustix::fs::sync();
    }

    /// Removes all of it.
    fn clear(self) {
        drop(self.trees);
        rustix::fs::sync();
    }
}

impl Entry {
    fn of(contender: Box<dyn Contender>) -> Self {
        let outcome = Outcome {
            name: contender.name(),
            class: contender.class(),
            manner: contender.manner(),
            version: contender.version(),
            samples: Vec::new(),
            failures: Vec::new(),
        };
        Self { contender, outcome }
    }
}

impl Outcome {
    fn add(&mut self, round: &str, took: Result<Sample>) {
        match took {
            Ok(sample) => {
                let seconds = sample.wall.as_secs_f64();
                say(&format!("  {:15} {round}: {seconds:.3} s", self.name));
                self.samples.push(sample);
            }
            Err(error) => {
                say(&format!("  {:15} {round}: failed: {error:#}", self.name));
                self.failures.push(format!("{round}: {error:#}"));
            }
        }
    }
}

fn report(compare: &Compare, results: &Results, target: &Path) -> Result<()> {
    let folder = if compare.quick { target } else { Path::new(PAGES) };
    let page = compare.markdown.clone().unwrap_or_else(|| folder.join("RESULTS.md"));
    let picture = compare.svg.clone().unwrap_or_else(|| folder.join("results.svg"));
    let _ = writeln!(std::io::stdout(), "\n{}", table::of(results));
    write(&page, &markdown::of(results, &beside(&page, &picture)))?;
    write(&picture, &chart::of(results))?;
    say(&format!("written: {} and {}", page.display(), picture.display()));
    Ok(())
}

/// How the page names the picture.
fn beside(page: &Path, picture: &Path) -> String {
    let is_beside = page.parent() == picture.parent();
    let name = picture.file_name().filter(|_| is_beside).unwrap_or(picture.as_os_str());
    name.to_string_lossy().into_owned()
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Where `cargo` builds: target/release/towline-bench → target.
pub(crate) fn target() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program's own file")?;
    let target = this.ancestors().nth(2).context("this program lies in no folder")?;
    Ok(target.to_owned())
}

fn warms_up(compare: &Compare) -> bool {
    !compare.quick
}

/// How often each contender sends the workload of a section.
fn runs_of(compare: &Compare) -> u64 {
    u64::from(compare.rounds()) * if warms_up(compare) { 2 } else { 1 }
}
