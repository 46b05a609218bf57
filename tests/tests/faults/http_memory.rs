//! A thousand requests that send as many bytes as the server accepts while the disk accepts none, and
//! a thousand that ask for a document and read nothing: the memory of all of them has a limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use towline_tests::PATIENCE;
use towline_tests::http_client::HttpClient;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::site::{Site, TestUser};
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::skipped;

const REQUESTS: usize = 1000;

/// The descriptors that a process of these tests needs at most: see `memory`.
const DESCRIPTORS: u64 = 3 * REQUESTS as u64 + 500;

/// The limit for the bytes of all requests together: `Limits::buffers`, each of 1 MiB.
const PAYLOAD_KIB: u64 = 96 << 10;
/// The limit for each connection in addition: what hyper keeps of it (128 KiB) and its upload.
const CONNECTION_KIB: u64 = 128 + 64;
/// The limit for the program, its threads and its catalog.
const PROGRAM_KIB: u64 = 64 << 10;

/// The most memory that the server may take for that number of connections, in KiB.
const CAP_KIB: u64 = PAYLOAD_KIB + REQUESTS as u64 * CONNECTION_KIB + PROGRAM_KIB;

/// Whether this machine lets the test have its connections.
fn has_descriptors() -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < DESCRIPTORS) {
        skipped(&format!("needs {DESCRIPTORS} descriptors, and {:?} are allowed", limit.maximum));
        return false;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit can be raised to the hard one");
    true
}

/// A server, and a user who may have that number of connections.
async fn server(failpoints: &str) -> (Site, TestUser, ServerProcess) {
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let settings = site.settings(&format!("max_logins_per_address = {REQUESTS}"));
    let launch = Launch::over(&site).settings(&settings);
    let launch = if failpoints.is_empty() { launch } else { launch.failpoints(failpoints) };
    let server = launch.start().await;
    (site, user, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_whatever_a_thousand_requests_send() {
    if !has_descriptors() {
        return;
    }
    let (_site, user, server) = server("write.written=wait:600000").await;
    let before = server.memory_kib();
    let client = HttpClient::new(server.address(), &user.token);
    let mut uploads = Vec::new();
    for number in 0..REQUESTS {
        uploads.push(client.begin(&format!("{number}.bin"), BLOCK).await);
    }
    let begun = server.memory_kib();
    let mut sending = JoinSet::new();
    for upload in uploads {
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Range: {}\r\n\
             Content-Length: {BLOCK}\r\n\r\n",
            upload.path,
            user.token,
            upload.content_range(0, BLOCK)
        );
        let address = server.address();
        sending.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            stream.write_all(head.as_bytes()).await.expect("a head is taken");
            let bytes = vec![7; BLOCK];
            let _ = timeout(Duration::from_secs(2), stream.write_all(&bytes)).await;
            stream
        });
    }
    let streams = sending.join_all().await;
    let after = server.memory_kib();
    println!(
        "{before} KiB at first, {begun} KiB with uploads, {after} KiB with all that was taken"
    );
    assert!(after > begun + (4 << 10), "hardly anything was taken");
    assert!(after <= CAP_KIB, "{after} KiB, and {CAP_KIB} KiB are the most");
    drop(streams);
    server.assert_calm();
    server.gone().await;
}

/// What a client has not read yet is in buffers of the pool for readers, and in the kernel.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_whatever_a_thousand_requests_do_not_read() {
    if !has_descriptors() {
        return;
    }
    let (_site, user, server) = server("").await;
    let client = HttpClient::new(server.address(), &user.token);
    let test_file = TestFile::new(24 * BLOCK, 981);
    let upload = client.begin("large.bin", test_file.size()).await;
    client.patch(&upload, 0, &test_file.bytes).await.is(204);
    let before = server.memory_kib();
    let head = format!(
        "GET /documents/{}/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        upload.id, user.token
    );
    let mut asking = JoinSet::new();
    for _ in 0..REQUESTS {
        let (address, head) = (server.address(), head.clone());
        asking.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            stream.write_all(head.as_bytes()).await.expect("a head is taken");
            stream
        });
    }
    let mut streams = asking.join_all().await;
    // A few of them hear something: those that have the readers' room.
    let mut word = [0; 12];
    let first = timeout(PATIENCE, streams[0].read_exact(&mut word)).await.expect("an answer");
    first.expect("an answer");
    assert_eq!(&word, b"HTTP/1.1 200");
    // The others are known to the server when it answers one that came after them.
    timeout(PATIENCE, async { client.get("/documents").await.is(200) }).await.expect("an answer");
    let after = server.memory_kib();
    println!("{before} KiB at first, {after} KiB with {REQUESTS} that read nothing");
    assert!(after <= CAP_KIB, "{after} KiB, and {CAP_KIB} KiB are the most");
    drop(streams);
    server.assert_calm();
    server.gone().await;
}
