//! TLS as a person meets it: a server that is not known yet, one that is, and one that is another.

use rustix::process::Signal;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use tokio::process::Command;
use towline_tests::cli_fixture::{CliFixture, Outcome, run};
use towline_tests::process::{Launch, ServerProcess};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::site::Site;
use towline_tests::test_file::{BLOCK, TestFile, chance};

/// The key that the server prints at its start.
async fn key(server: &ServerProcess) -> String {
    let line = server.says_in_one_line(&["key SHA256:"]).await;
    line.strip_prefix("key ").unwrap().to_owned()
}

/// The command, with the keys that this person knows.
fn knowing(cli: &CliFixture, mut command: Command, more: &[&str]) -> Command {
    command.env("XDG_CONFIG_HOME", cli.path("config")).args(more);
    command
}

async fn put(cli: &CliFixture, name: &str, more: &[&str]) -> Outcome {
    run(knowing(cli, cli.put(&cli.path(name)), more)).await
}

async fn ask(cli: &CliFixture, name: &str, more: &[&str]) -> Outcome {
    let mut command = cli.at_home(name, &cli.path("state"));
    cli.reach(&mut command);
    command.current_dir(cli.path("."));
    run(knowing(cli, command, more)).await
}

fn known_servers(cli: &CliFixture) -> String {
    fs::read_to_string(cli.path("config/towline/known_servers")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_known_by_its_key_and_a_file_goes_there_and_back() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let key = key(&server).await;
    let cli = CliFixture::new(&site, &user, server.address());
    let test_file = TestFile::new(3 * BLOCK + 17, 950);
    cli.write("a.bin", &test_file);

    // There is no terminal to ask.
    let refused = put(&cli, "a.bin", &["--tls"]).await;
    refused.assert_code(1);
    for text in [&key, "is not known yet", "nothing was sent", "--fingerprint", "--trust-new"] {
        assert!(refused.err.contains(text), "{text}: {refused:?}");
    }
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let refused = put(&cli, "a.bin", &["--fingerprint", other]).await;
    refused.assert_code(1);
    assert!(refused.err.contains("not the server that it has to be"), "{refused:?}");
    assert_eq!(known_servers(&cli), "", "a key that was typed wrong is not remembered");
    assert_eq!(server.said().iter().filter(|line| line.contains("login")).count(), 0);

    put(&cli, "a.bin", &["--fingerprint", &key]).await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
    assert!(known_servers(&cli).ends_with(&format!("{} {key}\n", cli.to)));
    // A server with a known key is spoken to with TLS from then on.
    ask(&cli, "get", &["a.bin", "-o", "back.bin"]).await.assert_done();
    assert_eq!(fs::read(cli.path("back.bin")).unwrap(), test_file.bytes);
    assert_eq!(ask(&cli, "ls", &[]).await.assert_done().out, "a.bin\n");
    ask(&cli, "ls", &["--plaintext"]).await.assert_done();
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_key_is_told_nothing() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let mut server = ServerProcess::start(&site).await;
    let old = key(&server).await;
    let cli = CliFixture::new(&site, &user, server.address());
    cli.write("a.bin", &TestFile::new(100, 951));
    put(&cli, "a.bin", &["--tls", "--trust-new"]).await.assert_done();
    server.kill().await;
    fs::remove_file(site.path().join("keys/tls.pem")).unwrap();
    let server = Launch::over(&site).listen(cli.to).start().await;
    let new = key(&server).await;
    assert_ne!(new, old);
    cli.write("b.bin", &TestFile::new(100, 952));
    for more in [&[][..], &["--trust-new"], &["--tls"]] {
        let refused = put(&cli, "b.bin", more).await;
        refused.assert_code(1);
        for text in [&old, &new, "Nothing was sent, not even the token", "ask its operator"] {
            assert!(refused.err.contains(text), "{text}: {refused:?}");
        }
        assert!(!refused.err.contains("has not answered"), "{refused:?}");
    }
    put(&cli, "b.bin", &["--fingerprint", &new]).await.assert_done();
    put(&cli, "b.bin", &[]).await.assert_done();
    assert_eq!(known_servers(&cli).lines().count(), 1);
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_no_tls_gets_no_token() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cli = CliFixture::new(&site, &user, listener.local_addr().unwrap());
    cli.write("a.bin", &TestFile::new(100, 953));
    let heard = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).unwrap();
            heard.extend_from_slice(&bytes[..count]);
            stream.write_all(b"This port speaks Towline without TLS.\r\n").unwrap();
            stream.read_to_end(&mut heard).unwrap();
        }
        heard
    });
    for more in [
        &["--tls", "--trust-new"],
        &["--fingerprint", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    ] {
        let refused = put(&cli, "a.bin", more).await;
        refused.assert_code(1);
        assert!(refused.err.contains("does not answer in TLS"), "{refused:?}");
        assert!(refused.err.contains("--plaintext"), "{refused:?}");
    }
    let heard = heard.join().unwrap();
    let token = user.token.as_bytes();
    assert!(!heard.windows(20).any(|window| token.starts_with(window)), "the token was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_upload_survives_cuts_and_damaged_bytes() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let key = key(&server).await;
    let mut chance = chance();
    let plan: Vec<_> = (0..12)
        .map(|number| {
            let at = chance.u64(2000..4 * BLOCK as u64);
            match number % 3 {
                0 => Faults::cut_after(at),
                1 => Faults::reset_after(at),
                // TLS notices it at once.
                _ => Faults::flip_at(at),
            }
        })
        .collect();
    let proxy = FaultProxy::start(server.address(), plan).await;
    let cli = CliFixture::new(&site, &user, proxy.address());
    let test_file = TestFile::new(24 * BLOCK + 99, 954);
    cli.write("big.bin", &test_file);
    put(&cli, "big.bin", &["--fingerprint", &key]).await.assert_done();
    site.assert_published(&user, "big.bin", &test_file);
    proxy.plan((0..4).map(|_| Faults { cut_after_replies: Some(5 << 20), ..Faults::none() }));
    ask(&cli, "get", &["big.bin", "-o", "back.bin"]).await.assert_done();
    assert_eq!(fs::read(cli.path("back.bin")).unwrap(), test_file.bytes);
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_there_and_back_over_several_encrypted_connections() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let key = key(&server).await;
    let cli = CliFixture::new(&site, &user, server.address());
    let big = TestFile::new(40 * BLOCK + 5, 955);
    cli.write("proj/big.bin", &big);
    for number in 0..300 {
        cli.write(&format!("proj/small/{number}"), &TestFile::new(1000 + number, 956));
    }
    put(&cli, "proj", &["--parallel", "4", "--fingerprint", &key]).await.assert_done();
    ask(&cli, "get", &["proj", "-o", "back", "--parallel", "3"]).await.assert_done();
    assert_eq!(fs::read(cli.path("back/big.bin")).unwrap(), big.bytes);
    for number in 0..300 {
        let there = fs::read(cli.path(&format!("back/small/{number}"))).unwrap();
        assert_eq!(there, TestFile::new(1000 + number, 956).bytes, "{number}");
    }
    server.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_operators_own_is_read_again_when_it_was_renewed() {
    let [site, other] = [Site::new(), Site::new()];
    let user = site.add_user("ada").await;
    let made = ServerProcess::start(&other).await;
    let renewed = key(&made).await;
    made.gone().await;
    let first = ServerProcess::start(&site).await;
    let old = key(&first).await;
    first.gone().await;
    let (cert, pem) = (site.outside().join("own.pem"), site.path().join("keys/tls.pem"));
    fs::copy(&pem, &cert).unwrap();
    let typed = cert.display().to_string();
    let own = ["--tls-cert", typed.as_str(), "--tls-key", typed.as_str()];
    let server = Launch::over(&site).arguments(&own).start().await;
    let cli = CliFixture::new(&site, &user, server.address());
    cli.write("a.bin", &TestFile::new(100, 957));
    put(&cli, "a.bin", &["--fingerprint", &old]).await.assert_done();

    fs::write(&cert, "half of it").unwrap();
    server.signal(Signal::HUP);
    server.says("the certificate was not read again").await;
    put(&cli, "a.bin", &[]).await.assert_done();
    fs::copy(other.path().join("keys/tls.pem"), &cert).unwrap();
    server.signal(Signal::HUP);
    server.says_in_one_line(&["the certificate was read again", &renewed]).await;
    put(&cli, "a.bin", &[]).await.assert_code(1);
    put(&cli, "a.bin", &["--fingerprint", &renewed]).await.assert_done();
    server.gone().await;

    // Half of the pair is a mistake, and so is a file that is none.
    let settings = site.settings("tls_cert = \"x.pem\"");
    let refused = Launch::over(&site).settings(&settings).try_start().await.expect_err("half");
    assert_eq!(refused.status.and_then(|status| status.code()), Some(2), "{refused:?}");
    let refused =
        Launch::over(&site).arguments(&["--tls-cert", "/nowhere", "--tls-key", "/nowhere"]);
    let refused = refused.try_start().await.expect_err("no file");
    assert!(refused.said.iter().any(|line| line.contains("/nowhere")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_is_waited_for_with_tls_as_without() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let settings = site.settings("max_connections = 1");
    let server = Launch::over(&site).settings(&settings).start().await;
    let key = key(&server).await;
    let cli = CliFixture::new(&site, &user, server.address());
    let test_file = TestFile::new(1000, 958);
    cli.write("a.bin", &test_file);
    let first = server.client(&user).await;
    let mut put = knowing(&cli, cli.put(&cli.path("a.bin")), &["--fingerprint", &key]);
    put.stdin(std::process::Stdio::null());
    let mut run = cli.start(put);
    let waiting = run.until(|event| event["event"] == "waiting").await;
    assert!(waiting["reason"].as_str().unwrap().contains("too many connections"), "{waiting}");
    drop(first);
    run.end().await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
    server.gone().await;
}

/// Each read of the handshake begins somewhere in a record.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_in_single_bytes_is_no_server_without_room() {
    let site = Site::new();
    let user = site.add_user("ada").await;
    let server = ServerProcess::start(&site).await;
    let key = key(&server).await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(Faults { segment: Some(1), ..Faults::none() });
    let cli = CliFixture::new(&site, &user, proxy.address());
    let test_file = TestFile::new(1000, 959);
    cli.write("a.bin", &test_file);
    put(&cli, "a.bin", &["--fingerprint", &key, "--retries", "0"]).await.assert_done();
    site.assert_published(&user, "a.bin", &test_file);
    server.gone().await;
}
