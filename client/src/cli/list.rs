//! `towline uploads`: what is unfinished.

use super::Complaint;
use super::arguments::Uploads;
use super::job;
use super::meaning::{self, Purpose};
use super::printer::{line, shown};
use crate::exit::Exit;
use crate::printable;
use crate::units::percent;
use serde::Serialize;
use std::collections::HashSet;
use towline_protocol::{DocumentId, Name, Timestamp};
use towline_state::UploadsState;
use towline_state::clock;
use towline_state::state_file::{JobEntry, UploadEntry};

pub(super) fn run(uploads: &Uploads) -> Result<Exit, Complaint> {
    let state = meaning::memory(&uploads.keeping, Purpose::List, false)?.state;
    let mut entries: Vec<_> = state
        .uploads
        .iter()
        .map(|(key, entry)| (UploadsState::document_id_of(key), key, entry))
        .collect();
    entries.sort_by_key(|(document, ..)| *document);
    if uploads.json {
        for job in &state.jobs {
            let begun = job::begun(job, &state);
            if let Ok(json) = serde_json::to_string(&JobLine { job: true, begun, entry: job }) {
                line(&json);
            }
        }
        for (document_id, _, entry) in entries {
            if let Ok(json) = serde_json::to_string(&Line { document_id, entry }) {
                line(&json);
            }
        }
        return Ok(Exit::Done);
    }
    if entries.is_empty() && state.jobs.is_empty() {
        line("no unfinished uploads");
        return Ok(Exit::Done);
    }
    let now = clock::now();
    for job in &state.jobs {
        line(&job_line(job, job::begun(job, &state), now));
    }
    if entries.is_empty() {
        return Ok(Exit::Done);
    }
    let twins = twins(entries.iter().map(|(_, _, entry)| *entry));
    let mut rows =
        vec![["DOCUMENT", "BYTES", "DONE", "LAST BYTE", "SERVER", "NAME"].map(str::to_owned)];
    rows.extend(entries.into_iter().map(|(_, key, entry)| {
        let mut row = row(key, entry, now);
        // Two of one name are told apart by where they lie here.
        if let (true, Some(path)) = (twins.contains(&place(entry)), &entry.path) {
            row[5].push_str(&format!("  ({})", shown(path)));
        }
        row
    }));
    for text in table(&rows) {
        line(&text);
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Line<'a> {
    document_id: Option<DocumentId>,
    #[serde(flatten)]
    entry: &'a UploadEntry,
}

#[derive(Serialize)]
struct JobLine<'a> {
    /// Tells the line of a command from that of an upload.
    job: bool,
    /// How many of its files have an entry in the list.
    begun: usize,
    #[serde(flatten)]
    entry: &'a JobEntry,
}

fn job_line(job: &JobEntry, begun: usize, now: Timestamp) -> String {
    let to_go = job.files.saturating_sub(job.done).saturating_sub(begun as u64);
    let when = job.start_time.map_or_else(String::new, |begun| format!(", {}", ago(begun, now)));
    format!(
        "put {}: {} of {} files done, {begun} begun, {to_go} to go (to {}{when})",
        job::title(job),
        job.done,
        job.files,
        printable(job.server.as_deref().unwrap_or("-")),
    )
}

fn place(entry: &UploadEntry) -> (&[Name], &Name) {
    (&entry.folder, &entry.filename)
}

/// The places that more than one upload of the list has.
fn twins<'a>(entries: impl Iterator<Item = &'a UploadEntry>) -> HashSet<(&'a [Name], &'a Name)> {
    let (mut seen, mut twins) = (HashSet::new(), HashSet::new());
    for place in entries.map(place) {
        if !seen.insert(place) {
            twins.insert(place);
        }
    }
    twins
}

fn row(key: &str, entry: &UploadEntry, now: Timestamp) -> [String; 6] {
    let folder: String = entry.folder.iter().map(|name| format!("{name}/")).collect();
    let number = key.split('@').next().unwrap_or(key);
    [
        printable(number),
        format!("{}/{}", entry.offset, entry.total_size),
        format!("{}%", percent(entry.offset.get(), entry.total_size.get())),
        entry.last_chunk_time.map_or_else(|| "-".to_owned(), |last| ago(last, now)),
        printable(entry.server.as_deref().unwrap_or("-")),
        printable(&format!("{folder}{}", entry.filename)),
    ]
}

/// Columns as wide as their widest cell; the last ends where it ends.
fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bbb"], ["cc", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), ["a   bbb", "cc  d"]);
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = Timestamp::from_secs(1_000_000);
        for (age, text) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (7200, "2 h ago"),
            (300_000, "3 days ago"),
        ] {
            assert_eq!(ago(Timestamp::from_secs(1_000_000 - age), now), text);
        }
    }
}
