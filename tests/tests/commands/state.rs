//! The client's notes: damaged, too new, too old.

use std::fs;
use towline_tests::corpus::Corpus;
use towline_tests::desk::{Desk, run};
use towline_tests::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn damaged_ones_are_set_aside_and_kept() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    fs::write(desk.state_path(), b"{\"uploads\": {\"1\":").unwrap();
    run(desk.put(&desk.write("a.bin", &Corpus::new(10, 80)))).await.assert_done();
    let kept = fs::read_dir(desk.path("")).unwrap().any(|entry| {
        entry.unwrap().file_name().to_string_lossy().starts_with("uploads_state.json.corrupt-")
    });
    assert!(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_towlines_are_left_alone() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    let later = b"{\"version\": 999, \"uploads\": {}}";
    fs::write(desk.state_path(), later).unwrap();
    let outcome = run(desk.put(&desk.write("a.bin", &Corpus::new(10, 81)))).await;
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.err.contains("uploads_state.json"), "{outcome:?}");
    assert_eq!(fs::read(desk.state_path()).unwrap(), later);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_a_byte_for_years_stay_until_their_server_says_so() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    let old = r#"{"version":1,"uploads":{"7":{"filename":"old.bin","total_size":10,"offset":5,
        "start_time":1000000,"last_chunk_time":1000000,"status":"paused"}}}"#;
    fs::write(desk.state_path(), old).unwrap();
    let listed = run(desk.command("uploads")).await;
    assert!(listed.assert_done().out.contains("old.bin"), "{listed:?}");
    run(desk.put(&desk.write("a.bin", &Corpus::new(10, 82)))).await.assert_done();
    assert!(desk.state().uploads.contains_key("7"), "this server was never asked about it");
}
