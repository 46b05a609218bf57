//! The places for connections: nobody takes all of them.

use std::time::Instant;
use towline_protocol::{Code, ErrorReply, Reply};
use towline_tests::PATIENCE;
use towline_tests::raw_client::{Heard, RawClient};
use towline_tests::server::TestServer;

/// The last word of a server that closes.
async fn last_word(client: &mut RawClient) -> ErrorReply {
    let heard = client.closed().await;
    match heard.last() {
        Some(Heard::Reply(Reply::Error(error))) => error.clone(),
        other => panic!("no error but {other:?}"),
    }
}

/// What the server answers to the login.
async fn login(server: &TestServer, token: &str) -> Result<RawClient, ErrorReply> {
    let mut client = RawClient::connect(server.address()).await;
    client.hello(token).await;
    match client.reply().await {
        Reply::Welcome(_) => Ok(client),
        Reply::Error(error) => Err(error),
        other => panic!("{other:?} is no answer to a hello"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_of_one_address_keep_nobody_of_that_address_out() {
    let server = TestServer::start_with(|config| config.places.strangers_per_address = 4).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(RawClient::connect(server.address()).await);
        // Each time the place is one of a connection that says nothing.
        assert!(login(&server, &server.user.token).await.is_ok());
    }
    // The oldest had to leave, and is told why; the newest may still log in.
    assert_eq!(last_word(&mut silent[0]).await.code, Code::TooMany);
    let newest = silent.pop().unwrap();
    drop(newest.welcomed(&server.user.token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_connections_and_others_are_let_in() {
    let server = TestServer::start_with(|config| config.places.per_user = 3).await;
    let other = server.site.add_user("bob").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(login(&server, &server.user.token).await.unwrap());
    }
    let refused = login(&server, &server.user.token).await.err().unwrap();
    assert_eq!((refused.code, refused.max), (Code::TooMany, Some(3)));
    assert!(refused.message.contains("a user may have no more"), "{}", refused.message);
    assert!(login(&server, &other.token).await.is_ok());
    // When one has ended there is room for the next. The client hears of the end a moment before.
    held.pop().unwrap().pause().await;
    let begun = Instant::now();
    while login(&server, &server.user.token).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "no room after one has gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_places_are_for_users_who_have_none() {
    let server = TestServer::start_with(|config| config.places.all = 40).await;
    let other = server.site.add_user("bob").await;
    let mut held = Vec::new();
    let refused = loop {
        match login(&server, &server.user.token).await {
            Ok(client) => held.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!((refused.code, held.len()), (Code::TooMany, 38));
    assert!(login(&server, &other.token).await.is_ok());
}
