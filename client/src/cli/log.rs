//! `towline log`: what was changed on the server, the newest last.

use super::arguments::Log;
use super::error::CliError;
use super::nodes::{self, marked, minute, print_json};
use super::output::line;
use super::runtime::block_on;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::units;
use std::time::{Duration, UNIX_EPOCH};
use towline_protocol::Code;
use towline_protocol::reply::{Change, Operation, Part};

pub(super) fn run(log: &Log) -> Result<Exit, CliError> {
    let mut client = nodes::client(&log.connect, log.answer.quiet)?;
    block_on(async {
        let head = client.delta("latest".to_owned()).await?;
        let cursor = head.cursor.unwrap_or_default();
        let Some(mut since) = before(&cursor, u64::from(log.number)) else {
            return Err(Failure::Protocol("a cursor of another form".to_owned()).into());
        };
        loop {
            let Some(delta) = page(&mut client, since).await? else { return Ok(Exit::Done) };
            for change in &delta.items {
                if log.answer.json {
                    print_json(change);
                } else {
                    line(&described(change));
                }
            }
            match delta.cursor.filter(|_| delta.more && !delta.items.is_empty()) {
                Some(cursor) => since = cursor,
                None => return Ok(Exit::Done),
            }
        }
    })?
}

/// The next changes; nothing where the server has forgotten those that old.
async fn page(
    client: &mut Client,
    since: String,
) -> Result<Option<towline_protocol::reply::Delta>, CliError> {
    match client.delta(since).await {
        Ok(delta) => Ok(Some(delta)),
        Err(failure) if failure.code() == Some(Code::CursorReset) => {
            line("the server has forgotten changes that are that old; ask for fewer with -n");
            Ok(None)
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The cursor that lies that number of changes before.
fn before(cursor: &str, changes: u64) -> Option<String> {
    let (head, last) = cursor.rsplit_once('.')?;
    let last: u64 = last.parse().ok()?;
    Some(format!("{head}.{}", last.saturating_sub(changes)))
}

fn described(change: &Change) -> String {
    let when = minute(change.at.map(|at| UNIX_EPOCH + Duration::from_millis(at.get())));
    let what = match (change.op, &change.changed[..]) {
        (Operation::Create, _) => "new",
        (Operation::Delete, _) => "removed",
        (Operation::Update, []) => "mode or time",
        (Operation::Update, [Part::Content]) => "content",
        (Operation::Update, [Part::Place]) => "moved",
        (Operation::Update, _) => "moved, content",
    };
    let node = &change.node;
    let size = node.size.map_or_else(|| "-".to_owned(), |size| units::size(size.get()));
    format!("{when}  {what:14}  {size:>10}  {}", marked(&node.name, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_back_as_far_as_the_first_change() {
        assert_eq!(before("c1.7.2.1234", 100).as_deref(), Some("c1.7.2.1134"));
        assert_eq!(before("c1.7.2.5", 100).as_deref(), Some("c1.7.2.0"));
        assert_eq!(before("c1", 1), None);
    }
}
