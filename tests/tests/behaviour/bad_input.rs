//! Input that a client must not send. Each test checks three things: the code of the answer,
//! whether the connection stays open, and that no new file is on the disk. `tests/BAD_INPUT.md` has
//! the whole list, with the test of each row.
//!
//! The rule: broken framing, and any error before the login, closes the connection. An invalid
//! request after the login is answered, and the connection stays; chunks for the refused channel
//! are read and dropped.

mod channels;
mod documents;
mod fields;
mod framing;
mod json;
mod limits;
mod login;
mod names;
mod table;
mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use towline_tests::raw_client::RawClient;
use towline_tests::server::TestServer;

/// A server, and the files of its data folder before the test began.
struct Watched {
    server: TestServer,
    before: BTreeMap<PathBuf, u64>,
}

impl Watched {
    async fn start() -> Self {
        Self::over(TestServer::start().await)
    }

    fn over(server: TestServer) -> Self {
        let before = server.site.on_disk();
        Self { server, before }
    }

    /// A connection that is not logged in.
    async fn stranger(&self) -> RawClient {
        RawClient::connect(self.server.address()).await
    }

    /// Checks that the server still answers, and that it has written no file and lists no upload.
    async fn assert_nothing_new(mut self) {
        let mut client = self.server.client().await;
        client.ping().await;
        self.server.stop().await;
        assert_eq!(self.server.site.on_disk(), self.before);
        assert!(self.server.site.state().uploads.is_empty());
    }
}

/// A server with one short time limit.
async fn hurried(tweak: fn(&mut towline_server::Timings)) -> TestServer {
    TestServer::start_with(move |config| tweak(&mut config.timings)).await
}

const SHORT: Duration = Duration::from_millis(300);
