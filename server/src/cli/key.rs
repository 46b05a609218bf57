//! `towlined key`: the keys that sign tokens. The command works whether or not the server is
//! running. A running server reads its keys again at SIGHUP.

use super::operator_log::OperatorLog;
use super::output::{Events, NOT_WRITTEN, Utc, utc};
use super::people::open;
use super::store::StoreArgs;
use crate::token::SigningKeys;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::UNIX_EPOCH;
use towline_engine::Clock;
use towline_state::catalog::{Catalog, TokenRow};
use towline_types::{KeyId, Timestamp};

/// `towlined key …`
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// List the keys, the oldest one first
    List {
        /// One JSON object a line on standard output
        #[arg(long)]
        json: bool,
    },
    /// Make another key, which signs new tokens from then on; tokens of the other keys stay good
    Add,
    /// Delete a key: the tokens that it has signed are refused from then on
    Retire {
        /// The key's id, as `key list` shows it
        id: KeyId,
        /// Also where tokens of the key are still good: their users are shut out
        #[arg(long)]
        now: bool,
    },
}

/// What the operator has to do after a change.
const TELL_SERVER: &str =
    "a server that runs reads its keys when you send it SIGHUP (systemctl reload towlined)";

/// The tokens of a key that are still good: how many, and until when the last of them.
struct GoodTokens {
    count: u64,
    until: Timestamp,
}

impl GoodTokens {
    fn of(catalog: &Catalog, key: KeyId) -> anyhow::Result<Self> {
        let now = Clock::system().now();
        let mut good = Self { count: 0, until: Timestamp::MIN };
        for row in catalog.tokens(None).wait()?.into_iter().flatten() {
            let TokenRow { token, revoked_at, .. } = row;
            if token.key_id == key && revoked_at.is_none() && token.expires_at > now {
                good.count += 1;
                good.until = good.until.max(token.expires_at);
            }
        }
        Ok(good)
    }
}

impl fmt::Display for GoodTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("no good tokens"),
            1 => write!(f, "1 good token, until {}", Utc(self.until)),
            count => write!(f, "{count} good tokens, the last one until {}", Utc(self.until)),
        }
    }
}

pub(super) fn run(arguments: &KeyArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let (folder, catalog) = open(store)?;
    let keys = folder.keys_path();
    let log = OperatorLog::of(&folder);
    let mut out = std::io::stdout().lock();
    match &arguments.action {
        KeyAction::List { json } => list(&keys, &catalog, *json, &mut out)?,
        KeyAction::Add => {
            let all = SigningKeys::add(&keys)?;
            let id = all.signer().id();
            log.record("key_add", json!({ "key": id.to_string() }));
            writeln!(
                out,
                "added key {id}, which signs new tokens; tokens of the other keys stay good\n\
                 {TELL_SERVER}; until then it refuses tokens of the new key"
            )
            .context(NOT_WRITTEN)?;
        }
        KeyAction::Retire { id, now } => {
            let all = SigningKeys::find(&keys)?;
            let good = GoodTokens::of(&catalog, *id)?;
            let may_go = all.get(*id).is_some() && all.signer().id() != *id;
            if may_go && good.count > 0 && !now {
                bail!(
                    "key {id} has {good}; give their users new tokens first (`towlined tokens` shows \
                     them), or shut these users out with --now"
                );
            }
            all.retire(&keys, *id)?;
            log.record("key_retire", json!({ "key": id.to_string() }));
            writeln!(
                out,
                "retired key {id}: its tokens are good no longer\n\
                 {TELL_SERVER}; until then it takes these tokens"
            )
            .context(NOT_WRITTEN)?;
        }
    }
    catalog.close().wait()?;
    Ok(())
}

fn list(keys: &Path, catalog: &Catalog, is_json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let all = SigningKeys::find(keys)?;
    let mut events = Events::default();
    for key in all.iter() {
        let signs = key.id() == all.signer().id();
        let made = key.path().metadata().and_then(|about| about.modified()).ok();
        let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        let made = made.map(|made| Timestamp::from_secs(made.as_secs()));
        let good = GoodTokens::of(catalog, key.id())?;
        let written = if is_json {
            let fields = json!({
                "key_id": key.id().to_string(),
                "signs": signs,
                "made_at": made.and_then(utc),
                "good_tokens": good.count,
                "good_until": if good.count > 0 { utc(good.until) } else { None },
            });
            events.print(out, "key", fields)
        } else {
            let does = if signs { "signs" } else { "checks" };
            let made = made.map_or_else(String::new, |made| Utc(made).to_string());
            writeln!(out, "{}  {does:<6}  {made:<20}  {good}", key.id())
        };
        written.context(NOT_WRITTEN)?;
    }
    if is_json {
        let summary = json!({ "keys": all.iter().count() });
        events.print(out, "summary", summary).context(NOT_WRITTEN)?;
    }
    Ok(())
}
