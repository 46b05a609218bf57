//! Another token of the same user on an open connection: uploads go on, and a token that is not good
//! changes nothing.

use std::time::Duration;
use towline_protocol::request::Reauth;
use towline_protocol::{Channel, Code, Reply, Request};
use towline_tests::raw_client::{RawClient, ZERO, upload};
use towline_tests::server::TestServer;
use towline_tests::test_file::TestFile;
use towline_types::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);
const SIDE: Channel = Channel(7);

async fn server() -> TestServer {
    TestServer::start_with(|config| config.timings.recheck = Duration::from_secs(2)).await
}

async fn reauth(client: &mut RawClient, token: &str) -> Result<Timestamp, Code> {
    client.send(&Request::Reauth(Reauth { channel: SIDE, token: token.to_owned() })).await;
    loop {
        match client.reply().await {
            Reply::Reauth(answer) => {
                assert_eq!(answer.channel, SIDE);
                return Ok(answer.expires_at);
            }
            Reply::Error(error) => {
                assert_eq!(error.channel, SIDE);
                return Err(error.code);
            }
            Reply::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_token_keeps_the_upload_when_the_first_one_ends() {
    let server = server().await;
    let first = server.site.token(server.user.id, HOUR);
    let second = server.site.token(server.user.id, 3 * HOUR);
    let mut client = RawClient::login(server.address(), &first).await;
    let mut other = RawClient::login(server.address(), &first).await;
    let test_file = TestFile::new(3000, 410);
    client.upload(upload("a.bin", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    let ends = reauth(&mut client, &second).await.unwrap();
    let left = ends.as_secs() - server.clock.now().as_secs();
    assert!(left > 3 * 3600 - 60 && left <= 3 * 3600, "{left}");
    client.chunks(ZERO, &test_file, 1000..2000).await;
    server.clock.advance(2 * HOUR);
    // The connection that kept the first token shows that the server has looked.
    other.error_on(ZERO, Code::AuthExpired).await;
    client.chunks(ZERO, &test_file, 2000..3000).await;
    client.complete(ZERO).await;
    server.site.assert_published(&server.user, "a.bin", &test_file);
    server.clock.advance(2 * HOUR);
    client.error_on(ZERO, Code::AuthExpired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_or_of_another_user_changes_nothing() {
    let server = server().await;
    let bob = server.site.add_user("bob").await;
    let ended = server.site.token(server.user.id, Duration::from_secs(1));
    server.clock.advance(Duration::from_secs(2));
    let first = server.site.token(server.user.id, HOUR);
    let mut client = RawClient::login(server.address(), &first).await;
    let test_file = TestFile::new(3000, 411);
    client.upload(upload("a.bin", &test_file)).await;
    client.chunks(ZERO, &test_file, 0..1000).await;
    let long = "x".repeat(4097);
    for (token, code) in [
        (bob.token.as_str(), Code::WrongUser),
        (ended.as_str(), Code::AuthExpired),
        ("", Code::Unauthorized),
        ("a.b.c", Code::Unauthorized),
        (&long, Code::Unauthorized),
    ] {
        assert_eq!(reauth(&mut client, token).await, Err(code), "{token}");
    }
    client.chunks(ZERO, &test_file, 1000..3000).await;
    client.complete(ZERO).await;
    // The document is ada's, and the connection ends with the token that it had.
    server.site.assert_published(&server.user, "a.bin", &test_file);
    server.clock.advance(HOUR);
    client.error_on(ZERO, Code::AuthExpired).await;
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_was_removed_gets_no_further_with_another_token() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let next = server.site.token(server.user.id, HOUR);
    let catalog = towline_state::Catalog::open(server.site.catalog_path()).unwrap();
    catalog.remove_user(server.user.id, server.clock.now()).await.unwrap();
    catalog.close().await.unwrap();
    assert_eq!(reauth(&mut client, &next).await, Err(Code::Unauthorized));
}
