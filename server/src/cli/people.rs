//! `towlined user` and `towlined token`: who may upload. They work whether or not
//! the server is running: the catalog takes short changes from several processes.

use super::settings::data_dir;
use crate::Clock;
use crate::storage::{DataFolder, Survey};
use crate::token::Tokens;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use towline_protocol::UserId;
use towline_state::catalog::{Catalog, User};

/// `towlined user …`
#[derive(Debug, Args)]
pub struct UserArgs {
    /// The folder for documents, catalog and keys [default: ./storage]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    action: UserAction,
}

#[derive(Debug, Subcommand)]
enum UserAction {
    /// Adds a user.
    Add {
        /// Letters, digits, dot, dash and underscore.
        name: String,
        /// Use this user number.
        #[arg(long)]
        id: Option<UserId>,
    },
    /// Lists the users.
    List,
    /// Removes a user: their tokens open nothing any more, their documents stay.
    Remove {
        /// The user's name or number.
        name: String,
    },
}

/// `towlined token …`
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The folder for documents, catalog and keys [default: ./storage]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The user whom the token is for.
    #[arg(long, value_name = "NAME_OR_ID")]
    user: String,
    /// How long the token is valid.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = humantime::parse_duration)]
    ttl: Duration,
}

pub(super) fn user(arguments: &UserArgs) -> anyhow::Result<()> {
    let (folder, catalog) = open(data_dir(arguments.data_dir.as_deref()))?;
    let now = Clock::system().now();
    let mut out = std::io::stdout().lock();
    match &arguments.action {
        UserAction::Add { name, id } => {
            let id = id.map_or_else(|| number(&folder, &catalog), |id| Ok(Some(id)))?;
            let user = catalog.add_user(name.clone(), id, now).wait()?;
            writeln!(out, "added {} as user {}", user.name, user.user_id)?;
        }
        UserAction::List => {
            for user in catalog.users().wait()? {
                let removed = if user.removed_at.is_some() { "  (removed)" } else { "" };
                writeln!(out, "{:>6}  {}{removed}", user.user_id, user.name)?;
            }
        }
        UserAction::Remove { name } => {
            let user = find(&catalog, name)?;
            catalog.remove_user(user.user_id, now).wait()?;
            writeln!(out, "removed {} (user {}); the documents stay", user.name, user.user_id)?;
        }
    }
    catalog.close().wait()?;
    Ok(())
}

pub(super) fn token(arguments: &TokenArgs) -> anyhow::Result<()> {
    let (folder, catalog) = open(data_dir(arguments.data_dir.as_deref()))?;
    let user = find(&catalog, &arguments.user)?;
    let tokens = Tokens::open(&folder.keys_path(), Clock::system())?;
    writeln!(std::io::stdout(), "{}", tokens.issue(user.user_id, arguments.ttl)?)?;
    catalog.close().wait()?;
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<(DataFolder, Catalog)> {
    let folder = DataFolder::open(path)?;
    let catalog = Catalog::open(folder.catalog_path())?;
    Ok((folder, catalog))
}

/// The number for a new user, where it must be a certain one. After the loss of a
/// catalog, numbers begin anew; but the folders of the earlier users are still there,
/// and their tokens still good. Nobody is to inherit them by chance (P6).
pub(super) fn number(folder: &DataFolder, catalog: &Catalog) -> anyhow::Result<Option<UserId>> {
    let Some(highest) = Survey::of(folder).highest_user()? else { return Ok(None) };
    let known = catalog.users().wait()?.last().is_some_and(|user| user.user_id >= highest);
    let above = UserId::try_from(highest.get().saturating_add(1)).ok();
    Ok(above.filter(|_| !known))
}

/// The user of that name or number, unless removed.
fn find(catalog: &Catalog, name_or_id: &str) -> anyhow::Result<User> {
    let user = match name_or_id.parse::<UserId>() {
        Ok(id) => catalog.user(id).wait()?,
        Err(_) => catalog.user_named(name_or_id).wait()?,
    };
    let user = user.with_context(|| {
        format!("there is no user {name_or_id}; `user list` shows them, `user add` makes one")
    })?;
    if user.removed_at.is_some() {
        bail!("user {} ({}) was removed", user.user_id, user.name);
    }
    Ok(user)
}
