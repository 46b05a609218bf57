//! `towlined token` and `towlined tokens`: tokens are issued, listed and revoked. The commands work
//! whether or not the server is running.

use super::operator_log::OperatorLog;
use super::output::{Events, NOT_WRITTEN, Utc, utc};
use super::people::{find, open, users_of, who};
use super::store::StoreArgs;
use crate::config::Timings;
use crate::token::Tokens;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::time::Duration;
use towline_engine::Clock;
use towline_state::catalog::{Catalog, IssuedToken, TokenRow, User};
use towline_types::Timestamp;

/// `towlined token …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TokenArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// User the token is for
    #[arg(long, value_name = "NAME_OR_ID", required = true)]
    user: Option<String>,
    /// How long the token is valid
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = ttl)]
    ttl: Duration,
    #[command(subcommand)]
    action: Option<TokenAction>,
}

#[derive(Debug, Subcommand)]
enum TokenAction {
    /// Revoke a token: it is refused from then on, and its open connections end within 30 seconds
    Revoke {
        /// The token's id, as `towlined tokens` shows it, or its beginning
        id: String,
    },
}

/// `towlined tokens …`
#[derive(Debug, Args)]
pub struct TokensArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Only the tokens of this user
    #[arg(long, value_name = "NAME_OR_ID")]
    user: Option<String>,
    /// One JSON object a line on standard output
    #[arg(long)]
    json: bool,
}

/// How long a token is valid. A token names whole seconds, so less than one is expired at once.
pub(super) fn ttl(typed: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(typed).map_err(|error| error.to_string())?;
    if ttl < Duration::from_secs(1) {
        return Err("the token would be expired at once; write a time of 1s or more".to_owned());
    }
    Ok(ttl)
}

pub(super) fn run(arguments: &TokenArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let (folder, catalog) = open(store)?;
    let log = OperatorLog::of(&folder);
    match (&arguments.action, &arguments.user) {
        (Some(TokenAction::Revoke { id }), _) => revoke(&catalog, id, &log)?,
        (None, Some(user)) => {
            let user = find(&catalog, user)?;
            let tokens = Tokens::find(&folder.keys_path(), &catalog.store(), Clock::system())?;
            let issued = tokens.issue(user.user_id, user.created_at, arguments.ttl)?;
            // The row comes first, so that every token that is printed can be revoked.
            catalog.record_token(issued.row).wait()?;
            log.record_of("token_issue", &user, names(&issued.row));
            writeln!(io::stdout(), "{}", issued.token).context(NOT_WRITTEN)?;
        }
        // The parser demands one of the two.
        (None, None) => bail!("name the user: --user NAME"),
    }
    catalog.close().wait()?;
    Ok(())
}

/// The least number of characters of an id that are taken for the whole id.
const BEGINNING_CHARS: usize = 4;

/// The ids of a token and its key, for the audit log.
fn names(token: &IssuedToken) -> Value {
    json!({ "token": token.token_id.to_string(), "key": token.key_id.to_string() })
}

fn revoke(catalog: &Catalog, typed: &str, log: &OperatorLog) -> anyhow::Result<()> {
    if typed.len() < BEGINNING_CHARS {
        bail!("write at least the first {BEGINNING_CHARS} characters of the token's id");
    }
    let rows = catalog.tokens(None).wait()?;
    let begins = |row: &TokenRow| row.token.token_id.to_string().starts_with(typed);
    let mut found = rows.into_iter().flatten().filter(begins);
    let Some(row) = found.next() else {
        bail!("there is no token {typed}; `towlined tokens` shows their ids");
    };
    if found.next().is_some() {
        bail!("more than one token begins with {typed}; write more of its id");
    }
    let id = row.token.token_id;
    let now = Clock::system().now();
    catalog.revoke_token(id, now).wait()?.with_context(|| format!("there is no token {id}"))?;
    let user = catalog.user(row.token.user_id).wait()?;
    match &user {
        Some(user) => log.record_of("token_revoke", user, names(&row.token)),
        None => log.record("token_revoke", names(&row.token)),
    }
    let user = user.map_or_else(|| row.token.user_id.to_string(), |user| who(&user));
    writeln!(
        io::stdout(),
        "revoked token {id} of {user}: new connections with it are refused from now on, and open \
         ones end within {} s; other tokens of the user stay good",
        Timings::default().recheck.as_secs()
    )
    .context(NOT_WRITTEN)
}

/// Lists the ids and times of the tokens, never the tokens themselves.
pub(super) fn list(arguments: &TokensArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let folder = store.open()?;
    let catalog = Catalog::open_to_look(folder.catalog_path())?;
    let now = Clock::system().now();
    let mut out = io::stdout().lock();
    let (mut events, mut count) = (Events::default(), 0_u64);
    if !arguments.json {
        writeln!(out, "{:<32}  {:<20}  {:<20}  {:<20}  LAST USED", "ID", "ISSUED", "ENDS", "STATE")
            .context(NOT_WRITTEN)?;
    }
    for user in users_of(&catalog, arguments.user.as_deref())? {
        let rows = catalog.tokens(Some(user.user_id)).wait()?;
        if rows.is_empty() {
            continue;
        }
        if !arguments.json {
            writeln!(out, "{}", who(&user)).context(NOT_WRITTEN)?;
        }
        for row in rows {
            count += u64::from(row.is_ok());
            match row {
                Ok(row) if arguments.json => {
                    events.print(&mut out, "token", fields(&row, &user, now))
                }
                Ok(row) => writeln!(out, "{}", line(&row, user.removed_at, now)),
                Err(error) => writeln!(io::stderr(), "towlined: {error}"),
            }
            .context(NOT_WRITTEN)?;
        }
    }
    if arguments.json {
        let summary = json!({ "tokens": count });
        events.print(&mut out, "summary", summary).context(NOT_WRITTEN)?;
    }
    catalog.close().wait()?;
    Ok(())
}

fn fields(row: &TokenRow, user: &User, now: Timestamp) -> Value {
    let TokenRow { token, last_used_at, revoked_at } = row;
    json!({
        "user": user.name,
        "user_id": user.user_id,
        "token_id": token.token_id.to_string(),
        "key_id": token.key_id.to_string(),
        "issued_at": utc(token.issued_at),
        "ends_at": utc(token.expires_at),
        "state": state(row, user.removed_at, now),
        "last_used_at": last_used_at.and_then(utc),
        "revoked_at": revoked_at.and_then(utc),
    })
}

/// Whether a token is good, or why not.
fn state(row: &TokenRow, removed_at: Option<Timestamp>, now: Timestamp) -> &'static str {
    match (row.revoked_at, removed_at) {
        (Some(_), _) => "revoked",
        (None, Some(_)) => "user removed",
        (None, None) if row.token.expires_at <= now => "ended",
        (None, None) => "good",
    }
}

fn line(row: &TokenRow, removed_at: Option<Timestamp>, now: Timestamp) -> String {
    let TokenRow { token, last_used_at, .. } = row;
    let state = state(row, removed_at, now);
    let used = last_used_at.map_or_else(|| "never".to_owned(), |at| Utc(at).to_string());
    let (issued, ends) = (Utc(token.issued_at).to_string(), Utc(token.expires_at).to_string());
    format!("{:<32}  {issued:<20}  {ends:<20}  {state:<20}  {used}", token.token_id.to_string())
}
