//! `towlined trash`: what was removed, since when, and when it is deleted.

use super::keep::{KeepArgs, KeepTime, Told};
use super::output::{Events, NOT_WRITTEN, Utc, many, printable, utc};
use super::people::{users_of, who};
use super::store::StoreArgs;
use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;
use towline_engine::Clock;
use towline_state::catalog::{Catalog, Sum, TrashEntry, User};
use towline_types::{NodeKind, Timestamp};

/// `towlined trash …`
#[derive(Debug, Args)]
pub struct TrashArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Only what this user has removed
    #[arg(long, value_name = "NAME_OR_ID")]
    user: Option<String>,
    /// One JSON object a line on standard output
    #[arg(long)]
    json: bool,
    /// What the server was told with this option: it is not known here. Not needed where it stands
    /// in the configuration file that --config names [default: 30d]
    #[arg(long, value_name = "TIME")]
    keep_trash: Option<KeepTime>,
}

/// The number of entries in memory at a time.
const PAGE: u32 = 500;

/// Lists what was removed; a server may run meanwhile.
pub(super) fn run(arguments: &TrashArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let typed = KeepArgs { keep_trash: arguments.keep_trash, ..KeepArgs::default() };
    let kept_for = store.keep(typed)?.trash;
    let folder = store.open()?;
    let catalog = Catalog::open_to_look(folder.catalog_path())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut things, mut all) = (0_u64, Sum::default());
    let mut events = Events::default();
    for user in users_of(&catalog, arguments.user.as_deref())? {
        let (mut after, mut is_first) = (None, true);
        loop {
            let page = catalog.trash(user.user_id, after, PAGE).wait()?;
            for entry in page.entries {
                let size = catalog.removed_size(user.user_id, entry.node.node_id).wait()?;
                let removed = Removed { user: &user, entry, files: size.0.and(size.1), kept_for };
                things += 1;
                all = all.and(removed.files);
                let shown = match arguments.json {
                    true => events.print(&mut out, "removed", removed.fields()),
                    false => removed.told(&mut out, is_first),
                };
                shown.context(NOT_WRITTEN)?;
                is_first = false;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    let mut end = || -> io::Result<()> {
        if arguments.json {
            let Sum { count, bytes } = all;
            let end = json!({ "things": things, "files": count, "bytes": bytes });
            events.print(&mut out, "summary", end)?;
        } else if things == 0 {
            writeln!(out, "nothing is in the trash")?;
        } else {
            let (things, bytes) = (many(things, "thing", "things"), ByteSize::b(all.bytes));
            writeln!(out, "{things} in the trash, {bytes}; kept {}", Told(kept_for))?;
        }
        out.flush()
    };
    end().context(NOT_WRITTEN)?;
    catalog.close().wait()?;
    Ok(())
}

/// Something in the trash, as it is printed.
struct Removed<'a> {
    user: &'a User,
    entry: TrashEntry,
    files: Sum,
    kept_for: Duration,
}

impl Removed<'_> {
    /// The time from which on the server may delete it; `None` where it is kept for ever.
    fn kept_until(&self) -> Option<Timestamp> {
        match self.kept_for {
            Duration::MAX => None,
            kept_for => self.entry.node.deleted_at.map(|at| at.plus(kept_for)),
        }
    }

    fn told(&self, out: &mut impl Write, is_first: bool) -> io::Result<()> {
        let Self { user, entry, files, .. } = self;
        if is_first {
            writeln!(out, "{}", who(user))?;
        }
        let removed =
            entry.node.deleted_at.map_or_else(|| "-".to_owned(), |at| Utc(at).to_string());
        let kept = match self.kept_until() {
            None => "kept for ever".to_owned(),
            Some(at) if at <= Clock::system().now() => "kept no longer".to_owned(),
            Some(at) => format!("kept until {}", Utc(at)),
        };
        let size = match entry.node.kind {
            NodeKind::Folder => {
                format!("{}, {}", many(files.count, "file", "files"), ByteSize::b(files.bytes))
            }
            NodeKind::File => ByteSize::b(files.bytes).to_string(),
            NodeKind::Link => "link".to_owned(),
        };
        writeln!(out, "  removed {removed}  {kept}  {}  ({size})", place(entry))
    }

    fn fields(&self) -> Value {
        let Self { user, entry, files, .. } = self;
        json!({
            "user": user.name,
            "user_id": user.user_id,
            "node_id": entry.node.node_id,
            "kind": entry.node.kind.as_str(),
            "name": entry.node.name.to_string(),
            "folder": entry.folder.as_ref().map(ToString::to_string),
            "files": files.count,
            "bytes": files.bytes,
            "removed_at": entry.node.deleted_at.and_then(utc),
            "kept_until": self.kept_until().and_then(utc),
        })
    }
}

/// The path that something had. `…` stands for a folder that is gone for good.
pub(super) fn place(entry: &TrashEntry) -> String {
    let name = entry.node.name.to_string();
    let text = match &entry.folder {
        Some(folder) if folder.is_root() => name,
        Some(folder) => format!("{folder}/{name}"),
        None => format!("…/{name}"),
    };
    let text = printable(Path::new(&text));
    if entry.node.kind == NodeKind::Folder { text + "/" } else { text }
}
