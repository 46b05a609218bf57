//! The orderly end of a connection.

use super::{Connection, Incoming};
use crate::attempt_end::AttemptEnd;
use std::convert::Infallible;
use tokio::time::timeout;
use towline_protocol::{Reply, Request};

impl Connection {
    /// Stops sending between two frames, asks a last question, and closes the sending half.
    /// `listen` is called with each reply until the server closes its half, or
    /// [`Timeouts::closing`](crate::timeouts::Timeouts::closing) is over.
    pub(crate) async fn close_gracefully(
        mut self,
        question: Option<Request>,
        mut listen: impl FnMut(Reply),
    ) {
        self.drop_queue();
        if let Some(question) = question {
            self.queue(&question);
        }
        // However the connection ends, no byte is sent on it any more.
        let _ = timeout(self.timeouts.closing, self.drain(&mut listen)).await;
    }

    /// Reads until the connection ends. It always ends with an error: the end of the server's
    /// half is one.
    async fn drain(&mut self, listen: &mut impl FnMut(Reply)) -> Result<Infallible, AttemptEnd> {
        let mut open = true;
        loop {
            if self.send_queue.is_empty() && open {
                self.stream.end_sending()?;
                open = false;
            }
            while let Some(said) = self.decoded()? {
                if let Incoming::Reply(reply) = said {
                    listen(reply);
                }
            }
            let wrote = self.write_some();
            if self.read_some()? || wrote {
                // A server that sends without end must not keep this thread from its timers.
                tokio::task::consume_budget().await;
            } else {
                self.stream.ready(self.interest()).await?;
            }
        }
    }
}
