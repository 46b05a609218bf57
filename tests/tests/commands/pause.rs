//! Ctrl-C, and going on.

use rustix::process::Signal;
use std::time::Duration;
use towline_state::state_file::UploadsState;
use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::desk::{Desk, run};
use towline_tests::proxy::{FaultProxy, Faults};
use towline_tests::server::TestServer;

fn slowly() -> Faults {
    Faults { delay: Duration::from_millis(10), ..Faults::none() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_pauses_and_resume_goes_on() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    for (signal, name) in [(Signal::INT, "int.bin"), (Signal::TERM, "term.bin")] {
        let corpus = Corpus::new(24 * BLOCK, 40);
        proxy.otherwise(slowly());
        let mut put = desk.put(&desk.write(name, &corpus));
        put.arg("--again");
        let mut sending = desk.start(put);
        let progress = sending
            .until(|event| event["event"] == "progress" && event["received"].as_u64() > Some(0))
            .await;
        sending.signal(signal);
        let outcome = sending.end().await;
        outcome.assert_code(3);
        let paused = outcome.event("paused");
        assert!(paused["durable"].as_u64() >= progress["durable"].as_u64(), "{paused}");
        let state = desk.state();
        assert_eq!(state.uploads.len(), 1);
        let entry = state.uploads.values().next().unwrap();
        assert_eq!(Some(entry.offset.get()), paused["durable"].as_u64());

        proxy.otherwise(Faults::none());
        let listed = run(desk.command("uploads")).await;
        assert!(listed.assert_done().out.contains(name), "{listed:?}");
        let mut resume = desk.command("resume");
        resume.arg("--json");
        let resumed = run(resume).await;
        let sent = resumed.assert_done().event("completed")["sent_bytes"].as_u64().unwrap();
        assert_eq!(sent, corpus.size() as u64 - entry.offset.get(), "not a byte twice");
        server.site.assert_published(&server.person, name, &corpus);
    }
    let listed = run(desk.command("uploads")).await;
    assert!(listed.assert_done().out.contains("no unfinished uploads"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_paused_uploads_in_the_users_schema_on_both_sides() {
    let server = TestServer::start().await;
    let proxy = FaultProxy::start(server.address(), []).await;
    proxy.otherwise(slowly());
    let desk = Desk::new(&server.site, &server.person, proxy.address());
    let names = ["lecture_notes.pdf", "project.zip", "third.bin"];
    let corpora = [50, 51, 52].map(|salt| Corpus::new(24 * BLOCK, salt));
    for (name, corpus) in names.iter().zip(&corpora) {
        let mut sending = desk.start(desk.put(&desk.write(name, corpus)));
        sending
            .until(|event| event["event"] == "progress" && event["received"].as_u64() > Some(0))
            .await;
        sending.signal(Signal::INT);
        sending.end().await.assert_code(3);
    }
    let here = desk.state();
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
    let mut resume = desk.command("resume");
    resume.arg("--all");
    run(resume).await.assert_done();
    assert!(desk.state().uploads.is_empty());
    server.site.state_that("no uploads", |state| state.uploads.is_empty()).await;
    for (name, corpus) in names.iter().zip(&corpora) {
        server.site.assert_published(&server.person, name, corpus);
    }
}

const PAUSED: towline_state::state_file::EntryStatus =
    towline_state::state_file::EntryStatus::Paused;
