//! `towlined key`: the keys that sign tokens. The command works whether or not the server is
//! running. A running server reads its keys again at SIGHUP.

use super::output::{NOT_WRITTEN, Utc};
use super::store::StoreArgs;
use crate::token::SigningKeys;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use std::io::Write as _;
use std::time::UNIX_EPOCH;
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
    List,
    /// Make another key, which signs new tokens from then on; tokens of the other keys stay good
    Add,
    /// Delete a key: the tokens that it has signed are refused from then on
    Retire {
        /// The key's id, as `key list` shows it
        id: KeyId,
    },
}

/// What the operator has to do after a change.
const TELL_SERVER: &str =
    "a server that runs reads its keys when you send it SIGHUP (systemctl reload towlined)";

pub(super) fn run(arguments: &KeyArgs, store: &StoreArgs) -> anyhow::Result<()> {
    let keys = store.open()?.keys_path();
    let mut out = std::io::stdout().lock();
    match &arguments.action {
        KeyAction::List => {
            let all = SigningKeys::find(&keys)?;
            for key in all.iter() {
                let does = if key.id() == all.signer().id() { "signs" } else { "checks" };
                let made = key.path().metadata().and_then(|about| about.modified()).ok();
                let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
                let made = made.map(|made| Utc(Timestamp::from_secs(made.as_secs())).to_string());
                let made = made.unwrap_or_default();
                writeln!(out, "{}  {does:<6}  {made}", key.id()).context(NOT_WRITTEN)?;
            }
        }
        KeyAction::Add => {
            let all = SigningKeys::add(&keys)?;
            let id = all.signer().id();
            writeln!(
                out,
                "added key {id}, which signs new tokens; tokens of the other keys stay good\n\
                 {TELL_SERVER}; until then it refuses tokens of the new key"
            )
            .context(NOT_WRITTEN)?;
        }
        KeyAction::Retire { id } => {
            SigningKeys::find(&keys)?.retire(&keys, *id)?;
            writeln!(
                out,
                "retired key {id}: its tokens are good no longer\n\
                 {TELL_SERVER}; until then it takes these tokens"
            )
            .context(NOT_WRITTEN)?;
        }
    }
    Ok(())
}
