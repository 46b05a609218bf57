//! A user who was removed, and a token that has expired: the server closes the connection soon,
//! however busy the connection is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use towline_protocol::request::Ping;
use towline_protocol::{Code, Request, frame};
use towline_server::token::SigningKeys;
use towline_tests::process::{output, stdout, towlined};
use towline_tests::raw_client::{RawClient, ZERO, find, hello};
use towline_tests::server::TestServer;
use towline_types::FileSize;

/// How long the server relies on one look at the user in this test; by default 30 s.
const HOLDS: Duration = Duration::from_secs(2);

/// The additional time that a busy machine may need.
const SLACK: Duration = Duration::from_secs(3);

async fn server() -> TestServer {
    TestServer::start_with(|config| config.timings.recheck = HOLDS).await
}

/// Sends `words` again and again without a pause, and reads the replies, until the connection ends.
/// Returns when it ended, and the last bytes that it read.
async fn flood(address: SocketAddr, token: String, words: Vec<u8>) -> (Instant, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reads, mut writes) = stream.into_split();
    writes.write_all(&frame::control(&hello(&token))).await.unwrap();
    let writing = tokio::spawn(async move {
        let many = words.repeat(200);
        while writes.write_all(&many).await.is_ok() {}
    });
    let (mut buffer, mut last) = (vec![0; 64 << 10], Vec::new());
    while let Ok(count @ 1..) = reads.read(&mut buffer).await {
        last.extend_from_slice(&buffer[..count]);
        last.drain(..last.len().saturating_sub(1000));
    }
    writing.abort();
    (Instant::now(), String::from_utf8_lossy(&last).into_owned())
}

/// The id that a token says.
fn jti(token: &str) -> String {
    let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(token);
    claims.unwrap().claims["jti"].as_str().unwrap().to_owned()
}

/// Whether the error is in the last bytes. The error may also be lost with the connection, because
/// the server closes it while bytes of the client are on their way.
fn is_said(last: &str, code: Code) -> bool {
    !last.contains(r#""action":"error""#) || last.contains(&format!(r#""code":"{code}""#))
}

async fn is_shut_out(words: Vec<u8>, name: &str) {
    let server = server().await;
    let mallory = server.site.add_user("mallory").await;
    let one = || flood(server.address(), mallory.token.clone(), words.clone());
    let floods: Vec<_> = (0..3).map(|_| tokio::spawn(one())).collect();
    let mut command = towlined();
    command.args(["user", "remove", "mallory", "--data-dir"]).arg(server.site.path());
    let removed = output(&mut command).await;
    assert!(removed.status.success(), "{removed:?}");
    let since = Instant::now();
    for flood in floods {
        let (ended, last) = flood.await.unwrap();
        let after = ended.saturating_duration_since(since);
        println!("{name}: {after:?} after the removal");
        assert!(is_said(&last, Code::Unauthorized), "{last}");
        assert!(after < HOLDS + SLACK, "{after:?}");
    }
    // Other users are not affected.
    server.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_user_who_says_ping_without_a_pause() {
    is_shut_out(frame::control(&Request::Ping(Ping { channel: ZERO })), "pings").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_user_who_asks_without_a_pause() {
    let question = find("nothing.bin", FileSize::try_from(5).unwrap());
    is_shut_out(frame::control(&Request::Find(question)), "finds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_ends_its_connections() {
    let server = server().await;
    let token = server.site.token(server.user.id, Duration::from_secs(1000));
    // The connection is logged in when the clock moves.
    let mut other = RawClient::login(server.address(), &token).await;
    let pings = frame::control(&Request::Ping(Ping { channel: ZERO }));
    let flood = tokio::spawn(flood(server.address(), token, pings));
    other.ping().await;
    server.clock.advance(Duration::from_secs(1001));
    let since = Instant::now();
    let (ended, last) = flood.await.unwrap();
    println!("{:?} after the end", ended.saturating_duration_since(since));
    assert!(is_said(&last, Code::AuthExpired), "{last}");
    other.error_on(ZERO, Code::AuthExpired).await;
    assert!(ended.saturating_duration_since(since) < HOLDS + SLACK);
    // A token that expires while the clock runs normally ends its connection at that moment.
    let token = server.site.token(server.user.id, Duration::from_secs(1003));
    let mut raw = RawClient::login(server.address(), &token).await;
    let since = Instant::now();
    raw.error_on(ZERO, Code::AuthExpired).await;
    assert!(since.elapsed() < HOLDS + SLACK, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_connections_and_no_others() {
    let server = server().await;
    let mut command = towlined();
    command.args(["token", "--user", "ada", "--data-dir"]).arg(server.site.path());
    let token = stdout(&mut command).await.trim().to_owned();
    let mut stays = server.client().await;
    let question = find("nothing.bin", FileSize::try_from(5).unwrap());
    let words = frame::control(&Request::Find(question));
    let mut floods = Vec::new();
    for _ in 0..3 {
        let (address, token, words) = (server.address(), token.clone(), words.clone());
        floods.push(tokio::spawn(flood(address, token, words)));
    }
    let id = jti(&token);
    let mut command = towlined();
    command.args(["token", "revoke", &id, "--data-dir"]).arg(server.site.path());
    let revoked = output(&mut command).await;
    assert!(revoked.status.success(), "{revoked:?}");
    let since = Instant::now();
    for flood in floods {
        let (ended, last) = flood.await.unwrap();
        let after = ended.saturating_duration_since(since);
        assert!(is_said(&last, Code::Unauthorized), "{last}");
        assert!(after < HOLDS + SLACK, "{after:?}");
    }
    let mut again = RawClient::connect(server.address()).await;
    again.hello(&token).await;
    let told = again.error(Code::Unauthorized).await.message;
    assert!(told.contains("was revoked"), "{told}");
    stays.ping().await;
    server.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_retired_ends_the_connections_of_its_tokens() {
    let server = server().await;
    let keys = server.site.path().join("keys");
    let old = SigningKeys::find(&keys).unwrap().signer().id();
    SigningKeys::add(&keys).unwrap();
    assert_eq!(server.reload().token_keys.unwrap(), 2);
    let new = server.site.token(server.user.id, Duration::from_secs(1000));
    let mut stays = RawClient::login(server.address(), &new).await;
    let pings = frame::control(&Request::Ping(Ping { channel: ZERO }));
    let flood = tokio::spawn(flood(server.address(), server.user.token.clone(), pings));
    server.client().await.ping().await;
    SigningKeys::find(&keys).unwrap().retire(&keys, old).unwrap();
    assert_eq!(server.reload().token_keys.unwrap(), 1);
    let since = Instant::now();
    let (ended, last) = flood.await.unwrap();
    assert!(is_said(&last, Code::Unauthorized), "{last}");
    assert!(ended.saturating_duration_since(since) < HOLDS + SLACK);
    stays.ping().await;
}

/// Where the catalog cannot tell whether a user was removed, the user must not stay connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_row_cannot_be_read_is_answered_with_internal() {
    let server = server().await;
    let mallory = server.site.add_user("mallory").await;
    let mut raw = RawClient::login(server.address(), &mallory.token).await;
    let catalog = rusqlite::Connection::open(server.site.catalog_path()).unwrap();
    let sql = "UPDATE users SET created_at = -1 WHERE name = 'mallory'";
    assert_eq!(catalog.execute(sql, []).unwrap(), 1);
    drop(catalog);
    let since = Instant::now();
    raw.error_on(ZERO, Code::Internal).await;
    raw.closed().await;
    assert!(since.elapsed() < HOLDS + SLACK, "{:?}", since.elapsed());
    // The row of another user can be read, so that user is not affected.
    server.client().await.ping().await;
}
