//! A server with the HTTP door.

use towline_server::Config;
use towline_tests::http_client::HttpClient;
use towline_tests::server::TestServer;

/// The chunk size that the server tells, in bytes.
pub(crate) const CHUNK: usize = 8 << 20;

pub(crate) async fn server() -> (TestServer, HttpClient) {
    server_with(|_| {}).await
}

pub(crate) async fn server_with(
    tweak: impl Fn(&mut Config) + Send + Sync + 'static,
) -> (TestServer, HttpClient) {
    let server = TestServer::start_with_http(tweak).await;
    let client = HttpClient::new(server.address(), &server.user.token);
    (server, client)
}
