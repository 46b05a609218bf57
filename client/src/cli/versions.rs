//! `towline versions`: what a file was before.

use super::arguments::Versions;
use super::error::CliError;
use super::nodes::{self, minute, print_json};
use super::output::line;
use super::resolve;
use super::runtime::block_on;
use crate::exit::Exit;
use crate::units;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use towline_protocol::reply::Version;
use towline_types::Timestamp;

pub(super) fn run(versions: &Versions) -> Result<Exit, CliError> {
    let path = resolve::place(&versions.path)?;
    let mut client = nodes::client(&versions.connect, versions.answer.quiet)?;
    block_on(async {
        let mut after = None;
        loop {
            let page = client.versions(&path, after).await;
            let page = page.map_err(|failure| nodes::about(&path, failure))?;
            for version in &page.entries {
                if versions.answer.json {
                    print_json(version);
                } else {
                    line(&described(version));
                }
            }
            after = page.next;
            if after.is_none() || page.entries.is_empty() {
                return Ok(Exit::Done);
            }
        }
    })?
}

fn described(version: &Version) -> String {
    let Version { version: number, size, created_at, current, keep_until, .. } = version;
    let size = units::size(size.get());
    let state = match (current, keep_until) {
        (true, _) => "the file as it is now".to_owned(),
        (false, Some(until)) => format!("kept until {}", minute(Some(time(*until)))),
        (false, None) => "kept".to_owned(),
    };
    format!("{:>10}  {size:>10}  {}  {state}", number.get(), minute(Some(time(*created_at))))
}

fn time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.get())
}
