//! `towlined usage`: how much each user has.

use super::output::{Events, NOT_WRITTEN};
use super::people::users_of;
use super::store::StoreArgs;
use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, Write};
use towline_state::catalog::{Catalog, Sum, Usage, User};

/// `towlined usage …`
#[derive(Debug, Args)]
pub struct UsageArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Only this user
    #[arg(long, value_name = "NAME_OR_ID")]
    user: Option<String>,
    /// One JSON object a line on standard output
    #[arg(long)]
    json: bool,
}

/// Counts what each user has; a server may run meanwhile.
pub(super) fn run(arguments: &UsageArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let folder = store.open()?;
    let catalog = Catalog::open_to_look(folder.catalog_path())?;
    let mut out = io::stdout().lock();
    let users = users_of(&catalog, arguments.user.as_deref())?;
    let (mut all, mut events) = (Usage::default(), Events::default());
    if !arguments.json {
        row(&mut out, "USER", ["FILES", "VERSIONS", "TRASH", "UNFINISHED"].map(str::to_owned))
            .context(NOT_WRITTEN)?;
    }
    for user in &users {
        let usage = catalog.usage(user.user_id).wait()?;
        all = add(all, usage);
        if arguments.json {
            events.print(&mut out, "usage", fields(user, &usage)).context(NOT_WRITTEN)?;
        } else {
            row(&mut out, &user.name, cells(&usage)).context(NOT_WRITTEN)?;
        }
    }
    if arguments.json {
        let mut end = sums(&all);
        end["users"] = json!(users.len());
        events.print(&mut out, "summary", end).context(NOT_WRITTEN)?;
    } else if users.len() != 1 {
        row(&mut out, "all users", cells(&all)).context(NOT_WRITTEN)?;
    }
    out.flush().context(NOT_WRITTEN)?;
    catalog.close().wait()?;
    Ok(())
}

/// What all users have together.
pub(super) fn of_all(catalog: &Catalog) -> anyhow::Result<Usage> {
    let mut all = Usage::default();
    for user in users_of(catalog, None)? {
        all = add(all, catalog.usage(user.user_id).wait()?);
    }
    Ok(all)
}

fn add(one: Usage, other: Usage) -> Usage {
    Usage {
        files: one.files.and(other.files),
        versions: one.versions.and(other.versions),
        trash: one.trash.and(other.trash),
        uploads: one.uploads.and(other.uploads),
    }
}

fn cells(usage: &Usage) -> [String; 4] {
    let Usage { files, versions, trash, uploads } = usage;
    let cell = |sum: &Sum| format!("{} ({})", sum.count, ByteSize::b(sum.bytes));
    [files, versions, trash, uploads].map(cell)
}

fn row(out: &mut impl Write, name: &str, cells: [String; 4]) -> io::Result<()> {
    let [files, versions, trash, uploads] = cells;
    writeln!(out, "{name:<20} {files:>24} {versions:>24} {trash:>24} {uploads:>24}")
}

pub(super) fn sums(usage: &Usage) -> Value {
    let Usage { files, versions, trash, uploads } = usage;
    json!({
        "files": files.count,
        "file_bytes": files.bytes,
        "versions": versions.count,
        "version_bytes": versions.bytes,
        "trash_files": trash.count,
        "trash_bytes": trash.bytes,
        "unfinished": uploads.count,
        "unfinished_bytes": uploads.bytes,
    })
}

fn fields(user: &User, usage: &Usage) -> Value {
    let mut fields = sums(usage);
    fields["user"] = json!(user.name);
    fields["user_id"] = json!(user.user_id);
    fields["removed"] = json!(user.removed_at.is_some());
    fields
}
