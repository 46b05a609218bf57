//! The server that is compared with the model.

use std::net::SocketAddr;
use towline_tests::process::ServerProcess;
use towline_tests::server::TestServer;
use towline_tests::site::{Site, TestUser};

pub(crate) enum Host {
    /// In the process of the test: it starts fast, and is never killed.
    Inside(Box<TestServer>),
    /// In a process of its own.
    Process(Site, Box<ServerProcess>),
}

impl Host {
    pub(crate) async fn inside() -> (Self, Vec<TestUser>) {
        let server = TestServer::start().await;
        let users = vec![server.user.clone(), server.site.add_user("bob").await];
        (Self::Inside(Box::new(server)), users)
    }

    pub(crate) async fn process() -> (Self, Vec<TestUser>) {
        let site = Site::new();
        let users = vec![site.add_user("ada").await, site.add_user("bob").await];
        let server = ServerProcess::start(&site).await;
        (Self::Process(site, Box::new(server)), users)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Inside(server) => server.address(),
            Self::Process(_, server) => server.address(),
        }
    }

    pub(crate) fn site(&self) -> &Site {
        match self {
            Self::Inside(server) => &server.site,
            Self::Process(site, _) => site,
        }
    }

    pub(crate) fn can_be_killed(&self) -> bool {
        matches!(self, Self::Process(..))
    }

    /// Stops in good order and starts again.
    pub(crate) async fn restart(&mut self) {
        match self {
            Self::Inside(server) => server.restart().await,
            Self::Process(_, server) => {
                server.signal(rustix::process::Signal::TERM);
                assert_eq!(server.ended().await.code(), Some(0), "{:#?}", server.said());
                server.start_again().await;
            }
        }
    }

    pub(crate) async fn kill_and_start_again(&mut self) {
        match self {
            Self::Inside(server) => server.restart().await,
            Self::Process(_, server) => server.kill_and_start_again().await,
        }
    }
}
