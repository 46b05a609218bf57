//! A peer that is gone without the end of its connection: the link is down.

use std::sync::Arc;
use std::time::{Duration, Instant};
use towline_protocol::Code;
use towline_protocol::Reply;
use towline_tests::netns_link::NetnsLink;
use towline_tests::raw_client::{RawClient, ZERO, position, resume, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// The idle limit of the servers in these tests.
const SILENCE: Duration = Duration::from_secs(2);

/// A server behind the link with room for that many connections.
async fn behind(link: &Arc<NetnsLink>, connections: usize, silence: Duration) -> TestServer {
    let near = link.near.clone();
    TestServer::start_on(
        move || near.listen(),
        move |config| {
            config.places.all = connections;
            config.allow_plaintext = true;
            config.timings.silence = silence;
        },
    )
    .await
}

/// A connection from the server's own machine, which the link cannot disturb.
async fn nearby(link: &NetnsLink, server: &TestServer) -> Result<RawClient, Code> {
    let stream = link.near.connect(server.address()).await.unwrap();
    let mut client = RawClient::over(stream);
    client.hello(&server.user.token).await;
    match client.reply().await {
        Reply::Welcome(_) => Ok(client),
        Reply::Error(error) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

async fn far_away(link: &NetnsLink, server: &TestServer) -> RawClient {
    let stream = link.far.connect(server.address()).await.unwrap();
    RawClient::over(stream).welcomed(&server.user.token).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upload_of_a_half_open_connection_is_taken_over_at_once() {
    let Some(link) = NetnsLink::make().map(Arc::new) else { return };
    let server = behind(&link, 100, Duration::from_secs(300)).await;
    let test_file = TestFile::new(2 * BLOCK, 120);
    for unplugged in [false, true] {
        let name = format!("{unplugged}.bin");
        let mut older = far_away(&link, &server).await;
        let document_id = older.upload(upload(&name, &test_file)).await.document_id;
        older.chunks(ZERO, &test_file, 0..300_000).await;
        older.has_received(document_id, 300_000).await;
        if unplugged {
            link.unplug()
        } else {
            link.pull()
        }
        // The older client continues to send, and no byte arrives.
        older.chunks(ZERO, &test_file, 300_000..400_000).await;

        let mut newer = nearby(&link, &server).await.unwrap();
        let asked = Instant::now();
        let granted = newer.resume(resume(document_id)).await;
        let taken = asked.elapsed();
        println!("taken over from a half-open peer in {:.1} ms", taken.as_secs_f64() * 1e3);
        assert_eq!(position(granted.offset), 300_000);
        assert!(taken < Duration::from_secs(2), "nobody waits for the dead: {taken:?}");
        newer.chunks(ZERO, &test_file, 300_000..test_file.size()).await;
        assert_eq!(newer.complete(ZERO).await.blake3, test_file.hash());
        server.site.assert_published(&server.user, &name, &test_file);
        // The link is back: the bytes of the older client arrive now, and are dropped.
        link.mend();
        older.error(Code::Superseded).await;
        older.ping().await;
        server.site.assert_published(&server.user, &name, &test_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_counts_until_the_idle_limit_and_no_longer() {
    let Some(link) = NetnsLink::make().map(Arc::new) else { return };
    let server = behind(&link, 1, SILENCE).await;
    let test_file = TestFile::new(BLOCK, 121);
    let mut older = far_away(&link, &server).await;
    let document_id = older.upload(upload("a.bin", &test_file)).await.document_id;
    older.chunks(ZERO, &test_file, 0..300_000).await;
    older.has_received(document_id, 300_000).await;
    let last_word = Instant::now();
    link.pull();
    // The only place is taken.
    assert_eq!(nearby(&link, &server).await.err(), Some(Code::TooMany));
    let (mut newer, turned_away) = place(&link, &server).await;
    let freed = last_word.elapsed();
    println!("the place was free after {freed:?}; {turned_away} were turned away before");
    // The server's last message takes two more seconds where the peer does not read.
    assert!(freed < SILENCE + Duration::from_secs(6), "{freed:?}");
    let from = position(newer.resume(resume(document_id)).await.offset);
    assert_eq!(from, 300_000, "paused, not lost");
    newer.chunks(ZERO, &test_file, from..test_file.size()).await;
    assert_eq!(newer.complete(ZERO).await.blake3, test_file.hash());
}

/// With the default limits, the system itself notices the dead link within a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_counts_for_a_minute_at_most_by_default() {
    if !towline_tests::is_long() {
        return;
    }
    let Some(link) = NetnsLink::make().map(Arc::new) else { return };
    let server = behind(&link, 1, Duration::from_secs(300)).await;
    let mut older = far_away(&link, &server).await;
    older.ping().await;
    let last_word = Instant::now();
    link.pull();
    let (_newer, _) = place(&link, &server).await;
    let freed = last_word.elapsed();
    println!("the place was free after {freed:?}");
    assert!(freed < Duration::from_secs(75), "{freed:?}");
}

/// A connection as soon as the server has a place for one, and the number of connections that it
/// refused before.
async fn place(link: &NetnsLink, server: &TestServer) -> (RawClient, u32) {
    let mut turned_away = 0;
    loop {
        match nearby(link, server).await {
            Ok(client) => return (client, turned_away),
            Err(_) => {
                turned_away += 1;
                assert!(turned_away < 10_000, "there never is a place");
                // The server does not announce a free place, so the client has to ask.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
