//! `towline demo`: the whole demo, with a file of the test.

use towline_tests::cli_fixture::{CliFixture, run};
use towline_tests::process::towline;
use towline_tests::server::TestServer;
use towline_tests::test_file::{BLOCK, TestFile};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_well() {
    let server = TestServer::start().await;
    let cli = CliFixture::new(&server.site, &server.user, server.address());
    let file = cli.write("story.bin", &TestFile::new(3 * BLOCK + 5, 100));
    let mut demo = towline();
    demo.arg("demo").arg(file);
    let outcome = run(demo).await;
    for word in ["CUT", "KILLED", "resumed", "SUCCESS", "identical"] {
        assert!(outcome.assert_done().out.contains(word), "{outcome:#?}");
    }
    // No log line appears in the output.
    assert_eq!(outcome.err, "", "{outcome:#?}");
    assert!(!outcome.out.contains("WARN"), "{outcome:#?}");
}
