//! `towlined documents`: which documents each user has.

use super::output::{Events, NOT_WRITTEN, Utc, many, printable, utc};
use super::people::{users_of, who};
use super::store::StoreArgs;
use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Args;
use serde_json::json;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use towline_state::catalog::{Catalog, Depth, ListPage, NodeRef, NodeVersion, Sum, User};
use towline_types::{NodePath, Timestamp};

/// `towlined documents …`
#[derive(Debug, Args)]
pub struct DocumentsArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Only those of this user
    #[arg(long, value_name = "NAME_OR_ID")]
    user: Option<String>,
    /// One JSON object a line on standard output
    #[arg(long)]
    json: bool,
}

/// The number of entries in memory at a time. A page shows the catalog at one moment; a document
/// that changes between two pages is listed as it was before or after the change.
const PAGE: u32 = 500;

/// Lists the documents; a server may run meanwhile.
pub(super) fn run(arguments: &DocumentsArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let folder = store.open()?;
    let catalog = Catalog::open_to_look(folder.catalog_path())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut all, mut events) = (Sum::default(), Events::default());
    for user in users_of(&catalog, arguments.user.as_deref())? {
        let mut listing =
            Listing { catalog: &catalog, user: &user, out: &mut out, sum: Sum::default() };
        match arguments.json {
            true => listing.each(|out, shown| json_line(&mut events, out, shown))?,
            false => listing.each(text_line)?,
        }
        let sum = listing.sum;
        if !arguments.json && sum.count > 0 {
            let (documents, bytes) =
                (many(sum.count, "document", "documents"), ByteSize::b(sum.bytes));
            writeln!(out, "  {documents}, {bytes}").context(NOT_WRITTEN)?;
        }
        all = all.and(sum);
    }
    if arguments.json {
        let end = json!({ "documents": all.count, "bytes": all.bytes });
        events.print(&mut out, "summary", end).context(NOT_WRITTEN)?;
    } else if all.count == 0 {
        writeln!(out, "no documents").context(NOT_WRITTEN)?;
    }
    out.flush().context(NOT_WRITTEN)?;
    catalog.close().wait()?;
    Ok(())
}

/// A document as it is printed.
struct Shown<'a> {
    user: &'a User,
    place: &'a NodePath,
    version: NodeVersion,
    completed_at: Option<Timestamp>,
    /// Whether it is the first document of its user: the name of the user is printed above it.
    is_first: bool,
}

struct Listing<'a, W> {
    catalog: &'a Catalog,
    user: &'a User,
    out: &'a mut W,
    sum: Sum,
}

impl<W: Write> Listing<'_, W> {
    fn each(
        &mut self,
        mut show: impl FnMut(&mut W, &Shown<'_>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut after = None;
        loop {
            let root = NodeRef::Path(NodePath::ROOT);
            let page = self.catalog.list(self.user.user_id, root, Depth::Recursive, after, PAGE);
            let ListPage { entries, next } = page.wait()?;
            let files: Vec<_> = entries
                .into_iter()
                .filter_map(|entry| Some((entry.node.version?, entry)))
                .collect();
            let ids = files.iter().map(|(version, _)| version.document_id).collect();
            let completed = self.catalog.completed_at(ids).wait()?;
            for ((version, entry), completed_at) in files.into_iter().zip(completed) {
                let place = entry.folder.join(entry.node.name)?;
                let is_first = self.sum.count == 0;
                let shown =
                    Shown { user: self.user, place: &place, version, completed_at, is_first };
                show(self.out, &shown).context(NOT_WRITTEN)?;
                self.sum = self.sum.and(Sum { count: 1, bytes: version.filesize.get() });
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

fn text_line(out: &mut impl Write, shown: &Shown<'_>) -> io::Result<()> {
    let Shown { user, place, version, completed_at, is_first } = shown;
    if *is_first {
        writeln!(out, "{}", who(user))?;
    }
    let NodeVersion { filesize, blake3, availability, .. } = version;
    let held = match availability.is_available() {
        true => String::new(),
        false => format!("  ({})", availability.shown()),
    };
    let date = completed_at.map_or_else(|| "-".to_owned(), |at| Utc(at).to_string());
    let place = printable(Path::new(&place.to_string()));
    writeln!(out, "{filesize:>16}  {date:<20}  {blake3}  {place}{held}")
}

fn json_line(events: &mut Events, out: &mut impl Write, shown: &Shown<'_>) -> io::Result<()> {
    let Shown { user, place, version, completed_at, .. } = shown;
    let NodeVersion { document_id, filesize, blake3, availability } = version;
    let fields = json!({
        "user": user.name,
        "user_id": user.user_id,
        "path": place.to_string(),
        "document_id": document_id,
        "filesize": filesize,
        "blake3": blake3.to_string(),
        "completed_at": completed_at.and_then(utc),
        "status": availability.shown(),
    });
    events.print(out, "document", fields)
}
