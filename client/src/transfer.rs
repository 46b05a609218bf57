//! The upload of one file, over one or more connections.
//!
//! [`Transfer::attempt`] takes the file as far as one main connection allows: it agrees with the
//! server on what is to be sent (`agree`, `resume`, `begin`), sends it (`sending`), and checks
//! what the server confirms (`attempt`). What is known of the upload on the server is one state
//! machine (`upload`).

mod agree;
pub(crate) mod attempt;
mod begin;
mod chunk_sizer;
mod completion;
mod extra_connections;
mod headway;
mod local_file;
pub(crate) mod options;
mod position;
mod resend;
mod resume;
mod sending;
mod sent_bytes;
mod stall;
mod upload;

use crate::connection::Connection;
use crate::document::Document;
use crate::events::{Event, Listener, UploadStatus};
use crate::failure::SavedProgress;
use crate::proof::Proof;
use crate::route::Route;
use crate::source::Source;
use crate::timeouts::Timeouts;
use crate::token::TokenSource;
use crate::uploads::{Granted, Uploads};
use headway::Headway;
use options::PutOptions;
use position::Position;
use sent_bytes::SentBytes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use towline_protocol::reply::{Progress, Success};
use towline_protocol::request::DocumentRef;
use towline_protocol::{Channel, Reply, Request};
use towline_state::state_file::KnownServer;
use towline_types::block::block_count;
use towline_types::{ChainingValue, DocumentId, FileSize, Name, Offset, StoreId, UserId};
use upload::{BegunBy, KnownUpload, OfferHash, Upload};

/// What an attempt uses besides the transfer itself.
pub(crate) struct AttemptContext<'a> {
    /// The main connection.
    pub(crate) connection: &'a mut Connection,
    pub(crate) uploads: &'a Uploads,
    pub(crate) route: &'a Route,
    /// What is known of the server at the other end.
    pub(crate) server: &'a KnownServer,
    pub(crate) token: &'a TokenSource,
    pub(crate) timeouts: Timeouts,
    pub(crate) token_file: Option<&'a PathBuf>,
    pub(crate) listener: Listener<'a>,
}

/// The upload of one file. Everything that must outlive a connection is here, so an
/// [`attempt`](Self::attempt) may end, or be dropped, at any moment.
pub(crate) struct Transfer {
    document: Document,
    options: PutOptions,
    source: Arc<Source>,
    /// The chaining values of the local file's blocks: as read, or proven by what an earlier run
    /// wrote down. A value that only the server reports is never among them: another client may
    /// have continued the upload with another file.
    values: Vec<Option<ChainingValue>>,
    upload: Upload,
    offer_hash: OfferHash,
    /// The store in which the upload was begun, where the server has said which one it has.
    store: Option<StoreId>,
    /// The channel of this attempt.
    channel: Channel,
    position: Position,
    /// How many bytes the server has of each block that it has begun, where it has said so. The key
    /// is the number of the block.
    begun_bytes: BTreeMap<u64, u64>,
    headway: Headway,
    sent: SentBytes,
}

impl Transfer {
    /// A file of which this run has sent nothing.
    pub(crate) fn new(document: Document, source: Source, options: PutOptions) -> Self {
        let blocks = usize::try_from(block_count(source.filesize())).unwrap_or(usize::MAX);
        let offer_hash = if options.again { OfferHash::Never } else { OfferHash::WhereSizeIsKnown };
        Self {
            document,
            options,
            source: Arc::new(source),
            values: vec![None; blocks],
            upload: Upload::Unasked,
            offer_hash,
            store: None,
            channel: Channel::default(),
            position: Position::at(Offset::ZERO),
            begun_bytes: BTreeMap::new(),
            headway: Headway::default(),
            sent: SentBytes::default(),
        }
    }

    /// Continues an upload that this run has begun already.
    pub(crate) fn continue_with(&mut self, document_id: DocumentId) {
        self.upload = Upload::Known(KnownUpload::new(document_id, BegunBy::ThisRun));
    }

    /// This run has sent the whole file without an answer, and the server may publish it at any
    /// moment.
    pub(crate) fn was_sent_ahead(&mut self) {
        if self.offer_hash != OfferHash::Never {
            self.offer_hash = OfferHash::Always;
        }
    }

    /// The last question before a pause: its answer shows that the server has handled all that was
    /// sent. Nothing where no upload has begun.
    pub(crate) fn last_question(&self) -> Option<Request> {
        let (document_id, channel) = (self.document_id()?, self.channel);
        Some(Request::Status(DocumentRef { channel, document_id }))
    }

    /// Handles a reply that comes after the sending was stopped.
    pub(crate) fn handle_last(&mut self, reply: &Reply) {
        match reply {
            Reply::Progress(progress) => {
                self.progressed(progress);
            }
            Reply::Status(status) if status.channel == self.channel => self.position.rests(),
            _ => {}
        }
    }

    pub(crate) fn local(&self) -> &PathBuf {
        &self.document.local
    }

    pub(crate) fn filesize(&self) -> FileSize {
        self.source.filesize()
    }

    /// What the server keeps of the file; nothing where no upload has begun.
    pub(crate) fn saved(&self) -> Option<SavedProgress> {
        let filesize = self.source.filesize();
        Some(SavedProgress {
            document_id: self.document_id()?,
            durable: self.position.durable(),
            safe_bytes: self.position.safe_bytes(filesize),
            filesize,
            sent_bytes: self.sent.total(),
        })
    }

    /// How far the upload is; nothing where none has begun.
    pub(crate) fn status(&self) -> Option<UploadStatus> {
        Some(UploadStatus {
            path: self.document.local.clone(),
            document_id: self.document_id()?,
            filename: self.document.remote.filename().to_string(),
            folder: self.folder(),
            filesize: self.filesize(),
            is_open: false,
            received: self.position.received(),
            durable: self.position.durable(),
            held_bytes: self.position.held_bytes(self.filesize()),
            safe_bytes: self.position.safe_bytes(self.filesize()),
            sent_bytes: self.sent.total(),
            progress: Progress::words(self.position.received(), self.filesize()),
        })
    }

    /// The proof for a later run that the server's blocks are blocks of this file.
    pub(crate) fn proof_now(&self) -> Proof {
        Proof::of(self.source.identity(), &self.values, self.position.durable())
    }

    fn document_id(&self) -> Option<DocumentId> {
        self.upload.known().map(|known| known.document_id)
    }

    fn folder(&self) -> Vec<String> {
        self.document.remote.folder().iter().map(Name::to_string).collect()
    }

    fn filename(&self) -> String {
        self.document.remote.filename().to_string()
    }

    /// Whether SUCCESS is about the place to which this file was to go.
    fn is_in_place(&self, success: &Success) -> bool {
        let on_conflict = self.options.on_conflict.unwrap_or_default();
        crate::place::is_allowed(success, &self.document.remote, on_conflict)
    }

    fn user(context: &AttemptContext<'_>) -> UserId {
        context.connection.welcome().user_id
    }

    fn chunk_bytes(&self, context: &AttemptContext<'_>) -> u32 {
        let welcome = context.connection.welcome();
        self.options.chunk_bytes.unwrap_or(welcome.chunk_size).clamp(1, welcome.max_chunk_size)
    }

    /// The entry of the upload in the state file.
    fn entry(&self, document_id: DocumentId, context: &AttemptContext<'_>) -> Granted {
        Granted {
            document_id,
            server: context.server.clone(),
            remote: self.document.remote.clone(),
            local: self.source.path().to_owned(),
            filesize: self.filesize(),
            modified: self.source.modified(),
            chunk_bytes: self.chunk_bytes(context),
            user_id: Self::user(context),
            offset: self.position.durable(),
            token_file: context.token_file.cloned(),
            proof: self.proof_now(),
        }
    }

    /// Takes in a progress report. Returns whether it is about this upload and possible.
    fn progressed(&mut self, progress: &Progress) -> bool {
        let legal = Some(progress.document_id) == self.document_id()
            && progress.channel == self.channel
            && progress.durable <= progress.received
            && progress.received <= self.filesize().end();
        if legal {
            self.headway.durable(progress.durable.get());
            self.position.reported(progress.received, progress.durable);
        }
        legal
    }

    fn notice(&self, context: &mut AttemptContext<'_>, message: String) {
        (context.listener)(Event::Notice { path: self.document.local.clone(), message });
    }
}
