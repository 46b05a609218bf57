//! Ctrl-C, and continuing afterwards.

use rustix::process::Signal;
use std::time::Duration;
use towline_state::state_file::UploadsState;
use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

fn slowly() -> Faults {
    Faults { delay: Duration::from_millis(10), ..Faults::none() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_pauses_and_resume_goes_on() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    for (signal, name) in [(Signal::INT, "int.bin"), (Signal::TERM, "term.bin")] {
        let test_file = TestFile::new(24 * BLOCK, 40);
        proxy.otherwise(slowly());
        let mut put = cli.put(&cli.write(name, &test_file));
        put.arg("--again");
        let mut sending = cli.start(put);
        let progress = sending
            .until(|event| event["event"] == "progress" && event["received"].as_u64() > Some(0))
            .await;
        sending.signal(signal);
        let outcome = sending.end().await;
        outcome.assert_code(3);
        let paused = outcome.event("paused");
        assert!(paused["durable"].as_u64() >= progress["durable"].as_u64(), "{paused}");
        let state = cli.state();
        assert_eq!(state.uploads.len(), 1);
        let entry = state.uploads.values().next().unwrap();
        assert_eq!(Some(entry.offset.get()), paused["durable"].as_u64());

        proxy.otherwise(Faults::none());
        let listed = run(cli.command("uploads")).await;
        assert!(listed.assert_done().out.contains(name), "{listed:?}");
        let mut resume = cli.command("resume");
        resume.arg("--json");
        let resumed = run(resume).await;
        let sent = resumed.assert_done().event("completed")["sent_bytes"].as_u64().unwrap();
        assert_eq!(sent, test_file.size() as u64 - entry.offset.get(), "not a byte twice");
        server.site.assert_published(&server.user, name, &test_file);
    }
    let listed = run(cli.command("uploads")).await;
    assert!(listed.assert_done().out.contains("no unfinished uploads"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_paused_uploads_in_the_users_schema_on_both_sides() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(slowly());
    let cli = CliFixture::new(&server.site, &server.user, proxy.address());
    let names = ["lecture_notes.pdf", "project.zip", "third.bin"];
    let corpora = [50, 51, 52].map(|salt| TestFile::new(24 * BLOCK, salt));
    for (name, test_file) in names.iter().zip(&corpora) {
        let mut sending = cli.start(cli.put(&cli.write(name, test_file)));
        sending
            .until(|event| event["event"] == "progress" && event["received"].as_u64() > Some(0))
            .await;
        sending.signal(Signal::INT);
        sending.end().await.assert_code(3);
    }
    let here = cli.state();
    let said = |state: &UploadsState| {
        state.uploads.len() == 3
            && here.uploads.iter().all(|(id, entry)| state.uploads[id].offset == entry.offset)
    };
    let there = server.site.state_that("three uploads, as far as the client knows", said).await;
    for (id, entry) in &here.uploads {
        let other = &there.uploads[id];
        assert_eq!(entry.filename, other.filename);
        assert_eq!((entry.total_size, entry.offset), (other.total_size, other.offset));
        assert_eq!((entry.user_id, entry.chunk_size), (other.user_id, other.chunk_size));
        assert_eq!((entry.status, other.status), (PAUSED, PAUSED));
        assert!(entry.start_time.is_some() && entry.last_chunk_time.is_some());
        assert!(other.start_time.is_some() && other.last_chunk_time.is_some());
    }
    proxy.otherwise(Faults::none());
    let mut resume = cli.command("resume");
    resume.arg("--all");
    run(resume).await.assert_done();
    assert!(cli.state().uploads.is_empty());
    server.site.state_that("no uploads", |state| state.uploads.is_empty()).await;
    for (name, test_file) in names.iter().zip(&corpora) {
        server.site.assert_published(&server.user, name, test_file);
    }
}

const PAUSED: towline_state::state_file::EntryStatus =
    towline_state::state_file::EntryStatus::Paused;
