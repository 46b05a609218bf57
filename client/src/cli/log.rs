//! `towline log`: what was changed on the server, the newest last.

mod recent;

use super::arguments::Log;
use super::error::CliError;
use super::json;
use super::nodes::{self, marked, minute};
use super::output::{line, say};
use super::runtime::block_on;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::units;
use recent::Recent;
use serde::Serialize;
use std::time::{Duration, UNIX_EPOCH};
use towline_protocol::reply::{Change, Delta, Operation, Part};
use towline_protocol::{Code, Node};
use towline_types::{ChangeId, NodeId};

/// How many paths of folders are in memory. Changes that follow each other lie in few folders;
/// where a folder was not needed for longer than this, the server is asked for it again.
const FOLDERS_MAX: usize = 1000;

/// A change for a program.
#[derive(Serialize)]
struct Line<'a> {
    /// Where the thing lies; absent where its folder is no longer there.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    change_id: u64,
    op: Operation,
    changed: &'a [Part],
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(flatten)]
    node: &'a Node,
}

pub(super) fn run(log: &Log) -> Result<Exit, CliError> {
    let mut client = nodes::client(&log.connect, log.answer.quiet)?;
    block_on(async {
        let head = client.delta("latest".to_owned()).await?;
        let mut folders = Folders(Recent::of(FOLDERS_MAX));
        let Oldest { mut delta, is_cut } = oldest(head, u64::from(log.number), &mut client).await?;
        if is_cut && !log.answer.quiet {
            say("what was changed before that is in the log of the server no longer");
        }
        // Changes that are made while the log is printed are not shown.
        let mut left = log.number;
        let mut last = None;
        loop {
            for change in &delta.items {
                // A server that says the same changes again and again would never come to an end.
                if last.replace(change.change_id) >= Some(change.change_id) {
                    return Err(out_of_order(change.change_id).into());
                }
                if left == 0 {
                    return Ok(Exit::Done);
                }
                left -= 1;
                let folder = folders.path(change.node.parent_id, &mut client).await?;
                show(log, change, folder);
            }
            if !delta.more {
                return Ok(Exit::Done);
            }
            if delta.items.is_empty() {
                return Err(Failure::Protocol("a log without an end".to_owned()).into());
            }
            let cursor = delta.cursor.take().unwrap_or_default();
            delta = client.delta(cursor).await?;
        }
    })?
}

fn out_of_order(change: ChangeId) -> Failure {
    Failure::Protocol(format!("its log has change {change} twice or out of order"))
}

/// The oldest changes that are to be shown.
struct Oldest {
    delta: Delta,
    /// The server no longer has as many changes as were asked for.
    is_cut: bool,
}

/// The last changes before `head`, which is the end of the log; as many as `changes` says. Where
/// the server no longer keeps all of these, the answer has those that it keeps. No answer says how
/// far the log reaches back, so the number is found by halves.
async fn oldest(head: Delta, changes: u64, client: &mut Client) -> Result<Oldest, Failure> {
    let cursor = head.cursor.clone().unwrap_or_default();
    let mut delta = head;
    // `kept` is a number that the server has; `lost` one that it has not.
    let (mut kept, mut lost) = (0, None);
    let mut tried = changes;
    loop {
        let Some(since) = before(&cursor, tried) else {
            return Err(Failure::Protocol("a cursor of another form".to_owned()));
        };
        match client.delta(since).await {
            Ok(answer) => (kept, delta) = (tried, answer),
            Err(failure) if failure.code() == Some(Code::CursorReset) && tried > 0 => {
                lost = Some(tried);
            }
            Err(failure) => return Err(failure),
        }
        tried = match lost {
            Some(lost) if lost - kept > 1 => kept + (lost - kept) / 2,
            Some(_) | None => return Ok(Oldest { delta, is_cut: lost.is_some() }),
        };
    }
}

/// The paths of folders. A change names the folder of its node by number, and the server is asked
/// where that is.
struct Folders(Recent<NodeId, Option<String>>);

impl Folders {
    /// The path with a `/` at its end; empty for the user's own folder. Nothing where the folder is
    /// in the trash or gone.
    async fn path(
        &mut self,
        folder: Option<NodeId>,
        client: &mut Client,
    ) -> Result<Option<String>, Failure> {
        let Some(folder) = folder else { return Ok(Some(String::new())) };
        if let Some(known) = self.0.get(&folder) {
            return Ok(known.clone());
        }
        let path = match client.stat_node(folder).await {
            Ok(answer) if answer.path.is_empty() => None,
            Ok(answer) => Some(answer.path.join("/") + "/"),
            Err(failure) if failure.code() == Some(Code::NotFound) => None,
            Err(failure) => return Err(failure),
        };
        self.0.put(folder, path.clone());
        Ok(path)
    }
}

fn show(log: &Log, change: &Change, folder: Option<String>) {
    let node = &change.node;
    if !log.answer.json {
        return line(&described(change, folder.as_deref()));
    }
    json::event(
        "change",
        &Line {
            path: folder.map(|folder| folder + &node.name),
            change_id: change.change_id.get(),
            op: change.op,
            changed: &change.changed,
            at: change.at.map(|at| at.get()),
            node,
        },
    );
}

/// The cursor that lies that number of changes before.
fn before(cursor: &str, changes: u64) -> Option<String> {
    let (head, last) = cursor.rsplit_once('.')?;
    let last: u64 = last.parse().ok()?;
    Some(format!("{head}.{}", last.saturating_sub(changes)))
}

fn described(change: &Change, folder: Option<&str>) -> String {
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
    // The folder of a thing may have been removed after it.
    let place = format!("{}{}", folder.unwrap_or("…/"), node.name);
    format!("{when}  {what:14}  {size:>10}  {}", marked(&place, node))
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
