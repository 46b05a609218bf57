//! `towline uploads`: lists what is unfinished.

use super::arguments::Uploads;
use super::error::CliError;
use super::json;
use super::output::line;
use super::resolve::{self, Purpose};
use super::{forget, job};
use crate::exit::Exit;
use crate::text::printable;
use crate::text::shown;
use crate::units;
use console::measure_text_width;
use serde::Serialize;
use serde_json::Map;
use towline_state::UploadsState;
use towline_state::clock;
use towline_state::state_file::{JobEntry, UploadEntry};
use towline_types::{DocumentId, Timestamp};

/// The number of columns between two cells.
const GAP: usize = 2;

/// The least number of columns of the last cell; a narrower one shows nothing useful.
const LAST_CELL_MIN: usize = 12;

pub(super) fn run(uploads: &Uploads) -> Result<Exit, CliError> {
    let memory = resolve::memory(&uploads.state_args, Purpose::List, uploads.answer.quiet)?;
    if let Some(what) = &uploads.forget {
        return forget::run(what, &memory);
    }
    let state = memory.state;
    let mut entries: Vec<_> = state
        .uploads
        .iter()
        .map(|(key, entry)| (UploadsState::document_id_of(key), key, entry))
        .collect();
    entries.sort_by_key(|(document, ..)| *document);
    if uploads.answer.json {
        for job in &state.jobs {
            let begun = job::begun(job, &state);
            let (other, sent_again) = (Map::new(), Vec::new());
            let entry = &JobEntry { other, sent_again, ..job.clone() };
            json::event("command", &JobLine { begun, entry });
        }
        for (document_id, _, entry) in entries {
            // Fields that a later version has added to an entry are left out: this version does not
            // know what they mean.
            let other = Map::new();
            let entry = &UploadEntry { other, modified_ns: None, ..entry.clone() };
            json::event("upload", &Line { document_id, entry });
        }
        return Ok(Exit::Done);
    }
    if entries.is_empty() && state.jobs.is_empty() {
        line("no unfinished uploads");
        return Ok(Exit::Done);
    }
    let now = clock::now();
    let terminal = console::Term::stdout();
    let columns = terminal.is_term().then(|| usize::from(terminal.size().1));
    for job in &state.jobs {
        for text in job_lines(job, job::begun(job, &state), now, columns) {
            line(&text);
        }
    }
    if entries.is_empty() {
        return Ok(Exit::Done);
    }
    let rows = entries.into_iter().map(|(_, key, entry)| row(key, entry, now)).collect();
    for text in listed(rows, columns) {
        line(&text);
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    document_id: Option<DocumentId>,
    #[serde(flatten)]
    entry: &'a UploadEntry,
}

#[derive(Serialize)]
struct JobLine<'a> {
    /// How many of the command's files have an entry in the list.
    begun: usize,
    #[serde(flatten)]
    entry: &'a JobEntry,
}

/// A command in one line, or in several lines where the terminal is too narrow for one.
fn job_lines(job: &JobEntry, begun: usize, now: Timestamp, columns: Option<usize>) -> Vec<String> {
    let to_go = job.files.saturating_sub(job.done).saturating_sub(begun as u64);
    let when = job.start_time.map_or_else(String::new, |begun| format!(", {}", ago(begun, now)));
    let title = format!("put {}", job::title(job));
    let files = usize::try_from(job.files).unwrap_or(usize::MAX);
    let files = units::count(files, "file");
    let stands = format!("{} of {files} done, {begun} begun, {to_go} not begun", job.done);
    let server = format!("to {}{when}", printable(job.server.as_deref().unwrap_or("-")));
    let whole = format!("{title}: {stands} ({server})");
    match columns.filter(|columns| measure_text_width(&whole) > *columns) {
        None => vec![whole],
        Some(columns) => {
            let room = columns.saturating_sub(GAP).max(LAST_CELL_MIN);
            let below = |text: &str| format!("{:GAP$}{}", "", end_of(text, room));
            vec![end_of(&title, columns), below(&stands), below(&server)]
        }
    }
}

fn row(key: &str, entry: &UploadEntry, now: Timestamp) -> [String; 6] {
    let number = key.split('@').next().unwrap_or(key);
    [
        printable(number),
        format!("{}%", units::percent(entry.offset.get(), entry.total_size.get())),
        units::size(entry.total_size.get()),
        entry.last_chunk_time.map_or_else(|| "-".to_owned(), |last| ago(last, now)),
        printable(entry.server.as_deref().unwrap_or("-")),
        file(entry),
    ]
}

/// The local file, which distinguishes two files of one name; where it is not known, the folder and
/// name on the server.
fn file(entry: &UploadEntry) -> String {
    if let Some(path) = &entry.path {
        return shown(path);
    }
    let folder: String = entry.folder.iter().map(|name| format!("{name}/")).collect();
    printable(&format!("{folder}{}", entry.filename))
}

/// The uploads as a table, or one below the other where the terminal is too narrow for a table.
fn listed(mut rows: Vec<[String; 6]>, columns: Option<usize>) -> Vec<String> {
    let heads = ["DOCUMENT", "DONE", "SIZE", "LAST DATA", "SERVER", "FILE"];
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| measure_text_width(&row[column]));
        cells.max().unwrap_or(0).max(heads[column].len())
    };
    let before: usize = (0..heads.len() - 1).map(|column| widest(column) + GAP).sum();
    match columns.filter(|columns| *columns < before + LAST_CELL_MIN) {
        Some(columns) => rows.iter().flat_map(|row| stacked(row, columns)).collect(),
        None => {
            rows.insert(0, heads.map(str::to_owned));
            table(rows, columns)
        }
    }
}

/// One upload in several lines, none of them longer than the terminal is wide.
fn stacked([number, done, size, last, server, file]: &[String; 6], columns: usize) -> [String; 3] {
    let room = columns.saturating_sub(GAP).max(LAST_CELL_MIN);
    [
        end_of(&format!("document {number}: {done} of {size}"), columns),
        format!("{:GAP$}{}", "", end_of(&format!("to {server}, last data: {last}"), room)),
        format!("{:GAP$}{}", "", end_of(file, room)),
    ]
}

/// The rows as lines. Each column is as wide as its widest cell. `columns` is the width of the
/// terminal: where a line is longer, the beginning of its last cell is cut off.
fn table<const N: usize>(rows: Vec<[String; N]>, columns: Option<usize>) -> Vec<String> {
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = measure_text_width(cell).max(*width);
        }
    }
    let before: usize = widths.iter().take(N - 1).map(|width| width + GAP).sum();
    let room = columns.map(|columns| columns.saturating_sub(before).max(LAST_CELL_MIN));
    rows.into_iter()
        .map(|row| {
            let mut text = String::new();
            for (number, (cell, width)) in row.into_iter().zip(widths).enumerate() {
                if number == N - 1 {
                    text += &room.map_or(cell.clone(), |room| end_of(&cell, room));
                } else {
                    let padding = width - measure_text_width(&cell) + GAP;
                    text += &cell;
                    text.extend(std::iter::repeat_n(' ', padding));
                }
            }
            text
        })
        .collect()
}

/// The end of a text that is too long: the end of a path distinguishes it best.
fn end_of(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let mut end = text;
    while measure_text_width(end) >= width {
        let mut chars = end.chars();
        if chars.next().is_none() {
            break;
        }
        end = chars.as_str();
    }
    format!("…{end}")
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
        let rows = || {
            let rows = [["a", "bbb"], ["試", "d"], ["ccc", "/long/path/to/file.bin"]];
            rows.map(|row| row.map(str::to_owned)).to_vec()
        };
        let wide = ["a    bbb", "試   d", "ccc  /long/path/to/file.bin"];
        assert_eq!(table(rows(), None), wide);
        assert_eq!(table(rows(), Some(80)), wide);
        assert_eq!(table(rows(), Some(21))[2], "ccc  …ath/to/file.bin");
        // A terminal that is narrower than the other columns still shows the end of the path.
        assert!(table(rows(), Some(3))[2].ends_with("file.bin"));
    }

    #[test]
    fn a_narrow_terminal_gets_no_line_that_is_too_long() {
        let row = |number: &str, path: &str| {
            [number, "58%", "2.0 GiB", "13 min ago", "files.example.org:8695", path]
                .map(str::to_owned)
        };
        let rows = || {
            vec![row("9", "/home/ann/films/a very long name of 日本語.mkv"), row("12345", "/a/b")]
        };
        for columns in [20, 40, 60, 80, 200] {
            let lines = listed(rows(), Some(columns));
            for line in &lines {
                assert!(measure_text_width(line) <= columns, "{columns}: {line}");
            }
            for what in ["日本語.mkv", "/a/b"] {
                assert!(lines.iter().any(|line| line.ends_with(what)), "{columns}: {lines:?}");
            }
        }
        assert_eq!(listed(rows(), Some(40))[0], "document 9: 58% of 2.0 GiB");
        assert!(listed(rows(), None)[0].starts_with("DOCUMENT"));
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
