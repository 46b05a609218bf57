//! A server that accepts connections and sends nothing, or nothing more.

use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use towline_client::{Client, Document, Event, Exit, PutOptions, Timeouts, Token};
use towline_tests::cli_fixture::CliFixture;
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

const PING_AFTER: Duration = Duration::from_millis(300);
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);

/// A client with short time limits, connected through that proxy.
fn impatient(server: &TestServer, proxy: &FaultProxy) -> Client {
    let timeouts = Timeouts {
        ping_after: PING_AFTER,
        ping_answer: ANSWER_WITHIN,
        closing: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let address = proxy.address().to_string().parse().unwrap();
    Client::new(address, Token::new(&server.user.token).unwrap())
        .retries(Some(2))
        .timeouts(timeouts)
}

/// Uploads a file. Returns how it ended, and how long that took.
async fn put(
    server: &TestServer,
    client: &mut Client,
    test_file: &TestFile,
) -> (Result<towline_client::Receipt, towline_client::Failure>, Duration) {
    let path = server.site.outside().join("a.bin");
    std::fs::write(&path, &test_file.bytes).unwrap();
    let document = Document::in_folder(path, Vec::new()).unwrap();
    let began = Instant::now();
    let cancel = CancellationToken::new();
    let outcome = client.put(&document, &PutOptions::default(), &cancel, &mut |_| {}).await;
    (outcome, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_mute_from_the_first_byte_is_given_up() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { drop_replies: true, ..Faults::none() });
    let mut client = impatient(&server, &proxy);
    let (outcome, took) = put(&server, &mut client, &TestFile::new(1000, 150)).await;
    let failure = outcome.unwrap_err();
    println!("{failure}, after {took:?}");
    assert_eq!(failure.exit(), Exit::Resumable);
    assert!(failure.to_string().contains(&proxy.address().to_string()), "{failure}");
    assert!(failure.to_string().contains("does not answer"), "{failure}");
    assert_eq!(proxy.connections(), 3, "once, and two retries");
    assert!(took < (ANSWER_WITHIN + Duration::from_secs(1)) * 3, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_mute_in_an_upload_is_given_up() {
    let server = TestServer::start().await;
    let test_file = TestFile::new(4 * BLOCK, 151);
    // The client's system receives the bytes in place of the server, and the server never gets
    // them.
    for faults in [
        Faults { drop_requests: true, ..Faults::none() },
        Faults { drop_replies: true, drop_requests: true, ..Faults::none() },
    ] {
        let proxy = FaultProxy::start(server.address(), []).await;
        proxy.otherwise(Faults::slow(1_000_000));
        let mut client = impatient(&server, &proxy);
        let path = server.site.outside().join("b.bin");
        std::fs::write(&path, &test_file.bytes).unwrap();
        let document = Document::in_folder(path, Vec::new()).unwrap();
        let link = async {
            let link = proxy.link(0).await;
            link.has_passed(BLOCK as u64).await;
            proxy.otherwise(faults.clone());
            link.change(|now| *now = faults.clone());
            Instant::now()
        };
        let cancel = CancellationToken::new();
        let mut waited = 0;
        let mut listener = |event| waited += u32::from(matches!(event, Event::Waiting { .. }));
        let options = PutOptions::default();
        let putting = client.put(&document, &options, &cancel, &mut listener);
        let (outcome, muted) = tokio::join!(putting, link);
        let (failure, took) = (outcome.unwrap_err(), muted.elapsed());
        println!("{failure}, after {took:?}");
        assert_eq!(failure.exit(), Exit::Resumable);
        assert!(failure.kept().is_some(), "it says what is safe: {failure}");
        assert!(took < (PING_AFTER + ANSWER_WITHIN + Duration::from_secs(1)) * 4, "{took:?}");
        assert!(waited >= 1);
    }
    // A server that answers again still has the bytes that it had.
    let proxy = FaultProxy::start(server.address(), []).await;
    let mut client = impatient(&server, &proxy);
    let path = server.site.outside().join("b.bin");
    let document = Document::in_folder(path, Vec::new()).unwrap();
    let cancel = CancellationToken::new();
    let options = PutOptions::default();
    let receipt = client.put(&document, &options, &cancel, &mut |_| {}).await.unwrap();
    assert_eq!(receipt.blake3, test_file.hash());
    assert!(receipt.sent_bytes < test_file.size() as u64, "{}", receipt.sent_bytes);
    server.site.assert_published(&server.user, "b.bin", &test_file);
}

/// The command line with its default time limit of 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_mute_server_is_given_up_by_the_command_line() {
    if !towline_tests::is_long() {
        return;
    }
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { drop_replies: true, ..Faults::none() });
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let mut put = cli.put(&cli.write("a.bin", &TestFile::new(1000, 152)));
    put.args(["--retries", "0"]);
    let began = Instant::now();
    let output = tokio::time::timeout(Duration::from_secs(60), put.output()).await;
    let output = output.expect("it gives up").unwrap();
    println!("gave up after {:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("does not answer"), "{said}");
}
