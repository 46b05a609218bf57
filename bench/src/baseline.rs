//! `towline-bench counters`: what a server asks of the system for two workloads, held against
//! the file that has the counts of the code as it was.
//!
//! Times depend on the machine and on what else runs there; the number of system calls, writes,
//! syncs and transactions does much less. What remains of it comes from batches: requests that
//! arrive together share a transaction and a sync of a folder. So each workload runs a few times,
//! the lowest count of each kind is taken, and each kind has an allowance of its own.

use crate::arguments::Counters;
use crate::compare::target;
use crate::count::{Count, Counter};
use crate::goal_test::say;
use crate::interrupt;
use crate::program;
use crate::workload::Workload;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

const FILE_BYTES: u64 = 64 << 20;
const FILES: u32 = 1000;

/// The bytes of the files change nothing that is counted.
const SEED: u64 = 1;

/// The files, what the server stores of them, and the log of `strace`.
const SPACE_BYTES: u64 = 512 << 20;

/// By how many percent a count may be above the lowest that was measured, and by how many at
/// least, however few there are.
///
/// Measured on two cores, some 30 runs beside compilations and 4 alone. Writes, syncs and renames
/// of 1,000 uploaded files were the same each time. The other calls on them were 10,621 to 11,294:
/// one more for each file is beyond the allowance. A slow disk has more checkpoints in a large
/// file, and each is a sync. Transactions (72 to 406 for 1,000 files) and syncs of folders (101 to
/// 594) depend on how many requests arrive together, and with them the calls of the catalog and of
/// threads that wait for each other; a server that batches nothing has more than 1,000 of each.
fn allowance(counter: Counter) -> (u64, u64) {
    match counter {
        Counter::FileCalls => (3, 10),
        Counter::FileWrites => (0, 4),
        Counter::FileSyncs => (0, 8),
        Counter::Renames => (0, 0),
        Counter::SystemCalls => (50, 100),
        Counter::Writes => (100, 100),
        Counter::FolderSyncs | Counter::Transactions => (400, 10),
        Counter::StateFiles => (100, 5),
    }
}

/// Counts, and compares with the baseline or writes it; says whether nothing has grown.
pub(crate) fn run(counters: &Counters) -> Result<bool> {
    interrupt::watch()?;
    program::find("strace").map_err(anyhow::Error::msg)?;
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("counters.txt");
    let path = counters.baseline.as_deref().unwrap_or(&own);
    let target = target()?;
    let workspace = Workspace::in_folder(counters.dir.as_deref().unwrap_or(&target), SPACE_BYTES)?;
    let source = workspace.place()?;
    let random = &mut Rng::with_seed(SEED);
    let workloads = [
        ("one file of 64 MiB", Workload::file(source.path(), FILE_BYTES, random)?),
        ("1000 files of 4 KiB", Workload::folder(source.path(), FILES, random)?),
    ];
    let mut rows = Vec::new();
    for (name, workload) in &workloads {
        say(&format!("{name}, {} times", counters.runs));
        let mut lowest = Count::of(workload, &workspace, counters.limit)?;
        for _ in 1..counters.runs {
            interrupt::check()?;
            lowest = lowest.lower(&Count::of(workload, &workspace, counters.limit)?);
        }
        rows.extend(lowest.counters().map(|(counter, count)| Row::new(name, counter, count)));
    }
    if counters.write {
        std::fs::write(path, page(&rows))
            .with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("written: {}", path.display()));
        return Ok(true);
    }
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    compared(&rows, &parsed(&text)?)
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// Of which workload, and what was counted.
    what: (String, String),
    count: u64,
    /// More than that fails.
    most: u64,
}

impl Row {
    fn new(workload: &str, counter: Counter, count: u64) -> Self {
        let (percent, at_least) = allowance(counter);
        let most = count + (count * percent / 100).max(at_least);
        Self { what: (workload.to_owned(), counter.name().to_owned()), count, most }
    }
}

/// Prints each count beside the baseline; says whether none is above its most.
fn compared(rows: &[Row], baseline: &[Row]) -> Result<bool> {
    let mut has_grown = false;
    let mut table = String::new();
    for row in rows {
        let (workload, counter) = &row.what;
        let known = baseline.iter().find(|known| known.what == row.what);
        let Row { count: before, most, .. } = known.with_context(|| {
            format!(
                "the baseline has no line for \"{counter}\" of {workload}; write it with --write"
            )
        })?;
        let verdict = if row.count > *most { "GROWN" } else { "" };
        has_grown |= row.count > *most;
        writeln!(
            table,
            "{workload:20} {counter:26} {:7} baseline {before:7}, at most {most:7} {verdict}",
            row.count
        )?;
    }
    ensure!(baseline.len() == rows.len(), "the baseline has lines that are not counted any more");
    let _ = write!(std::io::stdout(), "{table}");
    if has_grown {
        say(
            "the server asks for more than before: mend that, or write the baseline with --write and say why",
        );
    }
    Ok(!has_grown)
}

fn page(rows: &[Row]) -> String {
    let mut page = "\
# What a server asks of the system for two workloads, from the client's start to the server's end.
# `towline-bench counters` compares with it; `towline-bench counters --write` writes it anew.
# workload | counted | lowest of the runs | most that passes
"
    .to_owned();
    for Row { what: (workload, counter), count, most } in rows {
        let _ = writeln!(page, "{workload} | {counter} | {count} | {most}");
    }
    page
}

fn parsed(page: &str) -> Result<Vec<Row>> {
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(" | ").collect();
            let [workload, counter, count, most] = fields[..] else {
                anyhow::bail!("a line of the baseline has four fields: {line}");
            };
            let what = (workload.to_owned(), counter.to_owned());
            let number = |text: &str| text.parse().with_context(|| format!("no number: {line}"));
            Ok(Row { what, count: number(count)?, most: number(most)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(transactions: u64, renames: u64) -> Vec<Row> {
        vec![
            Row::new("1000 files", Counter::Transactions, transactions),
            Row::new("1000 files", Counter::Renames, renames),
        ]
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let rows = rows(120, 1000);
        assert_eq!(parsed(&page(&rows)).unwrap(), rows);
        parsed("1000 files | renames | many | 5").unwrap_err();
    }

    #[test]
    fn a_count_above_its_most_is_noticed_and_batches_have_room() {
        let baseline = rows(120, 1000);
        assert!(compared(&rows(120, 1000), &baseline).unwrap());
        assert!(compared(&rows(600, 900), &baseline).unwrap());
        assert!(!compared(&rows(120, 1001), &baseline).unwrap());
        assert!(!compared(&rows(601, 1000), &baseline).unwrap());
    }

    #[test]
    fn a_baseline_without_a_line_or_with_one_too_many_is_refused() {
        let baseline = rows(120, 1000);
        compared(&baseline[..1], &baseline).unwrap_err();
        compared(&baseline, &baseline[..1]).unwrap_err();
    }
}
