//! `towline demo`: the whole story, with a file of ours.

use towline_tests::corpus::{BLOCK, Corpus};
use towline_tests::desk::{Desk, run};
use towline_tests::process::towline;
use towline_tests::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn ends_well() {
    let server = TestServer::start().await;
    let desk = Desk::new(&server.site, &server.person, server.address());
    let file = desk.write("story.bin", &Corpus::new(3 * BLOCK + 5, 100));
    let mut demo = towline();
    demo.arg("demo").arg(file);
    let outcome = run(demo).await;
    for word in ["CUT", "KILLED", "resumed", "SUCCESS", "identical"] {
        assert!(outcome.assert_done().out.contains(word), "{outcome:#?}");
    }
    // Nothing of a log breaks the story.
    assert_eq!(outcome.err, "", "{outcome:#?}");
    assert!(!outcome.out.contains("WARN"), "{outcome:#?}");
}
