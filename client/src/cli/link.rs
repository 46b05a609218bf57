//! `towline link`: an address at which others fetch one file.

use super::arguments::Link;
use super::error::CliError;
use super::json;
use super::nodes::{self, minute};
use super::output::{line, say};
use super::resolve;
use super::runtime::block_on;
use crate::client::link::{Link as Made, LinkReach};
use crate::exit::Exit;
use crate::failure::Failure;
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use towline_protocol::Code;
use towline_types::{DocumentId, NodePath};

/// By how much the clocks of server and client may differ before a link counts as one that ends
/// before its time.
const CLOCKS: Duration = Duration::from_secs(300);

/// The event.
#[derive(Serialize)]
struct Event<'a> {
    path: String,
    url: &'a str,
    document_id: DocumentId,
    /// In ms since 1970.
    expires_at: u64,
}

pub(super) fn run(link: &Link) -> Result<Exit, CliError> {
    let path = resolve::place(&link.path)?;
    let mut client = nodes::client(&link.connect, link.answer.quiet)?;
    let made = block_on(client.link(&path, link.ttl))?;
    let made = made.map_err(|failure| refused(&path, failure))?;
    if link.answer.json {
        let since = made.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        json::event(
            "link",
            &Event {
                path: path.to_string(),
                url: &made.url,
                document_id: made.document_id,
                expires_at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            },
        );
    } else {
        line(&made.url);
    }
    if !link.answer.quiet {
        tell(&path, link.ttl, &made);
    }
    Ok(Exit::Done)
}

/// What a person needs to know who sends the address to another one. It goes to standard error, so
/// that standard output has the address and nothing else.
fn tell(path: &NodePath, asked_for: Duration, made: &Made) {
    let until = minute(Some(made.expires_at));
    let wanted = SystemTime::now() + asked_for;
    let is_short = made.expires_at + CLOCKS < wanted;
    let why = if is_short { ", when your token ends" } else { "" };
    say(&format!("whoever has this address can fetch {} until {until}{why}", nodes::shown(path)));
    match made.reach {
        LinkReach::AsTold => {}
        LinkReach::OwnCertificate => say(
            "a browser warns of the server's certificate, unless its operator has given it one of an \
             authority (towlined --tls-cert) or a proxy stands before it (--http-url)",
        ),
        LinkReach::ThisMachine => say(
            "the address works on this machine alone; for others, name the server by an address that \
             they reach (--to), or have its operator say it (towlined --http-url)",
        ),
    }
}

fn refused(path: &NodePath, failure: Failure) -> CliError {
    match (&failure, failure.code()) {
        (Failure::NotSupported { server }, _) => {
            CliError::new(failure.exit(), format!("{server} makes no links: it serves no HTTP"))
                .advising(
                    "ask the server's operator to turn it on (towlined without --no-http; `towline \
                     serve` and `towline receive` have none), or to update towlined",
                )
        }
        (_, Some(Code::BadState)) => CliError::new(
            Exit::Refused,
            format!(
                "{} is no file, and a link leads to one file; towline ls {} lists what is in a folder",
                nodes::shown(path),
                nodes::typed(path)
            ),
        ),
        (_, Some(Code::NotFound)) => nodes::about(path, failure).advising(
            "towline ls -R lists what is there; a file that is still being sent gets its link when it \
             is complete (towline uploads)",
        ),
        _ => nodes::about(path, failure),
    }
}
