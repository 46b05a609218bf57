//! `towline put` on a good day.

use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::desk::{Desk, run};
use towline_tests::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_published_and_said_so() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    for (size, name) in [(0, "empty"), (1, "one"), (BLOCK, "block"), (3 * BLOCK + 7, "more.bin")] {
        let corpus = Corpus::new(size, 1);
        let mut put = desk.put(&desk.write(name, &corpus));
        put.arg("--verbose");
        let outcome = run(put).await;
        outcome.assert_done();
        assert!(outcome.out.contains(&corpus.hash().to_string()), "{outcome:?}");
        server.site.assert_published(&server.person, name, &corpus);
    }
    assert!(desk.state().uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_one_event_a_line() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    let corpus = Corpus::new(2 * BLOCK + 5, 2);
    let mut put = desk.put(&desk.write("a.bin", &corpus));
    put.arg("--json");
    let outcome = run(put).await;
    let names: Vec<_> =
        outcome.events().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.first().map(String::as_str), Some("started"));
    assert_eq!(names.last().map(String::as_str), Some("summary"));
    assert_eq!(outcome.event("completed")["blake3"], corpus.hash().to_string());
    assert_eq!(outcome.event("completed")["sent_bytes"], corpus.size());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_put_as_it_is() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    let (a, b) = (Corpus::new(1000, 3), Corpus::new(2000, 4));
    desk.write("papers/a.txt", &a);
    desk.write("papers/deep/er/b.txt", &b);
    let names = ["papers/.env", "papers/.git/config", "papers/..a", "papers/.staging/1.tmp"];
    for (name, seed) in names.into_iter().zip(41..) {
        desk.write(name, &Corpus::new(100, seed));
    }
    desk.write("papers/con", &a);
    std::os::unix::fs::symlink("/etc/passwd", desk.path("papers/link")).unwrap();
    let outcome = run(desk.put(&desk.path("papers"))).await;
    // One name is refused with its reason, the link passed over; the rest goes.
    outcome.assert_code(1);
    assert!(outcome.err.contains("papers/con"), "{outcome:?}");
    for (name, seed) in names.into_iter().zip(41..) {
        server.site.assert_published(&server.person, name, &Corpus::new(100, seed));
    }
    server.site.assert_published(&server.person, "papers/a.txt", &a);
    server.site.assert_published(&server.person, "papers/deep/er/b.txt", &b);
    assert!(!server.site.document(&server.person, "papers/link").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_not_sent_again() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    let corpus = Corpus::new(BLOCK + 9, 5);
    let file = desk.write("a.bin", &corpus);
    run(desk.put(&file)).await.assert_done();
    let mut put = desk.put(&file);
    put.arg("--json");
    let again = run(put).await;
    let completed = again.assert_done().event("completed");
    assert_eq!(completed["existing"], true);
    assert_eq!(completed["sent_bytes"], 0);
    assert_eq!(completed["document_id"], 1);

    let mut put = desk.put(&file);
    put.args(["--again", "--json"]);
    let sent = run(put).await;
    assert_eq!(sent.assert_done().event("completed")["filename"], "a (1).bin");

    // The same length, other bytes.
    let other = Corpus::new(BLOCK + 9, 6);
    let outcome = run(desk.put(&desk.write("b.bin", &other))).await;
    outcome.assert_done();
    server.site.assert_published(&server.person, "b.bin", &other);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_name_is_never_overwritten() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    let (first, second) = (Corpus::new(100, 7), Corpus::new(200, 8));
    run(desk.put(&desk.write("a.bin", &first))).await.assert_done();
    let mut put = desk.put(&desk.write("a.bin", &second));
    put.args(["--on-conflict", "reject"]);
    let outcome = run(put).await;
    outcome.assert_code(1);
    run(desk.put(&desk.path("a.bin"))).await.assert_done();
    server.site.assert_published(&server.person, "a.bin", &first);
    server.site.assert_published(&server.person, "a (1).bin", &second);
}
