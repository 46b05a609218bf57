//! `towlined join`: one line for one login, which works beside a running server.

use super::{run, said};
use towline_protocol::reply::Welcome;
use towline_protocol::request::Hello;
use towline_protocol::{Code, JoinLine, Reply, Request};
use towline_tests::PATIENCE;
use towline_tests::netns_link::NetnsLink;
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::raw_client::RawClient;
use towline_tests::server::TestServer;
use towline_tests::site::Site;

/// What `towlined join` prints, read as a client reads it.
async fn line(site: &Site, more: &[&str]) -> JoinLine {
    let said = said(site, &[&["join", "--user", "ada"], more].concat()).await;
    assert_eq!(said.lines().count(), 1, "{said}");
    said.parse().unwrap()
}

fn hello(secret: &str) -> Request {
    Request::Hello(Hello { token: None, join: Some(secret.to_owned()), ..Hello::with_token("") })
}

async fn join(server: &ServerProcess, secret: &str) -> RawClient {
    let mut client = RawClient::connect(server.address()).await;
    client.send(&hello(secret)).await;
    client
}

async fn welcome(mut client: RawClient) -> Welcome {
    match client.reply().await {
        Reply::Welcome(welcome) => welcome,
        other => panic!("no welcome but {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_exchanged_for_a_token_once_and_beside_the_server() {
    let site = Site::new();
    site.add_user("ada").await;
    let server = Launch::over(&site).variable("TOWLINE_LOG", "trace").start().await;
    let key = server.says_in_one_line(&["key SHA256:"]).await;
    let line = line(&site, &[]).await;
    assert_eq!(format!("key {}", line.fingerprint), key);
    assert_eq!(line.addresses.len(), 1, "{line:?}");
    // Not that of a configuration file: where the server listens.
    assert_eq!(line.addresses[0].to_string(), server.address().to_string());

    let secret = line.secret.reveal();
    let told = welcome(join(&server, &secret).await).await;
    assert_eq!((told.user.as_str(), told.user_id.get()), ("ada", 1));
    let token = told.token.expect("a token");
    RawClient::login(server.address(), &token).await.ping().await;
    let tokens = said(&site, &["tokens"]).await;
    assert_eq!(tokens.lines().filter(|line| line.contains(" good ")).count(), 1, "{tokens}");

    let wrong = "0".repeat(32);
    let mut sentences = Vec::new();
    for secret in [secret.as_str(), &wrong, "", "no secret"] {
        let refused = join(&server, secret).await.error(Code::Unauthorized).await;
        sentences.push(refused.message);
    }
    sentences.dedup();
    assert_eq!(sentences.len(), 1, "a guess is told apart: {sentences:?}");
    let log = server.gone().await.concat();
    assert!(log.contains("a client has joined"), "it is a log of everything");
    assert!(!log.contains(&secret) && !log.contains(&token), "a secret is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_clients_with_one_secret_one_gets_a_token() {
    let site = Site::new();
    site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let secret = line(&site, &[]).await.secret.reveal();
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(RawClient::connect(server.address()).await);
    }
    for client in &mut clients {
        client.send(&hello(&secret)).await;
    }
    let mut joined = 0;
    for mut client in clients {
        match client.reply().await {
            Reply::Welcome(welcome) => joined += usize::from(welcome.token.is_some()),
            Reply::Error(error) => assert_eq!(error.code, Code::Unauthorized),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(joined, 1);
    let tokens = said(&site, &["tokens"]).await;
    assert_eq!(tokens.lines().filter(|line| line.contains(" good ")).count(), 1, "{tokens}");
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gets_no_place_keeps_its_secret() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let launch = Launch::over(&site).settings(&site.settings("max_connections_per_user = 1"));
    let server = launch.start().await;
    let secret = line(&site, &[]).await.secret.reveal();
    let mut first = RawClient::login(server.address(), &user.token).await;
    for _ in 0..2 {
        join(&server, &secret).await.error(Code::TooMany).await;
    }
    first.ping().await;
    drop(first);
    // The server notices in a moment that the place is free.
    let joined = async {
        loop {
            match join(&server, &secret).await.reply().await {
                Reply::Welcome(welcome) => return welcome,
                Reply::Error(error) => assert_eq!(error.code, Code::TooMany),
                other => panic!("{other:?}"),
            }
        }
    };
    let joined = tokio::time::timeout(PATIENCE, joined).await.expect("the place gets free");
    assert!(joined.token.is_some());
    // The one that ada had before, and this one: none for the logins that were refused.
    let tokens = said(&site, &["tokens"]).await;
    assert_eq!(tokens.lines().filter(|line| line.contains(" good ")).count(), 2, "{tokens}");
    join(&server, &secret).await.error(Code::Unauthorized).await;
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_secret_and_that_of_a_removed_user_are_not_good() {
    let server = TestServer::start().await;
    let site = &server.site;
    let late = line(site, &["--ttl", "10m"]).await.secret.reveal();
    let removed = line(site, &["--ttl", "1h"]).await.secret.reveal();
    server.clock.advance(std::time::Duration::from_secs(601));
    let mut client = RawClient::connect(server.address()).await;
    client.send(&hello(&late)).await;
    client.error(Code::Unauthorized).await;
    said(site, &["user", "remove", "ada"]).await;
    let mut client = RawClient::connect(server.address()).await;
    client.send(&hello(&removed)).await;
    client.error(Code::Unauthorized).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_has_a_token_or_a_secret() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let secret = line(&site, &[]).await.secret.reveal();
    let token = Hello::with_token(user.token.as_str());
    let both = Hello { join: Some(secret.clone()), ..token.clone() };
    let neither = Hello { token: None, ..token };
    for hello in [both, neither] {
        let mut client = RawClient::connect(server.address()).await;
        client.send(&Request::Hello(hello)).await;
        let refused = client.error(Code::BadRequest).await;
        assert_eq!(refused.field.as_deref(), Some("token"));
        client.closed().await;
    }
    assert!(welcome(join(&server, &secret).await).await.token.is_some(), "it was not used up");
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_says_under_which_addresses_the_server_is_reached() {
    let site = Site::new();
    site.add_user("ada").await;
    let addresses = |line: JoinLine| {
        line.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    // No server has run: the configuration file says where it will listen, and the key is made.
    let settings = site.settings("listen = \"nas.example:9000\"");
    let config = ["--config", settings.to_str().unwrap()];
    let before = line(&site, &config).await;
    assert_eq!(addresses(before.clone()), "nas.example:9000");
    let server =
        Launch::over(&site).listen_on("0.0.0.0:0").arguments(&["--allow-root"]).start().await;
    let port = server.address().port();
    let own = line(&site, &[]).await;
    assert_eq!(own.fingerprint, before.fingerprint);
    for address in &own.addresses {
        assert_eq!(address.port(), port);
        let ip: std::net::IpAddr = address.host().parse().unwrap();
        assert!(!ip.is_unspecified() && !ip.is_loopback(), "{ip}");
    }
    let typed = ["--address", "nas.example", "--address", "[fd00::7]:9000"];
    let typed = addresses(line(&site, &typed).await);
    assert_eq!(typed, format!("nas.example:{port} fd00::7:9000"));
    for wrong in [["--address", "http://nas"], ["--ttl", "0s"]] {
        let arguments = [&["join", "--user", "ada"], &wrong[..]].concat();
        assert_eq!(run(&site, &arguments).await.status.code(), Some(2), "{wrong:?}");
    }
    server.gone().await;
    let nobody = run(&site, &["join", "--user", "eve"]).await;
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no user eve"), "{nobody:?}");
}

/// Whoever can read along would have the token.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_tls_is_not_looked_at_although_the_operator_allows_tokens() {
    let Some(link) = NetnsLink::make() else { return };
    let near = link.near.clone();
    let server =
        TestServer::start_on(move || near.listen(), |config| config.allow_plaintext = true).await;
    let mut client = RawClient::over(link.far.connect(server.address()).await.unwrap());
    client.send(&hello(&"0".repeat(32))).await;
    client.error(Code::TlsRequired).await;
    let mut near = RawClient::over(link.near.connect(server.address()).await.unwrap());
    near.send(&hello(&"0".repeat(32))).await;
    near.error(Code::Unauthorized).await;
}
