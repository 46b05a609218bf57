//! The client knows a server by its store, not by its address.

use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

/// Uploads a part of the file. Returns the number of the document.
async fn begin(cli: &CliFixture, proxy: &FaultProxy, test_file: &TestFile) -> u64 {
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = cli.start(cli.put(&cli.write("a.bin", test_file)));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    outcome.assert_code(3);
    proxy.otherwise(Faults::none());
    outcome.event("paused")["document_id"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_server_under_another_address_goes_on() {
    let server = TestServer::start().await;
    for resume in [false, true] {
        let test_file = TestFile::new(24 * BLOCK, 240 + u64::from(resume));
        let proxy = FaultProxy::start(server.address(), []).await;
        let mut cli = CliFixture::new(&server.site, &server.user, proxy.address());
        let document = begin(&cli, &proxy, &test_file).await;
        assert!(cli.state().uploads.values().next().unwrap().server_id.is_some());
        drop(proxy);
        cli.to = server.address();
        // These commands are about that server's own document of this number, so they need a token
        // for that server.
        for name in ["status", "cancel"] {
            let mut command = cli.command(name);
            command.arg(document.to_string()).arg("--to").arg(cli.to.to_string());
            let outcome = run(command).await;
            outcome.assert_code(2);
            assert!(outcome.err.contains("a token is needed"), "{outcome:?}");
        }
        let mut again = if resume {
            let mut command = cli.command("resume");
            // A document that is named twice is resumed once.
            command.args([document.to_string(), document.to_string()]);
            command.arg("--to").arg(cli.to.to_string());
            command
        } else {
            cli.put(&cli.path("a.bin"))
        };
        again.arg("--json");
        let outcome = run(again).await;
        let completed = outcome.assert_done().event("completed");
        let told = format!("is sent to {}; until now", cli.to);
        assert_eq!(outcome.err.contains(&told), resume, "{outcome:?}");
        assert_eq!(completed["document_id"], document);
        assert!(completed["sent_bytes"].as_u64() < Some(test_file.size() as u64), "{completed}");
        assert!(cli.state().uploads.is_empty(), "{:?}", cli.state());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_at_the_same_address_is_begun_with_anew() {
    let proxy_target = TestServer::start().await;
    let proxy = FaultProxy::start(proxy_target.address(), []).await;
    let address: SocketAddr = proxy.address();
    let test_file = TestFile::new(24 * BLOCK, 242);
    let cli = CliFixture::new(&proxy_target.site, &proxy_target.user, address);
    let document = begin(&cli, &proxy, &test_file).await;
    drop(proxy);

    // The address is the same; the data folder and the key are others.
    let bind = move || TcpListener::bind((Ipv4Addr::LOCALHOST, address.port())).unwrap();
    let other = TestServer::start_on(bind, |_| {}).await;
    std::fs::write(cli.path("token"), &other.user.token).unwrap();
    let entry = cli.state().uploads;
    for arguments in [vec!["status".to_owned()], vec!["cancel".to_owned()]] {
        let mut command = cli.command(&arguments[0]);
        command.arg(document.to_string());
        let outcome = run(command).await;
        assert_ne!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(cli.state().uploads, entry, "a number of another server's");
    }
    let mut resume = cli.command("resume");
    resume.arg(document.to_string());
    let outcome = run(resume).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("another server"), "{outcome:?}");
    assert_eq!(cli.state().uploads, entry);

    let outcome = run(cli.put(&cli.path("a.bin"))).await;
    assert!(outcome.assert_done().err.contains("another server"), "{outcome:?}");
    other.site.assert_published(&other.user, "a.bin", &test_file);
    assert_eq!(cli.state().uploads, entry, "the old one may come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_for_one_server_goes_to_no_other() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let files: Vec<_> = (0..3u64)
        .map(|n| {
            let name = format!("photos/{n}.bin");
            let test_file = TestFile::new(24 * BLOCK, 250 + n);
            cli.write(&name, &test_file);
            (name, test_file)
        })
        .collect();
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = cli.start(cli.put(&cli.path("photos")));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    proxy.otherwise(Faults::none());
    let before = cli.state();
    assert_eq!(before.jobs.len(), 1);

    std::fs::write(cli.path("others"), &other.user.token).unwrap();
    for more in [&[][..], &["--all"]] {
        let mut resume = cli.command("resume");
        resume.arg("--to").arg(other.address().to_string());
        resume.arg("--token-file").arg(cli.path("others")).args(more);
        let outcome = run(resume).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("the list has no unfinished upload for"), "{outcome:?}");
        assert_eq!(cli.state(), before, "the entry is as it was");
        for (name, _) in &files {
            assert!(!other.site.document(&other.user, name).exists(), "{name}");
        }
    }
    run(cli.command("resume")).await.assert_done();
    for (name, test_file) in &files {
        server.site.assert_published(&server.user, name, test_file);
    }
    assert!(cli.state().jobs.is_empty());
}
