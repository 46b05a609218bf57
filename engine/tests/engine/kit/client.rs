//! A client with a session, and what it hears, as text.

use super::*;

/// A client with a session of several writers.
pub(crate) struct Client {
    session: Session,
    events: EventReceiver,
    buffers: Arc<BufferPool>,
}

impl Client {
    pub(crate) fn new(engine: &Engine, account: &Account, writers_max: usize) -> Self {
        let (session, events) = account.session(writers_max);
        Self { session, events, buffers: Arc::clone(engine.buffers()) }
    }

    /// Gives a writer a command; says what the session refuses.
    pub(crate) async fn try_tell(&mut self, tag: u32, command: Command) -> Result<bool, Rejection> {
        let Some(mut admitted) = self.session.admit(Tag(tag), command)? else { return Ok(false) };
        soon(admitted.granted()).await;
        self.session.push(admitted);
        self.session.release_held_back();
        Ok(true)
    }

    pub(crate) async fn tell(&mut self, tag: u32, command: Command) {
        assert!(self.try_tell(tag, command).await.unwrap(), "the command is dropped");
    }

    /// As [`tell`](Self::tell), and no thread is woken yet where that can be put off.
    pub(crate) async fn tell_held_back(&mut self, tag: u32, command: Command) {
        let mut admitted = self.session.admit(Tag(tag), command).unwrap().unwrap();
        soon(admitted.granted()).await;
        self.session.push(admitted);
    }

    /// The next event that is no report of progress.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            let event = soon(self.events.recv()).await.expect("the session has ended");
            if !matches!(event.kind, EventKind::Progress(_) | EventKind::AtWork { .. }) {
                return text(&event);
            }
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        soon(self.events.recv()).await.expect("the session has ended")
    }

    pub(crate) async fn ask(&mut self, tag: u32, command: Command) -> String {
        self.tell(tag, command).await;
        self.hear().await
    }

    /// What is said until all that was told to that writer is done.
    pub(crate) async fn settle(&mut self, tag: u32) -> Vec<String> {
        self.tell(tag, Command::Query(Query::Fence)).await;
        let mut heard = Vec::new();
        let fence = format!("{tag}: fence");
        loop {
            let event = self.hear().await;
            if event == fence {
                return heard;
            }
            heard.push(event);
        }
    }

    /// Begins, and returns the number of the document and the lease.
    pub(crate) async fn begin(&mut self, tag: u32, new: NewUpload) -> (DocumentId, Grant) {
        self.tell(tag, Command::Begin(Box::new(new))).await;
        self.granted().await
    }

    /// Waits for a grant.
    pub(crate) async fn granted(&mut self) -> (DocumentId, Grant) {
        loop {
            let event = self.event().await;
            match event.kind {
                EventKind::Granted(grant) => return (event.document.unwrap(), grant),
                EventKind::Progress(_) => {}
                _ => panic!("{}", text(&event)),
            }
        }
    }

    pub(crate) async fn data(&mut self, tag: u32, bytes: &[u8], part: Range<usize>) {
        for piece in pieces(part) {
            let buffer = buffer(&self.buffers, &bytes[piece.clone()]).await;
            let command = Command::Data { offset: offset(piece.start), buffer };
            let _ = self.try_tell(tag, command).await.unwrap();
        }
    }

    pub(crate) async fn data_at(&mut self, tag: u32, at: usize, bytes: &[u8]) {
        let buffer = buffer(&self.buffers, bytes).await;
        let _ = self.try_tell(tag, Command::Data { offset: offset(at), buffer }).await.unwrap();
    }

    pub(crate) async fn announce(&mut self, tag: u32, bytes: &[u8], number: u64) {
        let value = value_of(bytes, number);
        let _ = self.try_tell(tag, Command::Announce { index: index(number), value }).await;
    }

    pub(crate) async fn complete(&mut self, tag: u32) -> String {
        self.ask(tag, Command::Complete(CompleteRequest::default())).await
    }

    pub(crate) async fn resume(&mut self, tag: u32, id: DocumentId, mode: SendingMode) -> String {
        self.ask(tag, Command::Resume(Box::new(ResumeRequest::of(id, mode)))).await
    }

    pub(crate) async fn join(&mut self, tag: u32, id: DocumentId, lease: Generation) -> String {
        self.ask(tag, Command::Join { id, lease }).await
    }

    /// What is said of a small file in one command.
    pub(crate) async fn whole(&mut self, tag: u32, new: NewUpload, bytes: &[u8]) -> Vec<String> {
        let data = buffer(&self.buffers, bytes).await;
        let whole = WholeUpload { new, data, value: None, hash: None };
        self.tell(tag, Command::Whole(Box::new(whole))).await;
        self.settle(tag).await
    }

    /// Ends the session; returns the last events, those that were on their way first.
    pub(crate) async fn close(self, ending: Ending) -> Vec<String> {
        let Self { session, mut events, .. } = self;
        let closed = soon(session.close(ending)).await;
        let last = soon(closed.last_events()).await;
        let mut heard = Vec::new();
        while events.len() > 0 {
            let event = soon(events.recv()).await.unwrap();
            if !matches!(event.kind, EventKind::Progress(_)) {
                heard.push(text(&event));
            }
        }
        heard.extend(last.iter().map(text));
        heard
    }

    /// How many events wait to be received.
    pub(crate) fn waiting(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

fn long(length: Length) -> String {
    match length {
        Length::Declared(filesize) => filesize.to_string(),
        Length::Open { max } => format!("at most {max}"),
    }
}

/// An event in words.
pub(crate) fn text(event: &Event) -> String {
    let tag = event.tag.0;
    let about = event.document.map_or_else(String::new, |id| format!(" #{id}"));
    let said = match &event.kind {
        EventKind::Granted(grant) => {
            let unshared = if grant.lease.is_none() { ", unshared" } else { "" };
            format!(
                "granted {:?} at {} of {}{unshared}",
                grant.by,
                grant.offset,
                long(grant.length)
            )
        }
        EventKind::Withdrawn { offset, length } => {
            format!("withdrawn to {offset} of {}", long(*length))
        }
        EventKind::Progress(at) => {
            format!("progress {}/{} of {}", at.received, at.durable.get(), long(at.length))
        }
        EventKind::AtWork { position, copied } => {
            format!("at work {} of {}, copied {copied:?}", position.received, long(position.length))
        }
        EventKind::Completed { receipt, existing } => {
            let existing = if *existing { ", existing" } else { "" };
            let copied = if receipt.is_copy() { ", copied" } else { "" };
            let soon = if receipt.is_durable() { "" } else { ", not durable" };
            format!("completed {} ({}){existing}{copied}{soon}", receipt.path(), receipt.filesize())
        }
        EventKind::Answer(answer) => match &**answer {
            Answer::Fence => "fence".to_owned(),
            Answer::Found(found) => found_text(found),
            Answer::Status(status) => format!(
                "{} {}/{} of {}{}",
                status.phase,
                status.position.received,
                status.position.durable.get(),
                long(status.position.length),
                if status.is_active { ", active" } else { "" }
            ),
            Answer::ReceivedRanges(ranges) => format!("received {ranges:?}"),
            Answer::HeldBlocks { blocks, .. } => {
                let held: Vec<_> = blocks.iter().map(|(index, _)| index.get()).collect();
                format!("held {held:?}")
            }
        },
        EventKind::Cancelled => "cancelled".to_owned(),
        EventKind::Tree(answer) => format!("{answer:?}"),
        EventKind::Read(ReadEvent::Opened(Opened { filesize, range, .. })) => {
            format!("opened {}..{} of {filesize}", range.start, range.end)
        }
        EventKind::Read(ReadEvent::Piece(piece)) => {
            let value = piece.value().map_or_else(String::new, |(index, _)| format!(" of {index}"));
            format!("piece {}+{}{value}", piece.offset(), piece.bytes().len())
        }
        EventKind::Read(ReadEvent::End) => "end".to_owned(),
        EventKind::Rejected(rejection) => format!("rejected {:?}", rejection.kind),
        EventKind::Panicked => "panicked".to_owned(),
    };
    format!("{tag}: {said}{about}")
}

pub(crate) fn found_text(found: &Found) -> String {
    let unfinished = found.unfinished.map(|(id, durable)| (id.get(), durable.get().get()));
    format!(
        "found same_size={} same_place={:?} known={} unfinished={unfinished:?}",
        found.same_size,
        found.same_place.map(DocumentId::get),
        found.is_known
    )
}
