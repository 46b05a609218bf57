//! Questions to the server, and how long each may stay unanswered.

use super::{Connection, Incoming, Step, WaitFor, for_channel};
use crate::attempt_end::AttemptEnd;
use crate::long_work::{Advance, LongWork, done_bytes, slow_disk};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use towline_protocol::reply::Progress;
use towline_protocol::request::{DocumentRef, Resume, Upload};
use towline_protocol::{Channel, Reply, Request};
use towline_types::{ChainingValue, DocumentId};

/// How many bytes a server may send before it answers: replies about uploads that have ended.
const HEARD_BYTES_MAX: u64 = 16 << 20;

/// All frames of one answer together may take this many times the time of one answer.
const WHOLE_ANSWER: u32 = 10;

/// A question that is not answered yet.
struct Question {
    /// When it was asked, or when the work on the answer last advanced.
    asked: Instant,
    allowed: Duration,
    /// When all frames of the answer must be here, where it may have several.
    all_by: Option<Instant>,
    heard_bytes_max: u64,
    work: LongWork,
}

/// How long the server may work on an answer: it reserves room for an upload, or copies a file
/// that it has, at the rate of a slow disk.
fn work_of(request: &Request) -> Duration {
    match request {
        Request::Upload(Upload { filesize: Some(filesize), .. }) => slow_disk(filesize.get()),
        // The file may be complete, and the server copies it to another disk.
        Request::Resume(Resume { filesize: Some(filesize), .. }) => slow_disk(filesize.get()),
        _ => Duration::ZERO,
    }
}

impl Connection {
    /// Asks, and waits for the answer on the same channel. Replies on other channels, about
    /// uploads that have ended, are ignored.
    ///
    /// Cancel-safe in that a late answer is ignored: the next question has another channel.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Reply, AttemptEnd> {
        self.ask_and_watch(request, |_| {}).await
    }

    /// The same for a question on which the server works for a while: `watch` is called with its
    /// progress. The time for the answer restarts whenever the work advances.
    pub(crate) async fn ask_and_watch(
        &mut self,
        request: &Request,
        mut watch: impl FnMut(&Progress),
    ) -> Result<Reply, AttemptEnd> {
        self.queue(request);
        let mut question = self.question(work_of(request), 0);
        loop {
            match self.next_in_time(&mut question).await? {
                Step::Incoming(Incoming::Reply(reply)) => {
                    match for_channel(reply, request.channel())? {
                        Some(Reply::Progress(progress)) => {
                            watch(&progress);
                            if let Some(done_bytes) = done_bytes(request, &progress) {
                                self.work_reported(&mut question, done_bytes);
                            }
                        }
                        Some(reply) => return Ok(reply),
                        None => {}
                    }
                }
                Step::Incoming(Incoming::BlockList { channel, .. })
                    if channel != request.channel() => {}
                other => return Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
            }
        }
    }

    /// Asks a question whose answer may have several frames: `take` is called with each, and says
    /// whether it was the last. Each frame extends the time for the next one, but not without end.
    ///
    /// Cancel-safe in that a late answer is ignored: the next question has another channel.
    pub(crate) async fn ask_for_frames(
        &mut self,
        request: &Request,
        mut take: impl FnMut(Reply) -> Result<bool, AttemptEnd>,
    ) -> Result<(), AttemptEnd> {
        self.queue(request);
        let mut question = self.question(Duration::ZERO, 0);
        question.all_by = Some(question.asked + question.allowed * WHOLE_ANSWER);
        loop {
            match self.next_in_time(&mut question).await? {
                Step::Incoming(Incoming::Reply(reply)) => {
                    match for_channel(reply, request.channel())? {
                        Some(Reply::Error(error)) => return Err(AttemptEnd::refused(error)),
                        Some(Reply::Progress(_)) | None => {}
                        Some(reply) => {
                            if take(reply)? {
                                return Ok(());
                            }
                            question.asked = Instant::now();
                        }
                    }
                }
                Step::Incoming(Incoming::BlockList { channel, .. })
                    if channel != request.channel() => {}
                other => return Err(AttemptEnd::protocol(format!("unexpected: {other:?}"))),
            }
        }
    }

    /// A question that was just queued. Its answer may take `work` longer than others, and may
    /// have `answer_bytes` besides control messages.
    fn question(&self, work: Duration, answer_bytes: u64) -> Question {
        let allowed = self.timeouts.answer + work;
        let heard_bytes_max = self.heard_bytes.saturating_add(HEARD_BYTES_MAX + answer_bytes);
        let work = LongWork::default();
        Question { asked: Instant::now(), allowed, all_by: None, heard_bytes_max, work }
    }

    /// The server has said how far its work on the answer is.
    fn work_reported(&self, question: &mut Question, done_bytes: u64) {
        match question.work.reported(done_bytes) {
            Advance::Further => {
                question.asked = Instant::now();
                question.heard_bytes_max = self.heard_bytes.saturating_add(HEARD_BYTES_MAX);
            }
            Advance::Queued => question.asked = Instant::now(),
            Advance::None => {}
        }
    }

    /// The next step, while an answer is awaited. Replies to other questions do not extend the
    /// time for it; bytes of files that are still being written before the question do.
    ///
    /// Cancel-safe, as [`next`](Self::next) is.
    async fn next_in_time(&mut self, question: &mut Question) -> Result<Step, AttemptEnd> {
        loop {
            if self.heard_bytes > question.heard_bytes_max {
                let what = "the server says much, and nothing that was asked".to_owned();
                return Err(AttemptEnd::Garbled(crate::failure::Failure::Protocol(what)));
            }
            let next_by = question.asked.max(self.wrote) + question.allowed;
            let deadline = question.all_by.map_or(next_by, |all_by| all_by.min(next_by));
            if Instant::now() >= deadline && deadline < next_by {
                let what = "the server does not come to the end of an answer".to_owned();
                return Err(AttemptEnd::Lost(what));
            }
            if Instant::now() >= deadline {
                return Err(AttemptEnd::Lost("the server leaves a question unanswered".to_owned()));
            }
            // Cancel-safe.
            if let Ok(step) = timeout_at(deadline, self.next(WaitFor::Incoming)).await {
                return step;
            }
        }
    }

    /// Asks which blocks the server holds of a file with that many blocks.
    pub(crate) async fn held_blocks(
        &mut self,
        channel: Channel,
        document_id: DocumentId,
        count: u64,
    ) -> Result<BTreeMap<u64, ChainingValue>, AttemptEnd> {
        self.queue(&Request::Blocks(DocumentRef { channel, document_id }));
        // A value has 32 bytes, and a list of few values a head that is as long.
        let mut question = self.question(Duration::ZERO, count.saturating_mul(64));
        let mut held = BTreeMap::new();
        loop {
            match self.next_in_time(&mut question).await? {
                Step::Incoming(Incoming::BlockList { channel: on, first, values })
                    if on == channel =>
                {
                    // The list is bounded by the number of the file's blocks.
                    let beyond = first.get().saturating_add(values.len() as u64) > count;
                    let backwards =
                        held.last_key_value().is_some_and(|(last, _)| *last >= first.get());
                    if beyond || backwards {
                        return Err(AttemptEnd::protocol(
                            "a block list that does not fit the file",
                        ));
                    }
                    held.extend((first.get()..).zip(values));
                }
                Step::Incoming(
                    Incoming::BlockList { .. } | Incoming::Block { .. } | Incoming::Chunk { .. },
                )
                | Step::Room => {}
                Step::Incoming(Incoming::Reply(reply)) => match for_channel(reply, channel)? {
                    None | Some(Reply::Progress(_)) => {}
                    Some(Reply::Blocks(end)) => {
                        if end.count != held.len() as u64 || end.document_id != document_id {
                            return Err(AttemptEnd::protocol(
                                "a block list of another length than said",
                            ));
                        }
                        return Ok(held);
                    }
                    Some(Reply::Error(error)) => return Err(AttemptEnd::refused(error)),
                    Some(other) => {
                        return Err(AttemptEnd::protocol(format!("unexpected: {other:?}")));
                    }
                },
            }
        }
    }
}
