//! A way to the server on which small packets arrive and large ones are dropped without a report.

use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use towline_client::{Client, Document, Event, PutOptions, Security, Timeouts, Token};
use towline_tests::netns_link::NetnsLink;
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_the_way_is_sent_in_small_packets() {
    let Some(link) = NetnsLink::make() else { return };
    let near = link.near.clone();
    let server =
        TestServer::start_on(move || near.listen(), |config| config.allow_plaintext = true).await;
    link.narrow(900);
    let test_file = TestFile::new(BLOCK / 2, 210);
    let path = server.site.outside().join("a.bin");
    std::fs::write(&path, &test_file.bytes).unwrap();

    let timeouts = Timeouts {
        ping_after: Duration::from_millis(300),
        ping_answer: Duration::from_millis(1500),
        ..Timeouts::default()
    };
    let address = server.address().to_string().parse().unwrap();
    let token = Token::new(&server.user.token).unwrap();
    let mut client = Client::new(address, token)
        .security(Security::Plaintext)
        .timeouts(timeouts)
        .retries(Some(10));
    let far = link.far.clone();
    let putting = spawn_blocking(move || {
        far.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let document = Document::in_folder(path, Vec::new()).unwrap();
            let (mut notices, mut waits) = (Vec::new(), Vec::new());
            let mut listener = |event| match event {
                Event::Notice { message, .. } => notices.push(message),
                Event::Waiting { reason, .. } => waits.push(reason),
                _ => {}
            };
            let (options, cancel) = (PutOptions::default(), CancellationToken::new());
            let put = client.put(&document, &options, &cancel, &mut listener);
            let receipt = runtime.block_on(put);
            Ok((receipt, notices, waits))
        })
    });
    let (receipt, notices, waits) = putting.await.unwrap().unwrap();
    assert_eq!(receipt.unwrap().blake3, test_file.hash());
    assert_eq!(waits.len(), 2, "the third attempt is another one: {waits:?}");
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("large packets"), "{notices:?}");
    server.site.assert_published(&server.user, "a.bin", &test_file);
}
