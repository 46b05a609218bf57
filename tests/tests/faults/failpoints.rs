//! Checks that the failpoints of the server do what the crash tests need.

use std::os::unix::process::ExitStatusExt as _;
use towline_tests::process::Launch;
use towline_tests::site::Site;

#[tokio::test]
async fn a_server_dies_where_it_is_told_to_and_starts_where_it_is_not() {
    let site = Site::new();
    let ended = Launch::over(&site).failpoints("recovery.begun=kill").try_start().await;
    let status = ended.expect_err("it dies in recovery").status.expect("a status");
    assert_eq!(status.signal(), Some(9), "{status:?}");
    Launch::over(&site).failpoints("recovery.begun=kill@2").start().await.gone().await;
}
