//! `towlined user`: who may upload. It works whether or not the server is running: the catalog
//! takes short changes from several processes.

use super::operator_log::OperatorLog;
use super::output::NOT_WRITTEN;
use super::quota::{self, QuotaArgs};
use super::store::StoreArgs;
use crate::config::Timings;
use crate::user_numbers::UserNumbers;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::Write as _;
use towline_engine::Clock;
use towline_engine::storage::{DataFolder, DataFolderScan};
use towline_state::catalog::{Catalog, User};
use towline_types::{Timestamp, UserId};

/// `towlined user …`
#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(subcommand)]
    action: UserAction,
}

#[derive(Debug, Subcommand)]
enum UserAction {
    /// Add a user
    Add {
        /// The user's name: letters, digits, dot, dash and underscore
        name: String,
        /// Use this user number [default: the next free one]
        #[arg(long)]
        id: Option<UserId>,
    },
    /// List the users
    List,
    /// Say how much a user has and may have; with --bytes or --files, set it
    Quota {
        /// The user's name or number
        name: String,
        #[command(flatten)]
        quota: QuotaArgs,
    },
    /// Remove a user: the user's tokens are refused from then on, open connections end within
    /// 30 seconds, unfinished uploads are cancelled, the documents stay
    Remove {
        /// The user's name or number
        name: String,
    },
}

pub(super) fn user(arguments: &UserArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let (folder, catalog) = open(store)?;
    let now = Clock::system().now();
    let log = OperatorLog::of(&folder);
    let mut out = std::io::stdout().lock();
    match &arguments.action {
        UserAction::Add { name, id } => {
            let user = add(&folder, &catalog, name, *id, now)?;
            log.record_of("user_add", &user, json!({}));
            writeln!(out, "added {} as user {}", user.name, user.user_id).context(NOT_WRITTEN)?;
        }
        UserAction::List => {
            for user in catalog.users().wait()? {
                match user {
                    Ok(user) => {
                        let removed = if user.removed_at.is_some() { "  (removed)" } else { "" };
                        writeln!(out, "{:>6}  {}{removed}", user.user_id, user.name)
                            .context(NOT_WRITTEN)?;
                    }
                    Err(error) => writeln!(std::io::stderr(), "towlined: {error}")?,
                }
            }
        }
        UserAction::Quota { name, quota } => {
            quota::run(&catalog, &find(&catalog, name)?, *quota, &log)?;
        }
        UserAction::Remove { name } => {
            let user = find(&catalog, name)?;
            catalog.remove_user(user.user_id, now).wait()?;
            log.record_of("user_remove", &user, json!({}));
            writeln!(
                out,
                "removed {} (user {}): new connections are refused from now on, and open ones end \
                 within {} s; unfinished uploads are cancelled, the documents stay",
                user.name,
                user.user_id,
                Timings::default().recheck.as_secs()
            )
            .context(NOT_WRITTEN)?;
        }
    }
    catalog.close().wait()?;
    Ok(())
}

/// The data folder, and the catalog in it.
pub(super) fn open(store: &StoreArgs) -> anyhow::Result<(DataFolder, Catalog)> {
    let folder = store.open()?;
    let catalog = Catalog::open(folder.catalog_path())?;
    Ok((folder, catalog))
}

/// Adds a user, under that number or under the next one that no user has ever had.
///
/// After the loss of a catalog its numbers begin anew, while the folders of the earlier users
/// are still there. A new user must not get the number, and with it the folder, of an earlier
/// one (P6): so the number is above every folder of a user, and above the highest number that
/// is recorded beside the keys.
pub(super) fn add(
    folder: &DataFolder,
    catalog: &Catalog,
    name: &str,
    id: Option<UserId>,
    now: Timestamp,
) -> anyhow::Result<User> {
    let numbers = UserNumbers::beside(&folder.keys_path());
    let next = || -> anyhow::Result<Option<UserId>> {
        let highest = numbers.highest()?.max(DataFolderScan::of(folder).highest_user()?);
        let Some(highest) = highest else { return Ok(None) };
        let known = catalog.highest_user().wait()?;
        let above = UserId::try_from(highest.get().saturating_add(1)).ok();
        Ok(above.filter(|_| known < Some(highest)))
    };
    let id = id.map_or_else(next, |id| Ok(Some(id)))?;
    let user = catalog.add_user(name, id, now).wait()?;
    // Behind the row: where this is cut off, the catalog has the number, and the next user who
    // is added brings the file up to date.
    numbers.record(user.user_id)?;
    Ok(user)
}

/// The user with that name or number, or all users where none is named. Removed users are among
/// them, because their documents stay.
pub(super) fn users_of(catalog: &Catalog, only: Option<&str>) -> anyhow::Result<Vec<User>> {
    if let Some(name_or_id) = only {
        return Ok(vec![find_any(catalog, name_or_id)?]);
    }
    let mut users = Vec::new();
    for user in catalog.users().wait()? {
        match user {
            Ok(user) => users.push(user),
            Err(error) => writeln!(std::io::stderr(), "towlined: {error}")?,
        }
    }
    Ok(users)
}

/// A user, as the heading of a list.
pub(super) fn who(user: &User) -> String {
    let removed = if user.removed_at.is_some() { ", removed" } else { "" };
    format!("{} (user {}{removed})", user.name, user.user_id)
}

fn find_any(catalog: &Catalog, name_or_id: &str) -> anyhow::Result<User> {
    let user = match name_or_id.parse::<UserId>() {
        Ok(id) => catalog.user(id).wait()?,
        Err(_) => catalog.user_named(name_or_id).wait()?,
    };
    user.with_context(|| format!("there is no user {name_or_id}; `towlined user list` shows them"))
}

/// The user of that name or number, unless removed.
pub(super) fn find(catalog: &Catalog, name_or_id: &str) -> anyhow::Result<User> {
    let user = find_any(catalog, name_or_id)?;
    if user.removed_at.is_some() {
        bail!("user {} ({}) was removed", user.user_id, user.name);
    }
    Ok(user)
}
