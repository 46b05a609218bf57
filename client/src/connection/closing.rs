//! The orderly end of a connection.

use super::{Connection, Incoming};
use crate::attempt_end::AttemptEnd;
use socket2::SockRef;
use std::convert::Infallible;
use std::net::Shutdown;
use tokio::time::timeout;
use towline_protocol::{Reply, Request};

impl Connection {
    /// Stops sending between two frames, asks a last question, says so by closing this
    /// side, and hands what the server says until it closes its own to `listen`. Waits no
    /// longer than patience allows.
    pub(crate) async fn close_gracefully(
        mut self,
        question: Option<Request>,
        mut listen: impl FnMut(Reply),
    ) {
        self.drop_queue();
        if let Some(question) = question {
            self.queue(&question);
        }
        // However it ends, there is nothing more to be done.
        let _ = timeout(self.timeouts.closing, self.drain(&mut listen)).await;
    }

    /// Ends with an error, as all connections do.
    async fn drain(&mut self, listen: &mut impl FnMut(Reply)) -> Result<Infallible, AttemptEnd> {
        let mut open = true;
        loop {
            if self.send_queue.is_empty() && open {
                SockRef::from(&self.stream).shutdown(Shutdown::Write)?;
                open = false;
            }
            while let Some(said) = self.decoded()? {
                if let Incoming::Reply(reply) = said {
                    listen(reply);
                }
            }
            let wrote = self.write_some();
            if self.read_some()? || wrote {
                // A server that talks without end must not keep this thread from its clock.
                tokio::task::consume_budget().await;
            } else {
                self.stream.ready(self.interest()).await?;
            }
        }
    }
}
