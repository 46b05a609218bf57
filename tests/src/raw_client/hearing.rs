//! Takes what a raw client has read: the next item, the next of a kind, or everything up to the
//! end.

use super::RawClient;
use super::heard::Heard;
use crate::PATIENCE;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use towline_protocol::reply::Progress;
use towline_protocol::{Channel, Reply};

impl RawClient {
    /// The next item of any kind; nothing once the connection has ended, in order or not.
    ///
    /// # Panics
    /// Where the server keeps the connection open and sends nothing for
    /// [`PATIENCE`](crate::PATIENCE).
    pub async fn next(&mut self) -> Option<Heard> {
        let heard = if let Some(heard) = self.waiting.pop_front() {
            heard
        } else if let Ok(heard) = timeout(PATIENCE, self.inbox.recv()).await {
            let heard = heard?;
            self.log.push(format!("{heard:?}"));
            heard
        } else {
            self.fail("nothing comes").await
        };
        let is_end = matches!(heard, Heard::Closed | Heard::Reset(_) | Heard::Nonsense(_));
        (!is_end).then_some(heard)
    }

    /// The next item that is no progress, on any channel.
    pub async fn heard(&mut self) -> Heard {
        self.first("anything", |heard| !matches!(heard, Heard::Reply(Reply::Progress(_)))).await
    }

    /// The next message that is no progress.
    pub async fn reply(&mut self) -> Reply {
        match self.heard().await {
            Heard::Reply(reply) => reply,
            other => self.fail(&format!("no message but {other:?}")).await,
        }
    }

    /// The next message on a channel that is no progress.
    pub async fn reply_on(&mut self, channel: Channel) -> Reply {
        let what = format!("a reply on channel {channel}");
        let is_end =
            |heard: &Heard| matches!(heard, Heard::Closed | Heard::Reset(_) | Heard::Nonsense(_));
        let found = self.first(&what, |heard| {
            is_end(heard)
                || matches!(heard, Heard::Reply(reply)
                    if reply.channel() == channel && !matches!(reply, Reply::Progress(_)))
        });
        match found.await {
            Heard::Reply(reply) => reply,
            end => self.fail(&format!("{what} does not come but {end:?}")).await,
        }
    }

    /// The next progress on any channel.
    pub async fn progress(&mut self) -> Progress {
        self.progress_that("progress", |_| true).await
    }

    /// The next progress for which the condition is true; earlier ones are dropped.
    pub async fn progress_that(
        &mut self,
        what: &str,
        is_it: impl Fn(&Progress) -> bool,
    ) -> Progress {
        let found = self.first(
            what,
            |heard| matches!(heard, Heard::Reply(Reply::Progress(progress)) if is_it(progress)),
        );
        match found.await {
            Heard::Reply(Reply::Progress(progress)) => progress,
            other => unreachable!("{other:?} was not asked for"),
        }
    }

    /// Waits until the server closes the connection, and returns the items before that which the
    /// test has not asked for.
    ///
    /// # Panics
    /// Where the server does not close, or the connection ends with an error.
    pub async fn closed(&mut self) -> Vec<Heard> {
        let last = self.first("the end", |heard| {
            matches!(heard, Heard::Closed | Heard::Reset(_) | Heard::Nonsense(_))
        });
        match last.await {
            Heard::Closed => self.waiting.drain(..).collect(),
            other => self.fail(&format!("not closed in good order: {other:?}")).await,
        }
    }

    /// All remaining items until the connection ends, in order or not.
    pub async fn ended(&mut self) -> Vec<Heard> {
        let last = self.first("the end", |heard| {
            matches!(heard, Heard::Closed | Heard::Reset(_) | Heard::Nonsense(_))
        });
        let last = last.await;
        self.waiting.drain(..).chain([last]).collect()
    }

    /// All items that were read and not asked for, without waiting for more.
    pub fn heard_so_far(&mut self) -> Vec<Heard> {
        while let Ok(heard) = self.inbox.try_recv() {
            self.keep(heard);
        }
        self.waiting.drain(..).collect()
    }

    /// Pauses in good order: closes the sending half, and returns the last progress of each upload
    /// that the server reports before it closes.
    ///
    /// # Panics
    /// Where another item comes.
    pub async fn pause(mut self) -> Vec<Progress> {
        self.writer().shutdown().await.expect("the connection stands");
        let mut last: Vec<Progress> = Vec::new();
        for heard in self.closed().await {
            match heard {
                Heard::Reply(Reply::Progress(progress)) => {
                    last.retain(|earlier| earlier.document_id != progress.document_id);
                    last.push(progress);
                }
                other => panic!("the server pauses with {other:?}; {:#?}", self.log),
            }
        }
        last
    }

    /// All items that were read and not asked for, up to the first one for which the condition is
    /// true, which is the last of the list.
    pub async fn until(&mut self, what: &str, is_it: impl Fn(&Heard) -> bool) -> Vec<Heard> {
        let mut found = Vec::new();
        loop {
            found.push(self.first(what, |_| true).await);
            if found.last().is_some_and(&is_it) {
                return found;
            }
        }
    }

    pub(super) async fn first(&mut self, what: &str, wanted: impl Fn(&Heard) -> bool) -> Heard {
        if let Some(found) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(found).expect("it was found there");
        }
        loop {
            let Ok(next) = timeout(PATIENCE, self.inbox.recv()).await else {
                panic!("{what} does not come; heard so far: {:#?}", self.log);
            };
            let Some(heard) = next else {
                panic!("{what} cannot come, the connection has ended; heard: {:#?}", self.log);
            };
            self.log.push(format!("{heard:?}"));
            if wanted(&heard) {
                return heard;
            }
            self.waiting.push_back(heard);
        }
    }

    pub(super) fn keep(&mut self, heard: Heard) {
        self.log.push(format!("{heard:?}"));
        self.waiting.push_back(heard);
    }

    /// Ends the test with a list of all items. It waits a moment for further items, because most
    /// often they say why the test failed.
    pub(super) async fn fail(&mut self, why: &str) -> ! {
        let moment = Duration::from_millis(200);
        while let Ok(Some(heard)) = timeout(moment, self.inbox.recv()).await {
            self.keep(heard);
        }
        panic!("{why}; heard: {:#?}", self.log);
    }
}
