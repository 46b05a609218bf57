//! Whole exchanges: a request, and the answer that the test expects. Any other answer fails
//! the test.

use super::heard::Heard;
use super::requests::{about, offset};
use super::{RawClient, ZERO};
use crate::PATIENCE;
use std::time::Instant;
use towline_protocol::reply::{Blocks, Cancelled, Found, Granted, Status, Success};
use towline_protocol::request::{Complete, Find, Join, Ping, Resume, Upload, Withdraw};
use towline_protocol::{Channel, Code, ErrorReply, Reply, Request};
use towline_types::{BlockIndex, ChainingValue, DocumentId};

impl RawClient {
    /// `upload`, which must be granted.
    pub async fn upload(&mut self, upload: Upload) -> Granted {
        self.answer(&Request::Upload(upload), "the upload is not granted", |reply| match reply {
            Reply::Upload(granted) => Ok(granted),
            other => Err(other),
        })
        .await
    }

    /// `upload`, which must be refused with this code.
    pub async fn upload_refused(&mut self, upload: Upload, code: Code) -> ErrorReply {
        self.refused(&Request::Upload(upload), code).await
    }

    /// `resume`, which must be granted.
    pub async fn resume(&mut self, resume: Resume) -> Granted {
        self.answer(&Request::Resume(resume), "the resume is not granted", |reply| match reply {
            Reply::Resume(granted) => Ok(granted),
            other => Err(other),
        })
        .await
    }

    /// `resume`, which must be refused with this code.
    pub async fn resume_refused(&mut self, resume: Resume, code: Code) -> ErrorReply {
        self.refused(&Request::Resume(resume), code).await
    }

    /// `join`, which must be granted.
    pub async fn join(&mut self, join: Join) -> Granted {
        self.answer(&Request::Join(join), "the join is not granted", |reply| match reply {
            Reply::Join(granted) => Ok(granted),
            other => Err(other),
        })
        .await
    }

    /// `join`, which must be refused with this code.
    pub async fn join_refused(&mut self, join: Join, code: Code) -> ErrorReply {
        self.refused(&Request::Join(join), code).await
    }

    /// Sends a request, and takes the answer on its channel, which must be of the expected kind.
    pub(super) async fn answer<T>(
        &mut self,
        request: &Request,
        otherwise: &str,
        wanted: impl FnOnce(Reply) -> Result<T, Reply>,
    ) -> T {
        self.send(request).await;
        match wanted(self.reply_on(request.channel()).await) {
            Ok(answer) => answer,
            Err(other) => self.fail(&format!("{otherwise} but {other:?}")).await,
        }
    }

    pub(super) async fn refused(&mut self, request: &Request, code: Code) -> ErrorReply {
        self.send(request).await;
        self.error_on(request.channel(), code).await
    }

    /// `complete` on that channel, which must be answered with `SUCCESS`.
    pub async fn complete(&mut self, channel: Channel) -> Success {
        self.complete_with(Complete { channel, ..Complete::default() }).await
    }

    /// `complete`, which must be answered with `SUCCESS`.
    pub async fn complete_with(&mut self, complete: Complete) -> Success {
        let channel = complete.channel;
        self.send(&Request::Complete(complete)).await;
        self.success_on(channel).await
    }

    /// Takes the next reply on that channel, which must be `SUCCESS`.
    pub async fn success_on(&mut self, channel: Channel) -> Success {
        match self.reply_on(channel).await {
            Reply::Success(success) => success,
            other => self.fail(&format!("no SUCCESS but {other:?}")).await,
        }
    }

    /// `complete`, which must be refused with this code.
    pub async fn complete_refused(&mut self, complete: Complete, code: Code) -> ErrorReply {
        self.refused(&Request::Complete(complete), code).await
    }

    /// Takes the next reply on channel 0, which must be an error with this code.
    pub async fn error(&mut self, code: Code) -> ErrorReply {
        self.error_on(ZERO, code).await
    }

    /// Takes the next reply on that channel, which must be an error with this code. The number of
    /// the error, and whether a retry can help, must be those of the table.
    pub async fn error_on(&mut self, channel: Channel, code: Code) -> ErrorReply {
        match self.reply_on(channel).await {
            Reply::Error(error) if error.code == code => {
                assert_eq!(error.number, code.number(), "{error:?}");
                assert_eq!(error.retry, code.can_retry(), "{error:?}");
                assert!((1..=1024).contains(&error.message.len()), "{error:?}");
                error
            }
            other => self.fail(&format!("no `{code}` on channel {channel} but {other:?}")).await,
        }
    }

    /// `status`.
    pub async fn status(&mut self, document_id: DocumentId) -> Status {
        self.answer(&Request::Status(about(document_id)), "no status", |reply| match reply {
            Reply::Status(status) => Ok(status),
            other => Err(other),
        })
        .await
    }

    /// `find`.
    pub async fn find(&mut self, find: Find) -> Found {
        self.answer(&Request::Find(find), "no answer to find", |reply| match reply {
            Reply::Find(found) => Ok(found),
            other => Err(other),
        })
        .await
    }

    /// `cancel`.
    pub async fn cancel(&mut self, document_id: DocumentId) -> Cancelled {
        self.answer(&Request::Cancel(about(document_id)), "not cancelled", |reply| match reply {
            Reply::Cancel(cancelled) => Ok(cancelled),
            other => Err(other),
        })
        .await
    }

    /// `withdraw` of these blocks: each range has its first block and its number of blocks.
    pub async fn withdraw(&mut self, channel: Channel, ranges: &[(usize, u64)]) -> Granted {
        let index = |first: usize| BlockIndex::new(first as u64).expect("a block in memory");
        let ranges = ranges.iter().map(|&(first, count)| (index(first), count)).collect();
        self.answer(
            &Request::Withdraw(Withdraw { channel, ranges }),
            "nothing withdrawn",
            |reply| match reply {
                Reply::Withdraw(granted) => Ok(granted),
                other => Err(other),
            },
        )
        .await
    }

    /// `blocks`: the blocks that the server holds, with their values. The count
    /// and the order of the lists are checked.
    pub async fn blocks(&mut self, document_id: DocumentId) -> Vec<(usize, ChainingValue)> {
        self.send(&Request::Blocks(about(document_id))).await;
        let mut held: Vec<(usize, ChainingValue)> = Vec::new();
        loop {
            match self.heard().await {
                Heard::BlockList(_, first, values) => {
                    let first = usize::try_from(first.get()).expect("a block in memory");
                    if let Some((last, _)) = held.last() {
                        assert!(first > *last, "block lists ascend");
                    }
                    held.extend(
                        values.into_iter().enumerate().map(|(i, value)| (first + i, value)),
                    );
                }
                Heard::Reply(Reply::Blocks(Blocks { count, .. })) => {
                    assert_eq!(count, held.len() as u64, "as many as are counted");
                    return held;
                }
                other => self.fail(&format!("no block list but {other:?}")).await,
            }
        }
    }

    /// Sends `ping` and waits for the answer: then the connection works, and the server has read
    /// everything that was sent before, though it may not have carried it out.
    pub async fn ping(&mut self) {
        // A channel of its own, so that the answer is not mistaken for another one.
        let channel = Channel(u32::MAX);
        self.send(&Request::Ping(Ping { channel })).await;
        match self.reply_on(channel).await {
            Reply::Ping(_) => {}
            other => self.fail(&format!("ping is answered by {other:?}")).await,
        }
    }

    /// Waits until the server reports that it holds this number of bytes of an upload. An answer to
    /// `ping` does not show that, because it may come before the report.
    pub async fn has_received(&mut self, document_id: DocumentId, bytes: usize) {
        let began = Instant::now();
        while self.status(document_id).await.received < offset(bytes) {
            if began.elapsed() > PATIENCE {
                self.fail(&format!("{bytes} bytes are never received")).await;
            }
        }
    }

    /// Waits until the server says that this number of bytes of an upload is durable.
    pub async fn has_durable(&mut self, document_id: DocumentId, bytes: usize) {
        let began = Instant::now();
        while self.status(document_id).await.durable < offset(bytes) {
            if began.elapsed() > PATIENCE {
                self.fail(&format!("{bytes} bytes never become durable")).await;
            }
        }
    }
}
