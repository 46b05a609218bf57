//! `towlined status`: what the server that runs over the data folder does, and how it is.

use super::output::{Events, NOT_WRITTEN};
use super::store::StoreArgs;
use super::usage;
use crate::status::{Answer, Figure, Said, ask};
use anyhow::{Context as _, bail};
use bytesize::ByteSize;
use clap::Args;
use serde_json::json;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;
use towline_engine::storage::DataFolder;
use towline_state::catalog::{Catalog, Sum, Usage};
use towline_types::UserId;

/// `towlined status …`
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// One JSON object a line on standard output, with every figure of the server
    #[arg(long)]
    json: bool,
}

/// What the server and the catalog say.
struct Status {
    answer: Answer,
    /// The users with the most connections, by name.
    users: Vec<(UserId, String, u64)>,
    usage: Usage,
}

/// Asks the server, and counts in the catalog what is stored. The server need not do the counting:
/// it reads all rows.
pub(super) fn run(arguments: &StatusArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let folder = store.open()?;
    let path = folder.path().to_owned();
    let answer = ask(&path)
        .with_context(|| format!("the server over {} does not answer", path.display()))?;
    let answer = match answer {
        Some(Said::Answer(answer)) => *answer,
        Some(Said::Waits { waits_seconds }) => bail!(
            "the server over {} runs, but for {waits_seconds} seconds it could not look at one of its \
             uploads: a disk does not answer. Look at the disk (dmesg), and ask again",
            path.display()
        ),
        None => bail!(
            "no server runs over {}; `towlined usage` says what is stored there",
            path.display()
        ),
    };
    let status = Status::of(answer, &folder)?;
    let mut out = io::stdout().lock();
    let written = match arguments.json {
        true => status.print(&mut out),
        false => status.show(&mut out),
    };
    written.and_then(|()| out.flush()).context(NOT_WRITTEN)
}

impl Status {
    fn of(answer: Answer, folder: &DataFolder) -> anyhow::Result<Self> {
        let catalog = Catalog::open_to_look(folder.catalog_path())?;
        let usage = usage::of_all(&catalog)?;
        let mut users = Vec::new();
        for (id, connections) in &answer.users {
            let user = catalog.user(*id).wait()?;
            let name = user.map_or_else(|| format!("user {id}"), |user| user.name);
            users.push((*id, name, *connections));
        }
        catalog.close().wait()?;
        Ok(Self { answer, users, usage })
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut events = Events::default();
        let Answer { version, uptime_seconds, figures, .. } = &self.answer;
        let server = json!({ "version": version, "uptime_seconds": uptime_seconds });
        events.print(out, "server", server)?;
        for Figure { name, kind, unit, help, label, value } in figures {
            let (label, label_value) = label.clone().unzip();
            let value = if value.fract() == 0.0 { json!(whole(*value)) } else { json!(value) };
            let fields = json!({
                "name": name, "kind": kind, "unit": unit, "help": help,
                "label": label, "label_value": label_value, "value": value,
            });
            events.print(out, "metric", fields)?;
        }
        for (user_id, user, connections) in &self.users {
            let fields = json!({ "user": user, "user_id": user_id, "connections": connections });
            events.print(out, "user", fields)?;
        }
        events.print(out, "summary", usage::sums(&self.usage))
    }

    /// Lines of at most [`COLUMNS`] columns, so that they are whole on a narrow terminal.
    fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let Answer { version, uptime_seconds, .. } = &self.answer;
        let uptime = humantime::format_duration(Duration::from_secs(*uptime_seconds));
        writeln!(out, "towlined {version}, up {uptime}")?;
        let Usage { files, versions, trash, uploads } = self.usage;

        writeln!(out, "uploads now")?;
        row(out, "sending", self.labelled("towline_uploads", "sending"))?;
        row(out, "getting their names", self.labelled("towline_uploads", "publishing"))?;
        row(out, "unfinished", sum(uploads))?;
        row(out, "not durable yet", bytes(self.value("towline_lag_bytes")))?;
        let deferred = self.value("towline_deferred_documents");
        if deferred > 0 {
            row(out, "documents not durable yet", deferred)?;
        }

        writeln!(out, "since the start")?;
        for outcome in ["completed", "failed", "cancelled", "expired", "resumed"] {
            row(out, outcome, self.value(&format!("towline_uploads_{outcome}_total")))?;
        }
        row(out, "taken over", self.value("towline_takeovers_total"))?;
        row(out, "received", bytes(self.value("towline_received_bytes_total")))?;
        row(out, "to be sent again", bytes(self.value("towline_taken_back_bytes_total")))?;
        row(out, "given out", bytes(self.value("towline_sent_bytes_total")))?;

        writeln!(out, "syncs of the last 5 minutes")?;
        for (label, quantile) in [("median", "0.5"), ("99 % within", "0.99"), ("longest", "1")] {
            row(out, label, self.milliseconds(quantile))?;
        }

        self.show_codes(out, "refused requests", "towline_refusals_total")?;
        self.show_codes(out, "refused logins", "towline_logins_refused_total")?;

        writeln!(out, "connections")?;
        let max = self.value("towline_connections_max");
        let of_users = self.labelled("towline_connections", "users");
        row(out, "of users", format!("{of_users} of {max}"))?;
        row(out, "not logged in", self.labelled("towline_connections", "strangers"))?;
        for (_, name, connections) in &self.users {
            row(out, &format!("  {name}"), connections)?;
        }

        writeln!(out, "stored")?;
        row(out, "files", sum(files))?;
        row(out, "older versions", sum(versions))?;
        row(out, "trash", sum(trash))?;
        if self.find("towline_disk_free_bytes", None).is_some() {
            row(out, "free on the disk", bytes(self.value("towline_disk_free_bytes")))?;
        }
        let lost = self.value("towline_audit_lines_lost_total");
        if lost > 0 {
            writeln!(out, "audit log")?;
            row(out, "lines lost", lost)?;
        }
        Ok(())
    }

    fn show_codes(&self, out: &mut impl Write, title: &str, name: &str) -> io::Result<()> {
        let figures = self.answer.figures.iter().filter(|figure| figure.name == name);
        let mut counts: Vec<_> = figures
            .filter_map(|figure| Some((whole(figure.value), &figure.label.as_ref()?.1)))
            .collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        if !counts.is_empty() {
            writeln!(out, "{title}")?;
        }
        counts.into_iter().try_for_each(|(count, code)| row(out, code, count))
    }

    /// A figure; 0 where the server has none of that name.
    fn value(&self, name: &str) -> u64 {
        self.find(name, None).map_or(0, |figure| whole(figure.value))
    }

    fn labelled(&self, name: &str, label: &str) -> u64 {
        self.find(name, Some(label)).map_or(0, |figure| whole(figure.value))
    }

    fn find(&self, name: &str, label: Option<&str>) -> Option<&Figure> {
        self.answer.figures.iter().find(|figure| {
            let value = figure.label.as_ref().map(|(_, value)| &**value);
            figure.name == name && value == label
        })
    }

    fn milliseconds(&self, quantile: &str) -> String {
        let figure = self.find("towline_sync_seconds", Some(quantile));
        match figure.map_or(0.0, |figure| figure.value) {
            0.0 => "none".to_owned(),
            seconds => format!("{:.1} ms", seconds * 1000.0),
        }
    }
}

/// The most columns of a line: fewer than any terminal has.
const COLUMNS: usize = 39;

/// A line of a figure: its label on the left, its value on the right. A label that is too long is
/// cut, and the value never.
fn row(out: &mut impl Write, label: &str, value: impl Display) -> io::Result<()> {
    let value = value.to_string();
    let room = COLUMNS.saturating_sub(value.chars().count() + 3);
    let label = match label.chars().count() {
        length if length > room => {
            let kept: String = label.chars().take(room.saturating_sub(1)).collect();
            format!("{kept}…")
        }
        _ => label.to_owned(),
    };
    writeln!(out, "  {label:<room$} {value}")
}

fn sum(Sum { count, bytes: length }: Sum) -> String {
    format!("{count} ({})", bytes(length))
}

fn bytes(count: u64) -> String {
    ByteSize::b(count).to_string()
}

/// A figure that counts something.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is counted is whole and not negative"
)]
const fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_a_narrow_terminal() {
        for (label, value) in [
            ("files", "12345678 (1023.9 PiB)".to_owned()),
            ("a label that is longer than it should be, by far", "1".to_owned()),
            ("ünïcödé ".repeat(9).as_str(), "1".to_owned()),
        ] {
            let mut out = Vec::new();
            row(&mut out, label, &value).unwrap();
            let line = String::from_utf8(out).unwrap();
            assert_eq!(line.trim_end_matches('\n').chars().count(), COLUMNS, "{line}");
            assert!(line.ends_with(&format!(" {value}\n")), "{line}");
        }
    }
}
