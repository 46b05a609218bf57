//! A server is known by its store, not by its address.

use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::desk::{Desk, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;

/// A part of the file is at that server; the number of its document.
async fn begin(desk: &Desk, proxy: &FaultProxy, corpus: &Corpus) -> u64 {
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = desk.start(desk.put(&desk.write("a.bin", corpus)));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    let outcome = sending.end().await;
    outcome.assert_code(3);
    proxy.otherwise(Faults::none());
    outcome.event("paused")["document_id"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_one_under_another_address_goes_on() {
    let server = TestServer::start().await;
    for resume in [false, true] {
        let corpus = Corpus::new(24 * BLOCK, 240 + u64::from(resume));
        let proxy = FaultProxy::start(server.address(), []).await;
        let mut desk = Desk::new(&server.site, &server.person, proxy.address());
        let document = begin(&desk, &proxy, &corpus).await;
        assert!(desk.state().uploads.values().next().unwrap().server_id.is_some());
        drop(proxy);
        desk.to = server.address();
        // These are about that server's own document of the number, with a token for it.
        for name in ["status", "cancel"] {
            let mut command = desk.command(name);
            command.arg(document.to_string()).arg("--to").arg(desk.to.to_string());
            let outcome = run(command).await;
            outcome.assert_code(2);
            assert!(outcome.err.contains("a token is needed"), "{outcome:?}");
        }
        let mut again = if resume {
            let mut command = desk.command("resume");
            // Named twice, it is resumed once.
            command.args([document.to_string(), document.to_string()]);
            command.arg("--to").arg(desk.to.to_string());
            command
        } else {
            desk.put(&desk.path("a.bin"))
        };
        again.arg("--json");
        let outcome = run(again).await;
        let completed = outcome.assert_done().event("completed");
        let told = format!("is sent to {}; so far", desk.to);
        assert_eq!(outcome.err.contains(&told), resume, "{outcome:?}");
        assert_eq!(completed["document_id"], document);
        assert!(completed["sent_bytes"].as_u64() < Some(corpus.size() as u64), "{completed}");
        assert!(desk.state().uploads.is_empty(), "{:?}", desk.state());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_one_at_the_same_address_is_begun_with_anew() {
    let proxy_target = TestServer::start().await;
    let proxy = FaultProxy::start(proxy_target.address(), []).await;
    let address: SocketAddr = proxy.address();
    let corpus = Corpus::new(24 * BLOCK, 242);
    let desk = Desk::new(&proxy_target.site, &proxy_target.person, address);
    let document = begin(&desk, &proxy, &corpus).await;
    drop(proxy);

    // The address is the same, the data folder is not, and neither is the key.
    let bind = move || TcpListener::bind((Ipv4Addr::LOCALHOST, address.port())).unwrap();
    let other = TestServer::start_on(bind, |_| {}).await;
    std::fs::write(desk.path("token"), &other.person.token).unwrap();
    let entry = desk.state().uploads;
    for arguments in [vec!["status".to_owned()], vec!["cancel".to_owned()]] {
        let mut command = desk.command(&arguments[0]);
        command.arg(document.to_string());
        let outcome = run(command).await;
        assert_ne!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(desk.state().uploads, entry, "a number of another server's");
    }
    let mut resume = desk.command("resume");
    resume.arg(document.to_string());
    let outcome = run(resume).await;
    outcome.assert_code(1);
    assert!(outcome.err.contains("another server"), "{outcome:?}");
    assert_eq!(desk.state().uploads, entry);

    let outcome = run(desk.put(&desk.path("a.bin"))).await;
    assert!(outcome.assert_done().err.contains("another server"), "{outcome:?}");
    other.site.assert_published(&other.person, "a.bin", &corpus);
    assert_eq!(desk.state().uploads, entry, "the old one may come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_for_one_server_goes_to_no_other() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let files: Vec<_> = (0..3u64)
        .map(|n| {
            let name = format!("photos/{n}.bin");
            let corpus = Corpus::new(24 * BLOCK, 250 + n);
            desk.write(&name, &corpus);
            (name, corpus)
        })
        .collect();
    proxy.otherwise(Faults { delay: Duration::from_millis(10), ..Faults::none() });
    let mut sending = desk.start(desk.put(&desk.path("photos")));
    sending.until(|event| event["durable"].as_u64() > Some(0)).await;
    sending.signal(Signal::INT);
    sending.end().await.assert_code(3);
    proxy.otherwise(Faults::none());
    let before = desk.state();
    assert_eq!(before.jobs.len(), 1);

    std::fs::write(desk.path("others"), &other.person.token).unwrap();
    for more in [&[][..], &["--all"]] {
        let mut resume = desk.command("resume");
        resume.arg("--to").arg(other.address().to_string());
        resume.arg("--token-file").arg(desk.path("others")).args(more);
        let outcome = run(resume).await;
        outcome.assert_code(1);
        assert!(outcome.err.contains("nothing unfinished is known"), "{outcome:?}");
        assert_eq!(desk.state(), before, "the entry is as it was");
        for (name, _) in &files {
            assert!(!other.site.document(&other.person, name).exists(), "{name}");
        }
    }
    run(desk.command("resume")).await.assert_done();
    for (name, corpus) in &files {
        server.site.assert_published(&server.person, name, corpus);
    }
    assert!(desk.state().jobs.is_empty());
}
