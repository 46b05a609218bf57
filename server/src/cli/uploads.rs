//! `towlined uploads`: what is on its way, and how the operator ends some of it.

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
use towline_state::catalog::{Catalog, Document, Refusal, Sum, User};
use towline_types::DocumentId;

/// `towlined uploads …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct UploadsArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Only those of this user
    #[arg(long, value_name = "NAME_OR_ID")]
    user: Option<String>,
    /// One JSON object a line on standard output
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    action: Option<UploadsAction>,
}

#[derive(Debug, Subcommand)]
enum UploadsAction {
    /// Cancel unfinished uploads: a server that runs ends them within 5 seconds, else the next
    /// start does
    Cancel {
        /// The numbers of the uploads, as `towlined uploads` shows them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<DocumentId>,
        #[command(flatten)]
        store: StoreArgs,
    },
}

impl UploadsArgs {
    /// Where the store lies; a subcommand may say it as well.
    pub(super) fn store(&self) -> &StoreArgs {
        match &self.action {
            Some(UploadsAction::Cancel { store, .. }) => store,
            None => &self.store,
        }
    }
}

/// The number of uploads in memory at a time.
const PAGE: u32 = 500;

/// Lists the unfinished uploads, or cancels some; a server may run meanwhile.
pub(super) fn run(arguments: &UploadsArgs, store: &StoreArgs) -> anyhow::Result<()> {
    match &arguments.action {
        Some(UploadsAction::Cancel { ids, .. }) => cancel(ids, store),
        None => list(arguments, store),
    }
}

fn cancel(ids: &[DocumentId], store: &StoreArgs) -> anyhow::Result<()> {
    let (_, catalog) = open(store)?;
    let now = Clock::system().now();
    let mut wrong = Vec::new();
    for &id in ids {
        match catalog.cancel_later(id, now).wait() {
            Ok(()) => {}
            Err(CatalogError::Refused(Refusal::NoSuchDocument)) => {
                wrong.push(format!("there is no upload {id}"));
            }
            Err(CatalogError::Refused(Refusal::WrongPhase(phase))) => {
                wrong.push(format!("{id} is {} and not an unfinished upload", phase.as_str()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    catalog.close().wait()?;
    let cancelled = (ids.len() - wrong.len()) as u64;
    if cancelled > 0 {
        let uploads = many(cancelled, "upload", "uploads");
        writeln!(
            io::stdout(),
            "{uploads} cancelled: a server that runs ends them within 5 s, else the next start does"
        )
        .context(NOT_WRITTEN)?;
    }
    if !wrong.is_empty() {
        bail!("{}; `towlined uploads` shows what can be cancelled", wrong.join("; "));
    }
    Ok(())
}

fn list(arguments: &UploadsArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let folder = store.open()?;
    let catalog = Catalog::open_to_look(folder.catalog_path())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut all, mut events) = (Sum::default(), Events::default());
    for user in users_of(&catalog, arguments.user.as_deref())? {
        let mut is_first = true;
        let mut after = None;
        loop {
            let page = catalog.uploads_of(user.user_id, after, PAGE).wait()?;
            let Some(last) = page.last() else { break };
            after = Some(last.document_id);
            for upload in &page {
                all = all.and(Sum { count: 1, bytes: upload.durable_offset.get().get() });
                match arguments.json {
                    true => json_line(&mut events, &mut out, &user, upload),
                    false => {
                        if std::mem::take(&mut is_first) {
                            writeln!(out, "{}", who(&user)).context(NOT_WRITTEN)?;
                        }
                        text_line(&mut out, upload)
                    }
                }
                .context(NOT_WRITTEN)?;
            }
        }
    }
    if arguments.json {
        let end = json!({ "uploads": all.count, "durable": all.bytes });
        events.print(&mut out, "summary", end).context(NOT_WRITTEN)?;
    } else {
        let (uploads, bytes) = (many(all.count, "upload", "uploads"), ByteSize::b(all.bytes));
        match all.count {
            0 => writeln!(out, "no unfinished uploads"),
            _ => writeln!(out, "{uploads}, {bytes} durable"),
        }
        .context(NOT_WRITTEN)?;
    }
    out.flush().context(NOT_WRITTEN)?;
    catalog.close().wait()?;
    Ok(())
}

fn text_line(out: &mut impl Write, upload: &Document) -> io::Result<()> {
    let Document { document_id, path, durable_offset, last_chunk_at, .. } = upload;
    let durable = ByteSize::b(durable_offset.get().get());
    let whole = match upload.length_is_open {
        true => "?".to_owned(),
        false => ByteSize::b(upload.filesize.get()).to_string(),
    };
    let (last, place) = (Utc(*last_chunk_at).to_string(), path.to_string());
    let of = format!("{durable} of {whole}");
    writeln!(out, "{:>10}  {of:<22}  {last:<20}  {}", document_id, printable(Path::new(&place)))
}

fn json_line(
    events: &mut Events,
    out: &mut impl Write,
    user: &User,
    upload: &Document,
) -> io::Result<()> {
    let filesize = (!upload.length_is_open).then_some(upload.filesize);
    let fields = json!({
        "user": user.name,
        "user_id": user.user_id,
        "document_id": upload.document_id,
        "path": upload.path.to_string(),
        "status": upload.phase.as_str(),
        "filesize": filesize,
        "durable": upload.durable_offset.get(),
        "started_at": utc(upload.started_at),
        "last_byte_at": utc(upload.last_chunk_at),
    });
    events.print(out, "upload", fields)
}
