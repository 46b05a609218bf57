//! The server has no descriptors left: it accepts no new connection, the open connections continue,
//! and the log has one line per second about it.

use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use towline_protocol::request::Upload;
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, offset, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};

const UNDER: [&str; 4] = ["bash", "-c", "ulimit -n 64; exec \"$@\"", "bash"];

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_use_up_all_descriptors_end_no_server() {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let server = Launch::over(&site).under(&UNDER).start().await;
    let test_file = TestFile::new(2 * BLOCK, 970);
    let mut early = RawClient::login(server.address(), &user.token).await;
    early.upload(upload("early", &test_file)).await;
    early.chunks(ZERO, &test_file, 0..1000).await;
    early.progress_that("a promise", |p| p.durable == offset(1000)).await;

    let mut greedy = RawClient::login(server.address(), &user.token).await;
    let refused = (1..64).map(Channel);
    let mut granted = 0;
    for channel in refused {
        let begin = Upload { channel, ..upload(&format!("{}.bin", channel.0), &test_file) };
        greedy.send(&Request::Upload(begin)).await;
        match greedy.reply_on(channel).await {
            Reply::Upload(_) => granted += 1,
            Reply::Error(error) => {
                println!("after {granted} uploads: {} {}", error.code, error.message);
                assert_eq!(error.code, Code::Internal, "{error:?}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((1..63).contains(&granted), "the descriptors are used up at some time");

    // The refused upload may have given back a descriptor or two, for example that of a folder. The
    // first new connections use those; the others wait in the kernel's queue.
    let mut outside = Vec::new();
    for _ in 0..8 {
        outside.push(TcpStream::connect(server.address()).await.unwrap());
    }
    server.says("a connection could not be taken").await;
    let (before, began) = (server.said().len(), Instant::now());
    let mut sent = 1000;
    while began.elapsed() < Duration::from_secs(2) {
        early.chunks(ZERO, &test_file, sent..sent + 1000).await;
        sent += 1000;
        early.progress_that("a promise", |p| p.durable == offset(sent)).await;
    }
    let said = server.said().split_off(before);
    println!("{} bytes promised meanwhile, {} lines in the log", sent - 2000, said.len());
    // One line per second about new connections, one about the state file, and one more of each at
    // the beginning and the end.
    let most = 2 * (began.elapsed().as_secs() + 1);
    assert!(said.len() as u64 <= most, "{said:#?}");

    drop(greedy);
    drop(outside);
    let mut late = RawClient::login(server.address(), &user.token).await;
    late.ping().await;
    early.chunks(ZERO, &test_file, sent..test_file.size()).await;
    early.complete(ZERO).await;
    site.assert_published(&user, "early", &test_file);
    server.gone().await;
}
