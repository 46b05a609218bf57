//! Where `towlined` serves HTTP, and the port for programs that watch over it.

use std::net::SocketAddr;
use towline_protocol::Code;
use towline_tests::http_client::HttpClient;
use towline_tests::process::{Launch, ServerProcess, output, towline, towlined};
use towline_tests::raw_client::RawClient;
use towline_tests::site::Site;

/// The address that the server has printed behind that word.
async fn printed(server: &ServerProcess, what: &str) -> SocketAddr {
    let line = server.says_in_one_line(&[&format!("{what} on 127.0.0.1:")]).await;
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http_can_have_an_address_of_its_own() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start_with(&site, &["--http-listen", "127.0.0.1:0"]).await;
    let http = printed(&server, "http").await;
    HttpClient::new(http, &user.token).get("/documents").await.is(200);
    // Frames have the other address alone.
    let mut frames = RawClient::connect(http).await;
    frames.hello(&user.token).await;
    frames.error(Code::BadRequest).await;
    server.client(&user).await;
    let client = HttpClient::new(server.address(), &user.token);
    let refused = client.get("/documents").await.is(400);
    assert!(refused.body.starts_with(b"This is a Towline server."), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_can_be_turned_off() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    for arguments in [&["--no-http"][..], &[]] {
        let mut launch = Launch::over(&site).arguments(arguments);
        let is_off = !arguments.is_empty();
        if !is_off {
            launch = launch.settings(&site.settings("http = false\n"));
        }
        let mut server = launch.start().await;
        server.client(&user).await;
        let client = HttpClient::new(server.address(), &user.token);
        let refused = client.get("/documents").await.is(400);
        assert!(refused.body.starts_with(b"This is a Towline server."), "{refused:?}");
        server.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_monitors_port_tells_how_the_server_is() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start_with(&site, &["--monitor-listen", "0"]).await;
    let monitor = HttpClient::new(printed(&server, "monitor").await, "");
    assert_eq!(monitor.get("/healthz").await.is(200).body, "ok\n");
    assert_eq!(monitor.get("/readyz").await.is(200).body, "ready\n");
    let _connection = server.client(&user).await;
    let metrics = monitor.get("/metrics").await.is(200);
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(
        text.contains("# TYPE towline_logins_total counter\ntowline_logins_total 1\n"),
        "{text}"
    );
    assert!(text.contains("towline_connections{place=\"users\"} 1\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("towline_") && value.parse::<f64>().is_ok(), "{line}");
    }
    // It has nothing else, and the doors have none of it.
    monitor.get("/documents").await.is(404);
    monitor.send("POST", "/metrics", &[], "").await.is(405);
    let client = HttpClient::new(server.address(), &user.token);
    for path in ["/metrics", "/healthz", "/readyz"] {
        client.get(path).await.is(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_said() {
    let site = Site::new();
    for (arguments, said) in [
        (&["--http-origin", "app.example.com"][..], "is no origin of pages; write https://HOST"),
        (&["--trusted-proxy", "proxy.example.com"], "is no address of a proxy; write 192.0.2.7"),
        (
            &["--http-url", "https://a.example/b"],
            "is no address of this server; write https://HOST",
        ),
        (&["--no-http", "--http-listen", "1"], "cannot be used with"),
        (&["--no-http", "--http-url", "https://a.example"], "cannot be used with"),
    ] {
        let ended = output(towlined().args(arguments)).await;
        let message = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{message}");
        assert!(message.contains(said), "{message}");
    }
    for line in
        ["http_origins = [\"app.example.com\"]", "trusted_proxies = [\"x\"]", "http_url = \"x\""]
    {
        let file = site.settings(&format!("durability = \"durable\"\n{line}\n"));
        let ended = output(towlined().arg("--config").arg(&file)).await;
        let message = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{message}");
        assert!(message.contains("line 2"), "{message}");
    }
    let file = site.settings("http = false\nhttp_listen = \"127.0.0.1:0\"\n");
    let ended = output(towlined().arg("--config").arg(&file)).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn towline_serve_has_frames_alone() {
    let site = Site::new();
    let data_dir = site.path().to_str().unwrap();
    let arguments = ["serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0"];
    let ended = output(towline().args(arguments).args(["--monitor-listen", "0"])).await;
    let message = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{message}");
    assert!(message.contains("this program serves frames alone"), "{message}");
}
