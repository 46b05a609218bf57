//! `towlined quarantine`: the documents that are not given out, and what the operator does with them.

use super::operator_log::OperatorLog;
use super::output::{Events, NOT_WRITTEN, Utc, many, printable, utc};
use super::people::{open, users_of, who};
use super::store::StoreArgs;
use anyhow::{Context as _, bail};
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use towline_engine::Clock;
use towline_state::CatalogError;
use towline_state::catalog::{Availability, Catalog, Held, Refusal};
use towline_types::{DocumentId, Timestamp, UserId};

/// `towlined quarantine …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct QuarantineArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Only those of this user
    #[arg(long, value_name = "NAME_OR_ID")]
    user: Option<String>,
    /// One JSON object a line on standard output
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<QuarantineAction>,
}

#[derive(Debug, Subcommand)]
enum QuarantineAction {
    /// Give documents out, whatever a scanner says of them: a server that runs does it within 5
    /// seconds, else the next start does
    Release {
        /// The numbers of the documents, as `towlined quarantine` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<DocumentId>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Delete documents that are in the quarantine, for good, within the same time
    Delete {
        /// The numbers of the documents, as `towlined quarantine` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<DocumentId>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Have documents scanned again, or for the first time. They are not given out until then
    Rescan {
        /// The numbers of the documents
        #[arg(required_unless_present = "failed", value_name = "ID")]
        ids: Vec<DocumentId>,
        /// All documents that could not be scanned
        #[arg(long, conflicts_with = "ids")]
        failed: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
}

impl QuarantineArgs {
    /// Where the store lies; a subcommand may say it as well.
    pub(super) fn store(&self) -> &StoreArgs {
        match &self.action {
            Some(
                QuarantineAction::Release { store, .. }
                | QuarantineAction::Delete { store, .. }
                | QuarantineAction::Rescan { store, .. },
            ) => store,
            None => &self.store,
        }
    }
}

/// The number of documents in memory at a time.
const PAGE: u32 = 500;

/// Lists the documents that are not given out, or has the server do something with some; a server may
/// run meanwhile.
pub(super) fn run(arguments: &QuarantineArgs, store: &StoreArgs) -> anyhow::Result<()> {
    match &arguments.action {
        Some(QuarantineAction::Release { ids, .. }) => ask(ids, store, Wish::Release),
        Some(QuarantineAction::Delete { ids, .. }) => ask(ids, store, Wish::Delete),
        Some(QuarantineAction::Rescan { ids, failed: false, .. }) => ask(ids, store, Wish::Rescan),
        Some(QuarantineAction::Rescan { .. }) => rescan_failed(store),
        None => list(arguments, store),
    }
}

/// What the server is to do with a document.
#[derive(Clone, Copy)]
enum Wish {
    Release,
    Delete,
    Rescan,
}

impl Wish {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Delete => "delete",
            Self::Rescan => "rescan",
        }
    }

    /// What was recorded, as people read it.
    const fn will_be(self) -> &'static str {
        match self {
            Self::Release => "will be given out",
            Self::Delete => "will be deleted",
            Self::Rescan => "will be scanned",
        }
    }

    /// Records the wish; returns whether it can be done.
    fn record(self, catalog: &Catalog, id: DocumentId) -> Result<bool, CatalogError> {
        let now = Clock::system().now();
        match self {
            Self::Release => catalog.ask_release(id, now).wait(),
            Self::Delete => catalog.ask_delete(id, now).wait(),
            Self::Rescan => catalog.ask_scan(id, now).wait().map(|_| true),
        }
    }
}

fn ask(ids: &[DocumentId], store: &StoreArgs, wish: Wish) -> anyhow::Result<()> {
    let (folder, catalog) = open(store)?;
    let log = OperatorLog::of(&folder);
    let mut wrong = Vec::new();
    for &id in ids {
        match wish.record(&catalog, id) {
            Ok(true) => {
                log.record("quarantine", json!({ "document_id": id, "action": wish.as_str() }));
            }
            Ok(false) => wrong.push(match wish {
                Wish::Delete => format!("{id} is not in the quarantine"),
                Wish::Release | Wish::Rescan => format!("{id} is given out already"),
            }),
            Err(CatalogError::Refused(Refusal::NoSuchDocument)) => {
                wrong.push(format!("there is no document {id}"));
            }
            Err(CatalogError::Refused(Refusal::WrongPhase(phase))) => {
                wrong.push(format!("{id} is {} and no complete document", phase.as_str()));
            }
            Err(CatalogError::Refused(Refusal::Busy)) => {
                wrong.push(format!("{id} is just going into the quarantine, or coming out of it"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    catalog.close().wait()?;
    tell((ids.len() - wrong.len()) as u64, wish)?;
    if !wrong.is_empty() {
        bail!("{}; `towlined quarantine` shows what is not given out", wrong.join("; "));
    }
    Ok(())
}

fn rescan_failed(store: &StoreArgs) -> anyhow::Result<()> {
    let (folder, catalog) = open(store)?;
    let log = OperatorLog::of(&folder);
    let mut count = 0;
    loop {
        // Those that are asked for are no longer among them.
        let page = catalog.held(Availability::Failed, None, PAGE).wait()?;
        if page.is_empty() {
            break;
        }
        for Held { document, .. } in page {
            let id = document.document_id;
            Wish::Rescan.record(&catalog, id)?;
            log.record("quarantine", json!({ "document_id": id, "action": "rescan" }));
            count += 1;
        }
    }
    catalog.close().wait()?;
    tell(count, Wish::Rescan)
}

fn tell(count: u64, wish: Wish) -> anyhow::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let (documents, what) = (many(count, "document", "documents"), wish.will_be());
    writeln!(
        io::stdout(),
        "{documents} {what}: a server that runs begins within 5 s, else the next start does"
    )
    .context(NOT_WRITTEN)
}

fn list(arguments: &QuarantineArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let folder = store.open()?;
    let catalog = Catalog::open_to_look(folder.catalog_path())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let users = users_of(&catalog, arguments.user.as_deref())?;
    let named = |id: UserId| users.iter().find(|user| user.user_id == id);
    let (mut count, mut events) = (0, Events::default());
    for state in Availability::HELD {
        let mut after = None;
        loop {
            let page = catalog.held(state, after, PAGE).wait()?;
            let Some(last) = page.last() else { break };
            after = Some(last.document.document_id);
            for held in page {
                let Some(user) = named(held.document.user_id) else { continue };
                count += 1;
                match arguments.json {
                    true => json_line(&mut events, &mut out, &user.name, &held),
                    false => text_line(&mut out, &who(user), &held),
                }
                .context(NOT_WRITTEN)?;
            }
        }
    }
    if arguments.json {
        events.print(&mut out, "summary", json!({ "documents": count })).context(NOT_WRITTEN)?;
    } else {
        match count {
            0 => writeln!(out, "every document is given out"),
            _ => writeln!(out, "{} not given out", many(count, "document", "documents")),
        }
        .context(NOT_WRITTEN)?;
    }
    out.flush().context(NOT_WRITTEN)?;
    catalog.close().wait()?;
    Ok(())
}

/// Why a document is not given out, and since when that is known.
fn reason(held: &Held) -> (Option<&str>, Option<Timestamp>) {
    let found = held.verdict.as_ref();
    let waits = held.document.availability == Availability::Scanning;
    match found {
        Some(verdict) if !waits => (verdict.detail.as_deref(), Some(verdict.at)),
        _ => (held.last_error.as_deref(), held.document.created_at),
    }
}

fn text_line(out: &mut impl Write, user: &str, held: &Held) -> io::Result<()> {
    let document = &held.document;
    let (why, since) = reason(held);
    let place = document.file_path.as_ref().unwrap_or(&document.path).to_string();
    let since = since.map_or_else(|| "-".to_owned(), |at| Utc(at).to_string());
    let size = ByteSize::b(document.filesize.get()).to_string();
    writeln!(
        out,
        "{:>10}  {:<11}  {size:>10}  {since:<20}  {user}: {}{}",
        document.document_id,
        document.availability.shown(),
        printable(Path::new(&place)),
        why.map_or_else(String::new, |why| format!("  ({})", printable(Path::new(why)))),
    )
}

fn json_line(events: &mut Events, out: &mut impl Write, user: &str, held: &Held) -> io::Result<()> {
    let document = &held.document;
    let (why, since) = reason(held);
    let found = held.verdict.as_ref();
    let fields = json!({
        "user": user,
        "user_id": document.user_id,
        "document_id": document.document_id,
        "path": document.file_path.as_ref().unwrap_or(&document.path).to_string(),
        "filesize": document.filesize,
        "status": document.availability.shown(),
        "verdict": found.map(|found| found.outcome.as_str()),
        "scanner": found.and_then(|found| found.scanner.clone()),
        "signatures": found.and_then(|found| found.signatures.clone()),
        "detail": why,
        "content_type": found.and_then(|found| found.content_type.clone()),
        "since": since.and_then(utc),
    });
    events.print(out, "held", fields)
}
