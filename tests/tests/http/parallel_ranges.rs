//! Ranges of one upload that come in any order and several at a time.

use super::kit::{CHUNK, server};
use std::sync::Arc;
use tokio::task::JoinSet;
use towline_tests::test_file::{TestFile, chance};

#[tokio::test(flavor = "multi_thread")]
async fn eight_workers_out_of_order_make_the_file() {
    let (server, client) = server().await;
    let file = Arc::new(TestFile::new(11 * CHUNK + 4321, 30));
    let upload = client.begin("a.bin", file.size()).await;
    let mut starts: Vec<usize> = (0..file.size()).step_by(CHUNK).collect();
    chance().shuffle(&mut starts);
    let mut workers = JoinSet::new();
    for list in starts.chunks(starts.len().div_ceil(8)) {
        let (client, upload, file, list) =
            (client.clone(), upload.clone(), Arc::clone(&file), list.to_vec());
        workers.spawn(async move {
            let mut documents = 0;
            for start in list {
                let end = (start + CHUNK).min(file.size());
                let answer = client.patch(&upload, start, &file.bytes[start..end]).await.is(204);
                documents += usize::from(answer.header("towline-document").is_some());
            }
            documents
        });
    }
    let documents: usize = workers.join_all().await.into_iter().sum();
    assert!(documents >= 1, "the last range ends the upload");
    server.site.assert_published(&server.user, "a.bin", &file);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_overlap_are_refused() {
    let (server, client) = server().await;
    let file = TestFile::new(3 * CHUNK, 31);
    let upload = client.begin("a.bin", file.size()).await;
    client.patch(&upload, CHUNK, &file.bytes[CHUNK..2 * CHUNK]).await.is(204);
    let ranges = async || client.get(&upload.path).await.json()["receivedRanges"].clone();
    let held = serde_json::json!([[CHUNK, 2 * CHUNK - 1]]);
    assert_eq!(ranges().await, held);
    // The middle is here already, so is a part of the first two, and a part of the last two.
    for (start, end) in [(CHUNK, CHUNK + 10), (CHUNK, 2 * CHUNK)] {
        let answer = client.patch(&upload, start, &file.bytes[start..end]).await.is(409);
        assert_eq!(
            (answer.problem().as_str(), answer.upload_offset()),
            ("offset_mismatch", Some(0))
        );
    }
    assert_eq!(ranges().await, held);
    client.patch(&upload, 2 * CHUNK, &file.bytes[2 * CHUNK..]).await.is(204);
    client.patch(&upload, 0, &file.bytes[..CHUNK]).await.is(204);
    server.site.assert_published(&server.user, "a.bin", &file);
}

/// What came out of order and was told with a 2xx is there after a crash.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_far_behind_survives_a_crash() {
    use towline_tests::http_client::HttpClient;
    use towline_tests::process::ServerProcess;
    use towline_tests::site::Site;
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let file = TestFile::new(3 * CHUNK, 32);
    let client = HttpClient::new(server.address(), &user.token);
    let upload = client.begin("kept.bin", file.size()).await;
    client.patch(&upload, 2 * CHUNK, &file.bytes[2 * CHUNK..]).await.is(204);
    server.kill_and_start_again().await;
    let client = HttpClient::new(server.address(), &user.token);
    let ranges = client.get(&upload.path).await.json()["receivedRanges"].clone();
    assert_eq!(ranges, serde_json::json!([[2 * CHUNK, 3 * CHUNK - 1]]));
    client.patch(&upload, 0, &file.bytes[..2 * CHUNK]).await.is(204);
    site.assert_published(&user, "kept.bin", &file);
}

/// A worker whose request was cut off goes on where it stopped, though bytes before its range are
/// missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_was_cut_off_goes_on_where_it_stopped() {
    let (server, client) = server().await;
    let file = TestFile::new(2 * CHUNK, 33);
    let upload = client.begin("a.bin", file.size()).await;
    let cut = CHUNK + 1_700_000;
    client.patch_cut(&upload, CHUNK, CHUNK, &file.bytes[CHUNK..cut], "").await;
    let shown = client.get(&upload.path).await.json();
    assert_eq!(shown["receivedRanges"], serde_json::json!([[CHUNK, cut - 1]]));
    client.patch(&upload, CHUNK, &file.bytes[CHUNK..]).await.is(409);
    client.patch(&upload, cut + 1, &file.bytes[cut + 1..]).await.is(409);
    client.patch(&upload, cut, &file.bytes[cut..]).await.is(204);
    client.patch(&upload, 0, &file.bytes[..CHUNK]).await.is(204);
    server.site.assert_published(&server.user, "a.bin", &file);
}
