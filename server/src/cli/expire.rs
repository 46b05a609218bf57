//! `towlined expire`: deletes now what is kept no longer.

use super::keep::{KeepArgs, Told};
use super::output::{NOT_WRITTEN, Utc, many, printable};
use super::store::StoreArgs;
use super::trash::place;
use anyhow::{Context as _, bail};
use bytesize::ByteSize;
use clap::Args;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use towline_engine::cleanup::{self, CleanupError, Due};
use towline_engine::storage::FolderError;
use towline_engine::{Clock, EngineConfig, Keep, OpenError, Swept};

/// `towlined expire …`
#[derive(Debug, Args)]
pub struct ExpireArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Only say what would be deleted; the server may run
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// As the server has them: what it was told on its command line is not known here.
    #[command(flatten)]
    keep: KeepArgs,
}

/// Deletes, or tells what would be deleted.
pub(super) fn run(arguments: &ExpireArgs, store: &StoreArgs) -> anyhow::Result<bool> {
    let keep = store.keep(arguments.keep)?;
    let folder = store.open()?;
    let clock = Clock::system();
    // The clock and these times decide what is deleted, and either may be wrong.
    let _ =
        writeln!(io::stderr(), "the time is {} (UTC)\nkept are {}", Utc(clock.now()), Kept(&keep));
    let mut out = BufWriter::new(io::stdout().lock());
    if arguments.dry_run {
        let swept = cleanup::preview(folder.path(), keep, clock.now(), &mut |due| {
            writeln!(out, "{}", Shown(due))
        })?;
        writeln!(out, "would delete {}", Sums(&swept)).context(NOT_WRITTEN)?;
        out.flush().context(NOT_WRITTEN)?;
        return Ok(true);
    }
    let mut config = EngineConfig::new(folder.path());
    config.keep = keep;
    let swept = match cleanup::delete_now(config) {
        Err(CleanupError::Open(OpenError::Folder(FolderError::InUse { .. }))) => bail!(
            "a server has the data folder {}, so nothing was deleted. It deletes by itself what is \
             kept no longer, once an hour. To delete it now, stop the server first; --dry-run is \
             possible at any time",
            folder.path().display()
        ),
        swept => swept?,
    };
    writeln!(out, "deleted {}", Sums(&swept)).context(NOT_WRITTEN)?;
    if swept.left > 0 {
        let left =
            many(swept.left, "removed thing or older version", "removed things or older versions");
        writeln!(out, "{left} could not be deleted, see above").context(NOT_WRITTEN)?;
    }
    out.flush().context(NOT_WRITTEN)?;
    Ok(swept.left == 0)
}

/// For how long things are kept.
struct Kept<'a>(&'a Keep);

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keep { trash, versions, changes } = self.0;
        let (all, hourly, daily) =
            (Told(versions.all), Told(versions.hourly), Told(versions.daily));
        write!(f, "removed files {}; older versions {daily}", Told(*trash))?;
        if versions.all != versions.daily {
            write!(f, " (all of them {all}, the last one of each hour {hourly})")?;
        }
        write!(f, "; the log of changes {}", Told(*changes))
    }
}

struct Sums<'a>(&'a Swept);

impl fmt::Display for Sums<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Swept { removed, versions, changes, bytes, .. } = self.0;
        let removed = many(*removed, "removed thing", "removed things");
        let versions = many(*versions, "older version", "older versions");
        let changes = many(*changes, "entry", "entries");
        let bytes = ByteSize::b(*bytes);
        write!(f, "{removed} and {versions}: {bytes}; and {changes} of the log of changes")
    }
}

struct Shown<'a>(&'a Due);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Due::Removed { entry, files } => {
                let (user, place) = (entry.node.user_id, place(entry));
                let (count, bytes) = (many(files.count, "file", "files"), ByteSize::b(files.bytes));
                let removed = entry.node.deleted_at.map(|at| format!(", removed {}", Utc(at)));
                write!(f, "user {user}: {place} ({count}, {bytes}{})", removed.unwrap_or_default())
            }
            Due::Version { document, place } => {
                let (user, id, bytes) =
                    (document.user_id, document.document_id, ByteSize::b(document.filesize.get()));
                let place = place.as_ref().map(|place| printable(Path::new(&place.to_string())));
                let place = place.unwrap_or_else(|| "a file in the trash".to_owned());
                write!(f, "user {user}: version {id} of {place} ({bytes})")
            }
        }
    }
}
