//! Documents that have their names and are made durable later, by the server itself.

use crate::kit::{
    Call, Extensions, Moment, Scripted, Server, ada, edit_catalog, file, new_upload, soon,
    without_timed_checkpoints,
};
use std::sync::Arc;
use tokio::time::Instant;
use towline_engine::{Durability, Phase};
use towline_types::DocumentId;

const DEFERRED: Extensions = Extensions { deferred: true, renames: true, ..Extensions::NONE };

async fn relaxed() -> Server {
    Server::over(Scripted::new(64 << 20, DEFERRED), |config| {
        without_timed_checkpoints(config);
        config.durability = Durability::Relaxed;
    })
    .await
}

async fn put(server: &Server, place: &str) -> DocumentId {
    let receipt = server.put_whole(new_upload(place, 1000), &file(1000, 1)).await.unwrap().receipt;
    assert!(!receipt.is_durable());
    receipt.document_id()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_durable_is_not_synced_again() {
    let server = relaxed().await;
    for place in ["first", "second"] {
        let id = put(&server, place).await;
        server.comes_to(id, Phase::Completed).await;
    }
    server.storage.take_calls();
    let (_, storage) = server.stop().await;
    assert_eq!(storage.count(Call::SyncAll), 0);
    let left = storage.after_power_cut_with_names_lost();
    for place in ["first", "second"] {
        assert_eq!(left.bytes(ada(), place).unwrap(), file(1000, 1));
    }
}

/// A catalog that refuses for a while is asked again: else the next start would have to read the
/// files.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_recorded_is_recorded_later() {
    let server = relaxed().await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE OF status ON documents \
                  WHEN NEW.status = 'completed' BEGIN SELECT RAISE(ABORT, 'for this test'); END";
    edit_catalog(server.folder.path(), refuse);
    let first = server.storage.when(Moment::After, Call::SyncAll, 1);
    let folder = Arc::clone(&server.folder);
    let again = Instant::now();
    server.storage.on(Moment::Before, Call::SyncAll, 2, move || {
        edit_catalog(folder.path(), "DROP TRIGGER refuse");
        Ok(())
    });
    let ids = [put(&server, "first").await, put(&server, "second").await];
    soon(first).await.unwrap();
    for id in ids {
        server.comes_to(id, Phase::Completed).await;
    }
    assert!(again.elapsed().as_secs() >= 5, "not at once: it may be refused for days");
    assert!(server.storage.count(Call::SyncAll) >= 2);
    for id in ids {
        assert_eq!(server.read(id).await, file(1000, 1));
    }
}
