//! The upload of one file, over as many connections as it takes.

mod agree;
mod headway;
mod mending;
mod pace;
mod position;
mod sending;
mod strands;

use crate::connection::{Connection, Patience};
use crate::document::Document;
use crate::events::{Event, Listener, Receipt, Standing};
use crate::failure::{Failure, Kept};
use crate::parallel::Parallel;
use crate::proof::Proof;
use crate::route::Route;
use crate::source::{Sameness, Source};
use crate::stop::Stop;
use crate::token::Token;
use crate::uploads::{Granted, Uploads};
use headway::Headway;
use position::Position;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use towline_protocol::reply::{Progress, Success};
use towline_protocol::request::DocumentRef;
use towline_protocol::{Channel, Reply, Request};
use towline_state::state_file::KnownServer;
use towline_types::block::{BLOCK_SIZE_BYTES, block_count, hash_file};
use towline_types::{
    ChainingValue, DocumentId, FileHash, FileSize, Generation, Name, Offset, OnConflict, StoreId,
    UserId,
};

/// How a file is to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// The payload of a chunk in bytes; the server's proposal where absent.
    pub chunk_bytes: Option<u32>,
    /// What to do where the name is taken; `None` leaves what was said when the
    /// upload began.
    pub on_conflict: Option<OnConflict>,
    /// Upload even if the same bytes are there already.
    pub again: bool,
    /// Go on with this very upload, where it still exists.
    pub document_id: Option<DocumentId>,
    /// Over how many connections.
    pub parallel: Parallel,
}

/// How often client and server may find that they differ about how far the
/// upload is before that is taken for a fault.
const REALIGNMENTS: u32 = 8;

/// How often the listener is told how much of a local file has been read to compare it.
const CHECK_TOLD_EVERY: Duration = Duration::from_millis(200);

/// What an attempt works with, besides the transfer itself.
pub(crate) struct Means<'a> {
    pub(crate) link: &'a mut Connection,
    pub(crate) uploads: &'a Uploads,
    pub(crate) route: &'a Route,
    /// What is known of the server there.
    pub(crate) server: &'a KnownServer,
    pub(crate) token: &'a Token,
    pub(crate) patience: Patience,
    pub(crate) token_file: Option<&'a PathBuf>,
    pub(crate) listener: Listener<'a>,
}

/// One file on its way. Everything that must outlive a connection is here, so
/// an [`attempt`](Self::attempt) may end, or be dropped, at any moment.
pub(crate) struct Transfer {
    document: Document,
    options: PutOptions,
    source: Arc<Source>,
    /// The values of the local file's blocks: as read, or proven by what an earlier
    /// run wrote down. Never merely believed of the server: another client may have
    /// gone on with the upload.
    values: Vec<Option<ChainingValue>>,
    /// What an earlier run wrote down.
    proof: Option<Proof>,
    /// The state file was asked.
    looked_up: bool,
    /// An upload that cannot be gone on with.
    gone: Option<DocumentId>,
    /// Another run began the upload.
    inherited: bool,
    /// The state file was told of the upload.
    is_listed: bool,
    /// The file is longer than when the upload began, and the server does not know yet.
    grows: bool,
    /// The whole file is on its way to the server already, perhaps.
    was_thrown: bool,
    /// The server takes equal bytes elsewhere for the file: its hash is not said again.
    is_sent_anyway: bool,
    document_id: Option<DocumentId>,
    /// The store that it was begun in, where the server has said which one it has.
    store: Option<StoreId>,
    /// Where the state file believes the upload stands.
    believed: Option<Offset>,
    channel: Channel,
    /// The lease under which the channel writes, where the server has told.
    lease: Option<Generation>,
    position: Position,
    headway: Headway,
    /// Something became durable in the last attempt that had not been before.
    made_headway: bool,
    /// Bytes were sent in the last attempt, and the server had none of them.
    was_in_vain: bool,
    /// How much of a begun block is there, where the server said so.
    fills: BTreeMap<u64, u64>,
    /// What earlier attempts of this run have sent on their main connections.
    sent_before_bytes: u64,
    sent_here: SentHere,
    /// What connections besides the main ones have sent in this run.
    strands_sent_bytes: Arc<AtomicU64>,
}

/// What this attempt has sent on its main connection.
#[derive(Debug, Default)]
struct SentHere {
    /// What the connection had sent of other files before.
    before_bytes: u64,
    bytes: u64,
}

impl Transfer {
    pub(crate) fn new(document: Document, source: Source, options: PutOptions) -> Self {
        let blocks = usize::try_from(block_count(source.filesize())).unwrap_or(usize::MAX);
        Self {
            document,
            options,
            source: Arc::new(source),
            values: vec![None; blocks],
            proof: None,
            looked_up: false,
            gone: None,
            inherited: false,
            is_listed: false,
            grows: false,
            was_thrown: false,
            is_sent_anyway: false,
            document_id: None,
            store: None,
            believed: None,
            channel: Channel::default(),
            lease: None,
            position: Position::at(Offset::ZERO),
            headway: Headway::default(),
            made_headway: false,
            was_in_vain: false,
            fills: BTreeMap::new(),
            sent_before_bytes: 0,
            sent_here: SentHere::default(),
            strands_sent_bytes: Arc::default(),
        }
    }

    /// This run has begun that upload already.
    pub(crate) fn go_on_with(&mut self, document_id: DocumentId) {
        self.document_id = Some(document_id);
        self.looked_up = true;
    }

    /// This run has sent all of it, and the server may publish it any moment.
    pub(crate) fn look_for_all_of_it(&mut self) {
        self.was_thrown = true;
    }

    /// Uploads over one connection, from wherever it stands to the receipt.
    pub(crate) async fn attempt(&mut self, mut means: Means<'_>) -> Result<Receipt, Stop> {
        let (before, received) = (means.link.payload_bytes(), self.position.received());
        self.sent_before_bytes += std::mem::take(&mut self.sent_here).bytes;
        self.sent_here.before_bytes = before;
        let ended = self.try_until_agreed(&mut means).await;
        self.count_sent(means.link);
        let sent_here_bytes = std::mem::take(&mut self.sent_here).bytes;
        self.sent_before_bytes += sent_here_bytes;
        let sent_bytes = self.sent_bytes();
        self.made_headway = self.headway.was_made(sent_bytes);
        self.was_in_vain = sent_here_bytes > 0 && self.position.received() <= received;
        ended.map(|success| Receipt::of(&self.document, success, sent_bytes))
    }

    async fn try_until_agreed(&mut self, means: &mut Means<'_>) -> Result<Success, Stop> {
        for _ in 0..REALIGNMENTS {
            match self.agree(means).await? {
                agree::Agreed::Done(success) => return Ok(success),
                agree::Agreed::Granted(plan) => {
                    let written = means.uploads.granted(self.entry(means));
                    self.is_listed = true;
                    let sent = self.send(means, plan).await;
                    if let Err(error) = written.await {
                        self.notice(means, Failure::from(error).to_string());
                    }
                    match sent {
                        Ok(success) => return self.conclude(means, success).await,
                        Err(Stop::Realign) => {}
                        Err(stop) => return Err(stop),
                    }
                }
            }
        }
        Err(Stop::Lost("client and server could not agree on how far the upload is".to_owned()))
    }

    /// The last question before a pause. Its answer tells that the server has dealt with all
    /// that was sent; nothing where no upload has begun.
    pub(crate) fn last_question(&self) -> Option<Request> {
        let (document_id, channel) = (self.document_id?, self.channel);
        Some(Request::Status(DocumentRef { channel, document_id }))
    }

    /// Takes in a reply that comes after the sending was stopped.
    pub(crate) fn hear(&mut self, reply: &Reply) {
        match reply {
            Reply::Progress(progress) => {
                self.progressed(progress);
            }
            Reply::Status(status) if status.channel == self.channel => self.position.rests(),
            _ => {}
        }
    }

    /// Takes in how much the connection has sent of this file.
    fn count_sent(&mut self, link: &Connection) {
        self.sent_here.bytes = link.payload_bytes() - self.sent_here.before_bytes;
    }

    /// The bytes of the file that this run has sent, repetitions included.
    fn sent_bytes(&self) -> u64 {
        let by_strands = self.strands_sent_bytes.load(Ordering::Relaxed);
        self.sent_before_bytes + self.sent_here.bytes + by_strands
    }

    /// Whether something became durable since this was last asked that had not been before.
    pub(crate) fn take_headway(&mut self) -> bool {
        std::mem::take(&mut self.made_headway)
    }

    /// Whether bytes were sent since this was last asked, and the server had none of them.
    pub(crate) fn take_in_vain(&mut self) -> bool {
        std::mem::take(&mut self.was_in_vain)
    }

    pub(crate) fn local(&self) -> &PathBuf {
        &self.document.local
    }

    pub(crate) fn kept(&self) -> Option<Kept> {
        let filesize = self.source.filesize();
        Some(Kept {
            document_id: self.document_id?,
            durable: self.position.durable(),
            safe_bytes: self.position.safe_bytes(filesize),
            filesize,
            sent_bytes: self.sent_bytes(),
        })
    }

    pub(crate) fn standing(&self) -> Option<Standing> {
        Some(Standing {
            path: self.document.local.clone(),
            document_id: self.document_id?,
            filename: self.document.remote.filename().to_string(),
            folder: self.folder(),
            filesize: self.filesize(),
            received: self.position.received(),
            durable: self.position.durable(),
            held_bytes: self.position.held_bytes(self.filesize()),
            safe_bytes: self.position.safe_bytes(self.filesize()),
            sent_bytes: self.sent_bytes(),
            progress: Progress::words(self.position.received(), self.filesize()),
        })
    }

    pub(crate) fn filesize(&self) -> FileSize {
        self.source.filesize()
    }

    fn folder(&self) -> Vec<String> {
        self.document.remote.folder().iter().map(Name::to_string).collect()
    }

    fn filename(&self) -> String {
        self.document.remote.filename().to_string()
    }

    /// Whether what the server speaks of lies where this file was to go.
    fn is_in_place(&self, success: &Success) -> bool {
        let on_conflict = self.options.on_conflict.unwrap_or_default();
        crate::place::is_allowed(success, &self.document.remote, on_conflict)
    }

    fn user(means: &Means<'_>) -> UserId {
        means.link.welcome().user_id
    }

    fn chunk_bytes(&self, means: &Means<'_>) -> u32 {
        let welcome = means.link.welcome();
        self.options.chunk_bytes.unwrap_or(welcome.chunk_size).clamp(1, welcome.max_chunk_size)
    }

    fn entry(&self, means: &Means<'_>) -> Granted {
        Granted {
            document_id: self.document_id.unwrap_or(DocumentId::MIN),
            server: means.server.clone(),
            remote: self.document.remote.clone(),
            local: self.source.path().to_owned(),
            filesize: self.filesize(),
            modified: self.source.modified(),
            chunk_bytes: self.chunk_bytes(means),
            user_id: Self::user(means),
            offset: self.position.durable(),
            token_file: means.token_file.cloned(),
            proof: self.proof_now(),
        }
    }

    /// What a later run may count on.
    pub(crate) fn proof_now(&self) -> Proof {
        Proof::of(self.source.identity(), &self.values, self.position.durable())
    }

    /// Whether the progress is about this upload and can be true.
    fn progressed(&mut self, progress: &Progress) -> bool {
        let legal = Some(progress.document_id) == self.document_id
            && progress.channel == self.channel
            && progress.durable <= progress.received
            && progress.received <= self.filesize().end();
        if legal {
            self.headway.durable(progress.durable.get());
            self.position.reported(progress.received, progress.durable);
        }
        legal
    }

    /// The last step: the hash there is the hash here, and only then is the
    /// upload forgotten.
    async fn conclude(&mut self, means: &mut Means<'_>, success: Success) -> Result<Success, Stop> {
        if success.filesize != self.filesize() {
            return Err(Stop::protocol("SUCCESS for a file of another size"));
        }
        if !self.is_in_place(&success) {
            let place = crate::place::words(&success);
            return Err(Stop::protocol(format!("SUCCESS for another place: {place}")));
        }
        let here = self.hash(means).await?;
        let document_id = success.document_id;
        if success.blake3 != here {
            let there = success.blake3;
            return Err(Failure::OtherHash { document_id, there, here }.into());
        }
        if let Some(known) = self.document_id
            && let Err(error) = means.uploads.remove(means.server, known).await
        {
            self.notice(means, Failure::from(error).to_string());
        }
        Ok(success)
    }

    /// The hash of the whole file, reading only blocks of unknown value.
    async fn hash(&mut self, means: &mut Means<'_>) -> Result<FileHash, Stop> {
        self.hash_local(means, |_| true).await?;
        Ok(hash_file(self.filesize(), self.values.iter().copied().flatten()))
    }

    /// Reads and hashes those of the wanted blocks whose value is unknown.
    async fn hash_local(
        &mut self,
        means: &mut Means<'_>,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<(), Stop> {
        let needed: Vec<bool> = (0..)
            .zip(&self.values)
            .map(|(number, value)| value.is_none() && wanted(number))
            .collect();
        if !needed.contains(&true) {
            return Ok(());
        }
        let wanted_blocks = needed.iter().filter(|needed| **needed).count() as u64;
        let bytes = (wanted_blocks * BLOCK_SIZE_BYTES).min(self.filesize().get());
        let path = self.document.local.clone();
        let begun = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&begun);
        let stop = CancellationToken::new();
        // The reading thread stops when this future is dropped.
        let _guard = stop.clone().drop_guard();
        let found = {
            let reading = self.blocking(move |source| {
                let mut values = vec![None; needed.len()];
                let wanted = |number| {
                    let needed = usize::try_from(number).ok().and_then(|n| needed.get(n));
                    let needed = needed.is_some_and(|needed| *needed);
                    counter.fetch_add(u64::from(needed), Ordering::Relaxed);
                    needed
                };
                source.hash_blocks(&mut values, wanted, || stop.is_cancelled()).map(|()| values)
            });
            tokio::pin!(reading);
            loop {
                // The block that was begun last is not read yet.
                let blocks = begun.load(Ordering::Relaxed).saturating_sub(1);
                let checked_bytes = (blocks * BLOCK_SIZE_BYTES).min(bytes);
                (means.listener)(Event::Checking { path: path.clone(), bytes, checked_bytes });
                tokio::select! {
                    // Cancel-safe: the reading goes on where it is.
                    found = &mut reading => break found,
                    () = tokio::time::sleep(CHECK_TOLD_EVERY) => {}
                }
            }
        };
        let found = found.map_err(|error| self.unreadable(error))?;
        for (value, found) in self.values.iter_mut().zip(found) {
            *value = value.or(found);
        }
        // Values of a file that changed under the reader are of no file at all.
        self.check_unchanged().await
    }

    /// An upload of a file that changed is never completed: its parts could be
    /// of different files.
    async fn check_unchanged(&self) -> Result<(), Stop> {
        let values = self.values.clone();
        let unchanged = self.blocking(move |source| match source.sameness()? {
            Sameness::Same => Ok(true),
            Sameness::Touched => source.agrees_with(&values),
            Sameness::Changed => Ok(false),
        });
        match unchanged.await.map_err(|error| self.unreadable(error))? {
            true => Ok(()),
            false => Err(self.changed().into()),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Source) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let source = Arc::clone(&self.source);
        match tokio::task::spawn_blocking(move || work(&source)).await {
            Ok(done) => done,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn unreadable(&self, error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.changed();
        }
        let path = self.document.local.clone();
        Failure::File { action: "read", path, source: error, kept: self.kept() }
    }

    /// A file that is shorter now loses its upload: the next run begins anew, and nothing
    /// that the server has is called safe.
    fn changed(&self) -> Failure {
        let found = std::fs::metadata(self.source.path());
        let is_shorter = found.is_ok_and(|found| found.len() < self.filesize().get());
        Failure::Changed { kept: self.kept().filter(|_| !is_shorter), is_shorter }
    }

    fn notice(&self, means: &mut Means<'_>, message: String) {
        (means.listener)(Event::Notice { path: self.document.local.clone(), message });
    }
}
