//! Measures how long a server takes to start over many unfinished uploads after `kill -9`, and how
//! much memory it needs:
//!
//! ```sh
//! cargo run --release -p towline-tests --bin restart -- 10000
//! ```
//!
//! Each row is measured over a data folder of its own: a number of uploads, and a number of
//! received bytes for each, half of them beyond the last durable offset. The cost should grow with
//! the number of uploads and not with the number of bytes.

use std::time::Instant;
use towline_protocol::request::Upload;
use towline_protocol::{Channel, Reply, Request};
use towline_tests::process::ServerProcess;
use towline_tests::raw_client::{RawClient, position, upload};
use towline_tests::site::Site;
use towline_tests::test_file::TestFile;

/// The number of uploads that are begun together on one connection.
const TOGETHER: usize = 500;
/// The number of uploads of each user, who may have at most 10,000.
const OF_ONE_USER: usize = 9_000;

#[tokio::main]
async fn main() {
    let most: usize =
        std::env::args().nth(1).map_or(10_000, |text| text.parse().expect("a number"));
    println!("| uploads | received of each | start | peak memory |\n| ---: | ---: | ---: | ---: |");
    for (uploads, bytes) in
        [(0, 0), (most / 10, 4096), (most / 10, 1 << 20), (most / 2, 4096), (most, 4096)]
    {
        measure(uploads, bytes).await;
    }
}

async fn measure(uploads: usize, bytes: usize) {
    let site = Site::new();
    let mut server = ServerProcess::start(&site).await;
    let test_file = TestFile::of_seed(2 * bytes, 1);
    let mut made = 0;
    while made < uploads {
        let user = site.add_user(&format!("user{made}")).await;
        let end = uploads.min(made + OF_ONE_USER);
        while made < end {
            let count = TOGETHER.min(end - made);
            let mut client = RawClient::login(server.address(), &user.token).await;
            begin(&mut client, &test_file, made..made + count, bytes).await;
            made += count;
        }
    }
    server.kill().await;
    let began = Instant::now();
    server.start_again().await;
    let took = began.elapsed();
    let peak = server.memory_kib() as f64 / 1024.0;
    println!("| {uploads} | {bytes} B | {:.0} ms | {peak:.1} MiB |", took.as_secs_f64() * 1000.0);
    server.gone().await;
}

/// When this returns, half of the bytes are durable, and the other half is received.
async fn begin(
    client: &mut RawClient,
    test_file: &TestFile,
    numbers: std::ops::Range<usize>,
    bytes: usize,
) {
    let channel = |number| Channel(u32::try_from(number).expect("a channel"));
    let mut ids = Vec::new();
    for number in numbers.clone() {
        let name = format!("{number}.bin");
        let request = Upload { channel: channel(number), ..upload(&name, test_file) };
        client.send(&Request::Upload(request)).await;
        client.chunks(channel(number), test_file, 0..bytes / 2).await;
    }
    while ids.len() < numbers.len() {
        match client.reply().await {
            Reply::Upload(granted) => ids.push(granted.document_id),
            other => panic!("an upload is answered by {other:?}"),
        }
    }
    for id in &ids {
        while position(client.status(*id).await.durable) < bytes / 2 {}
    }
    for number in numbers {
        client.chunks(channel(number), test_file, bytes / 2..bytes).await;
    }
    for id in ids {
        client.has_received(id, bytes).await;
    }
}
