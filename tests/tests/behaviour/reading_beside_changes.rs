//! Documents are read while they are replaced, moved, removed and restored: what a reader asks for
//! is given out whole, and no change counts as damage of the disk.

use towline_protocol::Code;
use towline_protocol::request::{Move, Read, Remove, Request, Restore, Upload};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::{RawClient, ZERO, names, read_of, upload};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::TestFile;
use towline_types::{DocumentId, OnConflict};

/// How long the server waits at a point: long enough for many reads.
const WAIT: &str = "wait:1500";

async fn put(client: &mut RawClient, path: &str, test_file: &TestFile) -> DocumentId {
    let (folder, filename) = path.rsplit_once('/').unwrap_or(("", path));
    let on_conflict = OnConflict::Replace;
    let begin = Upload { folder: names(folder), on_conflict, ..upload(filename, test_file) };
    client.upload(begin).await;
    client.chunks(ZERO, test_file, 0..test_file.size()).await;
    client.complete(ZERO).await.document_id
}

fn at(path: &str) -> Read {
    Read { path: Some(names(path)), ..Read::default() }
}

/// A server that waits at that point, each time.
async fn server_that_waits(point: &str) -> (Site, TestUser, ServerProcess) {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let plan = format!("{point}={WAIT}");
    let server = Launch::over(&site).failpoints(&plan).start().await;
    (site, user, server)
}

/// The server has changed the disk, and waits before it records that.
async fn waits(server: &ServerProcess) {
    server.says("a failpoint waits").await;
}

fn assert_no_damage(server: &ServerProcess) {
    let said = server.said();
    assert!(!said.iter().any(|line| line.contains("damaged")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_read_while_it_is_replaced() {
    for point in ["replace.kept_synced", "replace.renamed", "publish.in_place"] {
        let (_site, user, server) = server_that_waits(point).await;
        let mut client = server.client(&user).await;
        let (first, second) = (TestFile::new(50_000, 1), TestFile::new(50_000, 2));
        let document_id = put(&mut client, "doc", &first).await;
        let mut reader = server.client(&user).await;
        let replaced = tokio::spawn(async move { put(&mut client, "doc", &second).await });
        waits(&server).await;
        while !replaced.is_finished() {
            assert!(reader.read(read_of(document_id)).await.unwrap().bytes == first.bytes);
            let current = reader.read(at("doc")).await.unwrap();
            let is_first = current.begin.document_id == document_id;
            assert_eq!(is_first, current.bytes == first.bytes, "{point}");
        }
        let replacing = replaced.await.unwrap();
        assert_eq!(reader.read(at("doc")).await.unwrap().begin.document_id, replacing);
        assert!(reader.read(read_of(document_id)).await.unwrap().bytes == first.bytes);
        assert_no_damage(&server);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_while_it_is_moved_removed_and_restored() {
    let point = "move.renamed";
    let (_site, user, server) = server_that_waits(point).await;
    let test_file = TestFile::new(50_000, 3);
    let mut client = server.client(&user).await;
    let document_id = put(&mut client, "proj/doc", &test_file).await;
    let folder = client.stat("proj").await.node.node_id;
    let path = |path: &str| Some(names(path));
    for request in [
        Request::Move(Move { path: path("proj/doc"), to: names("proj/new"), ..Move::default() }),
        Request::Move(Move { path: path("proj"), to: names("work"), ..Move::default() }),
        Request::Remove(Remove { path: path("work"), recursive: true, ..Remove::default() }),
        Request::Restore(Restore { node_id: Some(folder), ..Restore::default() }),
    ] {
        let mut changer = server.client(&user).await;
        changer.send(&request).await;
        let changed = tokio::spawn(async move { changer.reply().await });
        while !changed.is_finished() {
            assert!(client.read(read_of(document_id)).await.unwrap().bytes == test_file.bytes);
            // Where it is asked for by a place, it is there or not.
            match client.read(at("work/new")).await {
                Ok(received) => assert!(received.bytes == test_file.bytes),
                Err(error) => assert_eq!(error.code, Code::NotFound, "{error:?}"),
            }
        }
        println!("{:?}", changed.await.unwrap());
        assert!(client.read(read_of(document_id)).await.unwrap().bytes == test_file.bytes);
    }
    assert_no_damage(&server);
}
