//! What a client tells of a file besides its bytes, where the server has these bytes in that place
//! already: nothing is sent, and what is there then is what the client has.

use crate::kit::{Server, file, hash_of, new_upload, soon, stored};
use std::time::Duration;
use towline_engine::{DeltaRequest, NewUpload, Since};
use towline_state::catalog::{Cursor, Node, NodeRef, NodeWish};
use towline_types::{ModifiedTime, NodePath, OnConflict, PermissionBits};

const LENGTH: usize = 1000;

type Told = (Option<i64>, Option<u32>);

/// The time in milliseconds, and the mode.
fn wish((mtime, mode): Told) -> NodeWish {
    let mtime = mtime.map(ModifiedTime::from_ms);
    let mode = mode.map(|mode| PermissionBits::try_from(mode).unwrap());
    NodeWish { mtime, mode, ..NodeWish::default() }
}

fn of(node: &Node) -> Told {
    (node.mtime.map(ModifiedTime::as_ms), node.mode.map(PermissionBits::bits))
}

/// Tells the server of a file that it has.
async fn tell(server: &Server, on_conflict: OnConflict, told: Told) -> Told {
    let hash = Some(hash_of(&file(LENGTH, 1)));
    let new = NewUpload { hash, on_conflict, wish: wish(told), ..new_upload("a/doc", LENGTH) };
    let begun = soon(server.account().begin(new)).await.unwrap();
    assert!(stored(begun).existing);
    let at = NodeRef::Path(NodePath::typed("a/doc").unwrap());
    of(&soon(server.account().stat(at)).await.unwrap().node)
}

fn since(cursor: Cursor, wait: Duration) -> DeltaRequest {
    DeltaRequest { since: Since::Cursor(cursor), limit: 100, wait }
}

async fn now(server: &Server) -> Cursor {
    let request = DeltaRequest { since: Since::Now, limit: 1, wait: Duration::ZERO };
    soon(server.account().delta(request)).await.unwrap().next
}

/// How many changes there were since then.
async fn count(server: &Server, cursor: Cursor) -> usize {
    let delta = soon(server.account().delta(since(cursor, Duration::ZERO))).await.unwrap();
    delta.changes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_set_and_what_is_not_told_stays() {
    for on_conflict in [OnConflict::Rename, OnConflict::Replace] {
        let server = Server::new().await;
        server.put("a/doc", &file(LENGTH, 1)).await;
        for (told, expected) in [
            ((None, None), (None, None)),
            ((Some(-1000), None), (Some(-1000), None)),
            ((None, Some(0o600)), (Some(-1000), Some(0o600))),
            // One of the two is as it was.
            ((Some(2000), Some(0o600)), (Some(2000), Some(0o600))),
            ((Some(2000), Some(0o640)), (Some(2000), Some(0o640))),
            ((Some(3000), None), (Some(3000), Some(0o640))),
            ((None, Some(0o644)), (Some(3000), Some(0o644))),
            ((Some(4000), Some(0o666)), (Some(4000), Some(0o666))),
        ] {
            let before = now(&server).await;
            assert_eq!(tell(&server, on_conflict, told).await, expected, "{told:?}");
            let changes = usize::from(told != (None, None));
            assert_eq!(count(&server, before).await, changes, "{told:?}");
            // Told once more, nothing is different.
            assert_eq!(tell(&server, on_conflict, told).await, expected, "{told:?}");
            assert_eq!(count(&server, before).await, changes, "{told:?}");
        }
    }
}

/// A client that does not want what is there to change has asked for that.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_for_a_client_that_wants_what_is_there_to_stay() {
    let server = Server::new().await;
    server.put("a/doc", &file(LENGTH, 1)).await;
    let first = (Some(1000), Some(0o600));
    tell(&server, OnConflict::Rename, first).await;
    let before = now(&server).await;
    for on_conflict in [OnConflict::Reject, OnConflict::Skip] {
        assert_eq!(tell(&server, on_conflict, (Some(2000), Some(0o644))).await, first);
    }
    assert_eq!(count(&server, before).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_change_hears_of_it() {
    let server = Server::new().await;
    server.put("a/doc", &file(LENGTH, 1)).await;
    let before = now(&server).await;
    let account = server.account();
    let request = since(before, Duration::from_secs(50));
    let waiting = tokio::spawn(async move { account.delta(request).await });
    tell(&server, OnConflict::Rename, (Some(1000), None)).await;
    let delta = soon(waiting).await.unwrap().unwrap();
    assert_eq!(delta.changes.len(), 1);
    assert_eq!(of(&delta.changes[0].node), (Some(1000), None));
}
