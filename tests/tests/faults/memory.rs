//! A thousand connections send as many bytes as the server accepts, and the disk accepts none: the
//! memory of all connections together has a limit by design.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use towline_tests::process::Launch;
use towline_tests::raw_client::{RawClient, ZERO, chunk_frame, upload};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile};
use towline_tests::volume::skipped;

const CONNECTIONS: usize = 1000;

/// The number of descriptors that a process of this test needs at most. The test itself needs one for
/// each connection. The server uses at most half of its descriptors for connections, and also needs
/// one for each upload, and some for itself.
const DESCRIPTORS: u64 = 2 * CONNECTIONS as u64 + 500;

/// The limit for the payload of all connections together: `Limits::buffers`, each of 1 MiB.
const PAYLOAD_KIB: u64 = 96 << 10;
/// The limit for each connection with an upload in addition: its decoder, its lane, its rules.
const CONNECTION_KIB: u64 = 64;
/// The limit for the program, its threads and its catalog.
const PROGRAM_KIB: u64 = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_whatever_a_thousand_connections_send() {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < DESCRIPTORS) {
        skipped(&format!("needs {DESCRIPTORS} descriptors, and {:?} are allowed", limit.maximum));
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit can be raised to the hard one");
    let site = Site::in_memory();
    let user = site.add_user("ada").await;
    let launch = Launch::over(&site).failpoints("write.written=wait:600000");
    let settings = site.settings(&format!("max_logins_per_address = {CONNECTIONS}"));
    let server = launch.settings(&settings).start().await;
    let before = server.memory_kib();
    let test_file = Arc::new(TestFile::new(BLOCK, 980));
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (address, token, test_file) =
            (server.address(), user.token.clone(), Arc::clone(&test_file));
        tasks.spawn(async move {
            let mut client = RawClient::login(address, &token).await;
            client.upload(upload(&format!("{number}.bin"), &test_file)).await;
            client
        });
    }
    let clients = tasks.join_all().await;
    let begun = server.memory_kib();
    // One block for each connection: so the bytes that the kernel keeps for it have a limit, too.
    let frame: Arc<[u8]> = chunk_frame(ZERO, 0, &test_file.bytes).into();
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let frame = Arc::clone(&frame);
        tasks.spawn(async move {
            let _ = timeout(Duration::from_secs(2), client.try_send_raw(&frame)).await;
            client
        });
    }
    let clients = tasks.join_all().await;
    let after = server.memory_kib();
    println!(
        "{CONNECTIONS} connections: {before} KiB at first, {begun} KiB with an upload each, \
         {after} KiB with all that they could send"
    );
    assert!(after > begun + (4 << 10), "hardly anything was taken");
    let cap = PAYLOAD_KIB + CONNECTIONS as u64 * CONNECTION_KIB + PROGRAM_KIB;
    assert!(after <= cap, "{after} KiB, and {cap} KiB are the most");
    drop(clients);
    server.gone().await;
}
