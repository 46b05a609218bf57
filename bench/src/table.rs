//! The results on a terminal of 80 columns.

use crate::goal_test::GoalTestResult;
use crate::metric::Metric;
use crate::result::{Figures, Outcome, Results, SectionResult};
use bytesize::ByteSize;
use std::fmt::Write as _;
use std::time::Duration;

/// How wide each column of figures is.
const WIDTHS: [usize; 9] = [8, 7, 7, 7, 7, 7, 6, 7, 7];

/// All sections, each with who failed and who was skipped.
pub(crate) fn of(results: &Results) -> String {
    let mut text = wrapped(&results.machine.to_string());
    for section in &results.sections {
        section_of(&mut text, section, results);
    }
    for goal_test in &results.goal_tests {
        trial_of(&mut text, goal_test);
    }
    let _ = writeln!(text, "\nall of it took {}", rounded(results.took));
    text
}

/// Lines of at most 80 characters, broken between words: a processor may have a long name.
fn wrapped(words: &str) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in words.split(' ') {
        let length = word.chars().count();
        if column > 0 {
            let is_full = column + 1 + length > 80;
            text.push(if is_full { '\n' } else { ' ' });
            column = if is_full { 0 } else { column + 1 };
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
    text
}

/// Whole seconds, for a person.
pub(crate) fn rounded(took: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(took.as_secs()))
}

fn trial_of(text: &mut String, goal_test: &GoalTestResult) {
    let _ = writeln!(text, "\n{}: {}", goal_test.name, goal_test.title);
    match &goal_test.metrics {
        Ok(metrics) => {
            for Metric { what, value, goal } in &metrics.figures {
                let goal = goal.as_ref().map(|goal| format!("  {} {}", goal.text, goal.word()));
                let _ = writeln!(text, "{what:44}{value:>14}{}", goal.unwrap_or_default());
            }
            for why in &metrics.skipped {
                let _ = writeln!(text, "skipped: {why}");
            }
        }
        Err(error) => {
            let _ = writeln!(text, "FAILED: {error:#}");
        }
    }
}

fn section_of(text: &mut String, section: &SectionResult, results: &Results) {
    let many = match results.rounds {
        1 => "1 round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    let _ = writeln!(text, "\n{}: {}, {many}", section.name, section.title);
    let cpu = format!("CPU s/{}", section.unit.name);
    let _ = writeln!(text, "{:15}{:^22}{:^7}{cpu:^20}{:>14}", "", "seconds", "times", "peak MiB");
    let heads = ["median", "best", "worst", section.reference, "client", "server", "both"];
    row(text, "", heads.into_iter().chain(["client", "server"]).map(str::to_owned));
    for outcome in &section.outcomes {
        match section.figures(outcome) {
            Some(figures) => {
                row(text, outcome.name, cells(&figures, results.machine.own_peak).into_iter())
            }
            None => {
                let _ = writeln!(text, "{:15}  failed", outcome.name);
            }
        }
    }
    for line in notes(section) {
        let _ = writeln!(text, "{line}");
    }
}

fn row(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let mut line = format!("{name:15}");
    for (cell, width) in cells.zip(WIDTHS) {
        let _ = write!(line, "{cell:>width$}");
    }
    let _ = writeln!(text, "{line}");
}

/// Who failed and who was skipped, and why.
pub(crate) fn notes(section: &SectionResult) -> Vec<String> {
    let failed = section.outcomes.iter().flat_map(failures);
    let skipped = &section.skipped;
    failed.chain(skipped.iter().map(|one| format!("skipped: {}: {}", one.name, one.why))).collect()
}

fn failures(outcome: &Outcome) -> impl Iterator<Item = String> {
    outcome.failures.iter().map(|why| format!("FAILED: {}: {why}", outcome.name))
}

/// Median, best, worst; ratio; processor time of client, server, both; peak memory of
/// client and server, of which nothing is known below `own_peak`.
pub(crate) fn cells(figures: &Figures, own_peak: ByteSize) -> [String; 9] {
    let Figures { seconds, .. } = figures;
    let peak = |bytes| match bytes <= own_peak.as_u64() {
        true => format!("≤{}", mebibytes(own_peak.as_u64())),
        false => mebibytes(bytes),
    };
    [
        three_digits(seconds.median),
        three_digits(seconds.lowest),
        three_digits(seconds.highest),
        optional(figures.ratio, |ratio| format!("{ratio:.2}")),
        optional(figures.client_cpu, two_digits),
        optional(figures.server_cpu, two_digits),
        optional(figures.both_cpu, two_digits),
        optional(figures.client_peak_bytes, peak),
        optional(figures.server_peak_bytes, peak),
    ]
}

fn optional<T>(figure: Option<T>, text: impl Fn(T) -> String) -> String {
    figure.map_or_else(|| "–".to_owned(), text)
}

/// Seconds: milliseconds where they mean something.
pub(crate) fn three_digits(figure: f64) -> String {
    match figure {
        ..10.0 => format!("{figure:.3}"),
        ..100.0 => format!("{figure:.2}"),
        _ => format!("{figure:.1}"),
    }
}

fn two_digits(figure: f64) -> String {
    if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn a_processor_with_a_long_name_goes_onto_a_second_line() {
        let machine = "2 cores (Some Maker(R) Processor of the Third Line 9999X), 24 GiB of memory, \
                       Linux 6.18.44-fc-v657, ext4";
        let text = wrapped(machine);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(text.trim_end().replace('\n', " "), machine);
    }
}
