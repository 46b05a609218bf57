//! After a disaster: the trees of all users. What `list` shows, what the log of changes leads to
//! and what lies on the disk have to be one, nothing that was shown may be gone, and nothing may
//! have changed that nobody has asked for.

use super::crash_client::{Connections, CrashClient, Gone};
use super::data_dirs::DataDirs;
use super::ledger::Ledger;
use super::tree_ledger::paths;
use super::tree_worker::{all_below, read_back};
use crate::PATIENCE;
use crate::site::TestUser;
use crate::tree_audit::{before_the_first, compare, has_bytes_of};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use towline_protocol::reply::Change;
use towline_protocol::request::Delta;
use towline_protocol::{Node, Reply, Request};

/// The number of documents that are read back after each disaster.
const READ_BACK: usize = 3;

/// Checks the trees of all users.
pub(super) async fn check(
    data_dirs: &DataDirs,
    ledger: &Ledger,
    address: SocketAddr,
    chance: &mut fastrand::Rng,
) -> Result<(), Gone> {
    for user in &data_dirs.users {
        let changes = one_tree(data_dirs, ledger, address, user, has_length_of).await?;
        noted(ledger, user, ledger.trees().log_goes_on(user.id, &changes));
    }
    for user in &data_dirs.tree_users {
        let changes = one_tree(data_dirs, ledger, address, user, has_bytes_of).await?;
        noted(ledger, user, ledger.trees().log_is(user.id, &changes));
        let connections = Connections::default();
        let mut client = CrashClient::open(address, user, ledger, &connections).await?;
        for _ in 0..READ_BACK {
            if let Some(document) = ledger.trees().any_document(user.id, chance) {
                read_back(&mut client, user, ledger, document).await?;
            }
        }
    }
    Ok(())
}

fn noted(ledger: &Ledger, user: &TestUser, found: Result<(), String>) {
    if let Err(wrong) = found {
        ledger.breach(format!("the tree of {}: {wrong}", user.name));
    }
}

/// Compares the three views of a tree, and returns its log. What a client that was killed has asked
/// for may still be done meanwhile: the views have to be one in the end.
async fn one_tree(
    data_dirs: &DataDirs,
    ledger: &Ledger,
    address: SocketAddr,
    user: &TestUser,
    is_it: impl Fn(&Path, &Node) -> bool + Copy,
) -> Result<Vec<Change>, Gone> {
    let began = Instant::now();
    let connections = Connections::default();
    let mut client = CrashClient::open(address, user, ledger, &connections).await?;
    loop {
        let listed = paths(all_below(&mut client).await?);
        let changes = all_changes(&mut client).await?;
        match compare(&listed, &changes, &data_dirs.site().documents(user), is_it) {
            Err(difference) if began.elapsed() > PATIENCE => {
                ledger.breach(format!("the tree of {} is not one: {difference}", user.name));
                return Ok(changes);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Ok(()) => return Ok(changes),
        }
    }
}

async fn all_changes(client: &mut CrashClient) -> Result<Vec<Change>, Gone> {
    let (mut all, mut since) = (Vec::new(), "latest".to_owned());
    loop {
        let channel = client.channel();
        let (cursor, limit) = (Some(since.clone()), Some(1000));
        let delta = Delta { channel, since: cursor, limit, wait_ms: None };
        client.ask(&Request::Delta(delta)).await?;
        let (next, more) = loop {
            match client.reply_on(channel).await? {
                Reply::Delta(delta) => {
                    all.extend(delta.items);
                    if delta.end {
                        break (delta.cursor.expect("the last frame has it"), delta.more);
                    }
                }
                other => panic!("a delta is answered by {other:?}"),
            }
        };
        if since == "latest" {
            since = before_the_first(&next);
        } else if more {
            since = next;
        } else {
            return Ok(all);
        }
    }
}

/// The bytes of these files are compared elsewhere.
fn has_length_of(path: &Path, node: &Node) -> bool {
    path.metadata().ok().map(|about| about.len()) == node.size.map(|size| size.get())
}
