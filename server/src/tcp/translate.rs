//! Between the wire and the engine: requests become commands, events become replies. The
//! one place of the TCP door that knows both.

mod tree;

pub(crate) use tree::upload as upload_state;

use super::node::{held, shown};
use super::receipts::Receipts;
use std::ops::Range;
use towline_engine::{
    Answer, Event, EventKind, Grant, GrantedBy, Position, Status as DocumentStatus, Tag,
};
use towline_engine::{
    BlockPages, Command, CompleteRequest, NewUpload, Query, RejectedRequest, ResumeRequest,
};
use towline_engine::{Length, Phase, SendingMode};
use towline_engine::{
    Opened, Piece, READS_MAX, ReadEvent, ReadRequest, ReadTarget, Receipt, Verifier,
};
use towline_engine::{Rejection, RejectionKind};
use towline_protocol::frame::{BLOCK_FRAME_BYTES, CHUNK_HEAD_BYTES};
use towline_protocol::limits::{self, READ_BYTES_MAX, WITHDRAW_RANGES_MAX};
use towline_protocol::reply::{
    Blocks, Cancelled, Found, Granted, Progress, Read as ReadReply, ReadBegin, Reply, Status,
    Success, Unfinished,
};
use towline_protocol::request::{
    self, BadTarget, Complete, Find, Join, Read, Request, Resume, Upload, Withdraw,
};
use towline_protocol::{Channel, frame};
use towline_state::catalog::{Description, DurableOffset, NodeWish};
use towline_types::{
    BadName, BlockIndex, ChainingValue, DocumentId, DocumentPath, FileSize, Offset, OnConflict,
    SecondDigest, UserId,
};

const _: () = assert!(READS_MAX == limits::READS_MAX);

/// The writer of a channel.
pub(crate) const fn tag(channel: Channel) -> Tag {
    Tag(channel.0)
}

/// What a request asks of its channel's writer; none for those that the session answers
/// itself. What is wrong with a request by itself becomes [`Command::Reject`].
pub(crate) fn command(request: Request, user: UserId) -> Option<Command> {
    Some(match request {
        Request::Upload(upload) => begin(upload, user),
        Request::Resume(resume) => self::resume(resume, user),
        Request::Join(Join { document_id, lease, .. }) => Command::Join { id: document_id, lease },
        Request::Complete(Complete { document_id, filesize, blake3, on_conflict, .. }) => {
            Command::Complete(CompleteRequest {
                id: document_id,
                filesize,
                hash: blake3,
                sha256: None,
                on_conflict,
            })
        }
        Request::Withdraw(withdraw) => self::withdraw(&withdraw),
        Request::Find(find) => self::find(&find),
        Request::Status(about) => Command::Query(Query::Status(about.document_id)),
        Request::Blocks(about) => {
            Command::Query(Query::HeldBlocks { id: about.document_id, pages: BlockPages::All })
        }
        Request::Cancel(about) => Command::Cancel(about.document_id),
        Request::Uploads(request) => tree::uploads(&request),
        Request::List(list) => tree::list(&list),
        Request::Stat(stat) => tree::stat(&stat),
        Request::Mkdir(mkdir) => tree::mkdir(&mkdir),
        Request::Link(link) => tree::link(link),
        Request::Move(request) => tree::move_node(&request),
        Request::Remove(request) => tree::remove(&request),
        Request::Restore(request) => tree::restore(&request),
        Request::Versions(request) => tree::versions(&request),
        Request::Delta(request) => tree::delta(&request),
        Request::Watch(_) => tree::watch(),
        Request::Hello(_)
        | Request::Reauth(_)
        | Request::Ping(_)
        | Request::Read(_)
        | Request::DownloadUrl(_)
        | Request::Receipts(_) => {
            return None;
        }
    })
}

fn begin(upload: Upload, user: UserId) -> Command {
    match new_upload(&upload, user) {
        Ok(new) => Command::Begin(Box::new(new)),
        Err(rejection) => Command::Reject { rejection, request: RejectedRequest::Upload(None) },
    }
}

fn new_upload(upload: &Upload, user: UserId) -> Result<NewUpload, Rejection> {
    if let Some(rejection) = of_another(upload.user_id, user) {
        return Err(rejection);
    }
    Ok(NewUpload {
        path: upload.path().map_err(bad_name)?,
        length: length(upload)?,
        on_conflict: on_conflict(upload)?,
        mode: mode(upload.blocks),
        hash: upload.blake3,
        second_digest: SecondDigest::None,
        new_only: upload.new_only,
        chunk_size: upload.chunk_size,
        description: Description::default(),
        wish: NodeWish {
            mtime: upload.mtime_ms,
            mode: upload.mode,
            onto_node: upload.node_id,
            into_folder: upload.parent_id,
            base_version: upload.base_version,
        },
    })
}

/// What is to be done where the name is taken, as far as the fields of an upload fit together.
fn on_conflict(upload: &Upload) -> Result<OnConflict, Rejection> {
    let has_folder = !upload.folder.is_empty();
    if upload.parent_id.is_some() && has_folder {
        return Err(bad_request("parent_id", "the folder is named twice"));
    }
    let on_conflict = match (upload.node_id, upload.on_conflict) {
        (None, on_conflict) => on_conflict,
        (Some(_), _) if has_folder || upload.parent_id.is_some() => {
            return Err(bad_request("node_id", "the place of the file is named twice"));
        }
        (Some(_), OnConflict::Rename) => OnConflict::Replace,
        (Some(_), _) => return Err(bad_request("on_conflict", "a file is named to be replaced")),
    };
    if upload.base_version.is_some() && on_conflict != OnConflict::Replace {
        return Err(bad_request("base_version", "it is for a file that is replaced"));
    }
    Ok(on_conflict)
}

fn bad_request(field: &str, what: &str) -> Rejection {
    let kind = RejectionKind::BadRequest { field: Some(field.to_owned()), max: None };
    Rejection::new(kind, format!("{field}: {what}"))
}

/// The length of the file; without one, it may become as long as the server allows. The value of a
/// block depends on whether another one follows, and an unfinished upload is found by its size: a
/// client that does not know the size can say neither `blocks` nor `new_only`.
fn length(upload: &Upload) -> Result<Length, Rejection> {
    let field = match upload.filesize {
        Some(filesize) => return Ok(Length::Declared(filesize)),
        None if upload.blocks => "blocks",
        None if upload.new_only => "new_only",
        None => return Ok(Length::Open { max: FileSize::MAX }),
    };
    Err(bad_request(field, "only with filesize"))
}

fn resume(resume: Resume, user: UserId) -> Command {
    let id = resume.document_id;
    if let Some(rejection) = of_another(resume.user_id, user) {
        return Command::Reject { rejection, request: RejectedRequest::Upload(Some(id)) };
    }
    Command::Resume(Box::new(ResumeRequest {
        id,
        mode: mode(resume.blocks),
        filename: resume.filename,
        filesize: resume.filesize,
        grow: resume.grow,
        offset: resume.offset,
    }))
}

fn withdraw(withdraw: &Withdraw) -> Command {
    if withdraw.ranges.len() > WITHDRAW_RANGES_MAX {
        let max = WITHDRAW_RANGES_MAX as u64;
        let kind = RejectionKind::BadRequest { field: Some("ranges".to_owned()), max: Some(max) };
        let rejection = Rejection::new(kind, format!("ranges: at most {max}"));
        return Command::Reject { rejection, request: RejectedRequest::Change };
    }
    Command::Withdraw(withdraw.ranges.iter().filter_map(|range| blocks(*range)).collect())
}

/// A range of blocks, as far as a file may have blocks at all.
fn blocks((first, count): (BlockIndex, u64)) -> Option<Range<BlockIndex>> {
    let end = BlockIndex::new(first.get().saturating_add(count)).unwrap_or(BlockIndex::MAX);
    (first < end).then_some(first..end)
}

fn find(find: &Find) -> Command {
    match find.path() {
        Ok(path) => {
            Command::Query(Query::Find { path, filesize: find.filesize, hash: find.blake3 })
        }
        Err(error) => refuse_query(bad_name(error)),
    }
}

const fn refuse_query(rejection: Rejection) -> Command {
    Command::Reject { rejection, request: RejectedRequest::Query }
}

/// What a client that says `read` wants to have read.
///
/// # Errors
/// Where it asks for more than one request may, or names no file or more than one.
pub(crate) fn read(read: &Read) -> Result<ReadRequest, Rejection> {
    let bad_field = |field: &str, max, message: String| {
        let kind = RejectionKind::BadRequest { field: Some(field.to_owned()), max };
        Rejection::new(kind, message)
    };
    if read.length.is_some_and(|length| length > READ_BYTES_MAX) {
        let message = format!("length: at most {READ_BYTES_MAX} bytes in one request");
        return Err(bad_field("length", Some(READ_BYTES_MAX), message));
    }
    Ok(ReadRequest {
        target: read_target(read.target())?,
        offset: read.offset.unwrap_or(Offset::ZERO),
        length_bytes: Some(read.length.unwrap_or(READ_BYTES_MAX)),
        verifier: if read.blocks { Verifier::Reader } else { Verifier::Engine },
    })
}

/// Which version of which file a request is about.
///
/// # Errors
/// Where it names no file or more than one.
pub(crate) fn read_target(
    named: Result<request::ReadTarget, BadTarget>,
) -> Result<ReadTarget, Rejection> {
    match named {
        Ok(request::ReadTarget::Version(id)) => Ok(ReadTarget::Version(id)),
        Ok(request::ReadTarget::Current(target)) => Ok(ReadTarget::Current(tree::node(target))),
        Err(error) => Err(tree::bad_target(error)),
    }
}

/// The heads of the frames of a piece: the value of its block, where it comes with one, and the
/// beginning of its chunk.
pub(crate) fn content_head(tag: Tag, piece: &Piece) -> Vec<u8> {
    let channel = Channel(tag.0);
    let mut head = Vec::with_capacity(BLOCK_FRAME_BYTES + CHUNK_HEAD_BYTES);
    if let Some((index, value)) = piece.value() {
        head.extend_from_slice(&frame::block(channel, index, value));
    }
    let length = u32::try_from(piece.bytes().len()).expect("a piece is at most a block");
    head.extend_from_slice(&frame::chunk_head(channel, piece.offset(), length));
    head
}

/// How a client sends that says `blocks`, and one that does not.
const fn mode(blocks: bool) -> SendingMode {
    if blocks { SendingMode::BLOCKS } else { SendingMode::PLAIN }
}

fn bad_name(error: BadName) -> Rejection {
    // The advice is for people who write a client: at a command line nobody can send a list.
    let todo = if error == BadName::Separator { "; send folders as a list of names" } else { "" };
    Rejection::new(RejectionKind::BadName, format!("{error}{todo}"))
}

/// A request that names a user has to name the one of the token.
fn of_another(named: Option<UserId>, user: UserId) -> Option<Rejection> {
    let message = "the token belongs to another user than the request names";
    (named.is_some_and(|named| named != user))
        .then(|| Rejection::new(RejectionKind::WrongUser, message))
}

/// The frames that say what has happened; none for what is not said on the wire. With `receipts`,
/// SUCCESS is signed.
pub(crate) fn frames(event: &Event, receipts: Option<&Receipts>) -> Option<Vec<u8>> {
    let channel = Channel(event.tag.0);
    if let EventKind::Answer(answer) = &event.kind
        && let Answer::HeldBlocks { blocks, count, .. } = &**answer
    {
        return Some(held_blocks(channel, event.document?, blocks, *count));
    }
    if let EventKind::Tree(answer) = &event.kind {
        return Some(tree::frames(channel, answer));
    }
    let mut reply = reply(channel, event)?;
    if let (Reply::Success(success), Some(receipts)) = (&mut reply, receipts) {
        success.receipt = receipts.sign(success);
    }
    Some(frame::control(&reply))
}

/// The block lists of a page, and after the last page the reply that ends them.
fn held_blocks(
    channel: Channel,
    document_id: DocumentId,
    blocks: &[(BlockIndex, ChainingValue)],
    count: Option<u64>,
) -> Vec<u8> {
    let mut frames = frame::block_lists(channel, blocks);
    if let Some(count) = count {
        frames.extend(frame::control(&Reply::Blocks(Blocks { channel, document_id, count })));
    }
    frames
}

fn reply(channel: Channel, event: &Event) -> Option<Reply> {
    match &event.kind {
        EventKind::Rejected(rejection) => {
            Some(Reply::Error(super::error_code::of(rejection).on(channel, event.document)))
        }
        EventKind::Answer(answer) => answered(channel, event.document, answer),
        EventKind::Granted(Grant { by, offset, length, lease }) => {
            let document_id = event.document?;
            let (offset, filesize, lease) = (*offset, length.bound(), *lease);
            let granted = Granted { channel, document_id, offset, filesize, lease };
            Some(match by {
                GrantedBy::Begin => Reply::Upload(granted),
                GrantedBy::Resume => Reply::Resume(granted),
                GrantedBy::Join => Reply::Join(granted),
            })
        }
        EventKind::Withdrawn { offset, length } => {
            let (document_id, offset, filesize) = (event.document?, *offset, length.bound());
            let granted = Granted { channel, document_id, offset, filesize, lease: None };
            Some(Reply::Withdraw(granted))
        }
        EventKind::Progress(position) | EventKind::AtWork { position, .. } => {
            let document_id = event.document?;
            let Position { received, durable, length } = *position;
            let filesize = length.bound();
            let progress = match length {
                Length::Declared(_) => Progress::words(received, filesize),
                Length::Open { .. } => Progress::words_of_open(received),
            };
            let copied = match event.kind {
                EventKind::AtWork { copied, .. } => copied,
                _ => None,
            };
            Some(Reply::Progress(Progress {
                channel,
                document_id,
                received,
                durable: told(durable),
                filesize,
                progress,
                copied,
            }))
        }
        EventKind::Completed { receipt, existing } => {
            Some(Reply::Success(success(channel, receipt, *existing)))
        }
        EventKind::Cancelled => {
            let (document_id, status) = (event.document?, Phase::Cancelled.to_string());
            Some(Reply::Cancel(Cancelled { channel, document_id, status }))
        }
        EventKind::Read(read) => reading(channel, event.document?, read),
        // Its frames were made above.
        EventKind::Tree(_) | EventKind::Panicked => None,
    }
}

/// What is said around the bytes of a document.
fn reading(channel: Channel, document_id: DocumentId, event: &ReadEvent) -> Option<Reply> {
    Some(Reply::Read(match event {
        ReadEvent::Opened(Opened { node, filesize, hash, range }) => ReadReply::Begins(ReadBegin {
            channel,
            document_id,
            node: node.as_deref().map(shown).map(Box::new),
            filesize: *filesize,
            blake3: *hash,
            offset: range.start,
            length: range.end.get() - range.start.get(),
        }),
        ReadEvent::End => ReadReply::end(channel, document_id),
        // Its bytes stay where they are: see `content_head`.
        ReadEvent::Piece(_) => return None,
    }))
}

fn answered(channel: Channel, document: Option<DocumentId>, answer: &Answer) -> Option<Reply> {
    match answer {
        Answer::Found(found) => {
            let unfinished = found.unfinished;
            Some(Reply::Find(Found {
                channel,
                same_size: found.same_size,
                document_id: found.same_place,
                known: found.is_known,
                unfinished: unfinished.map(|(document_id, durable)| Unfinished {
                    document_id,
                    offset: told(durable),
                }),
            }))
        }
        Answer::Status(standing) => Some(Reply::Status(status(channel, document?, standing))),
        // They are long: see `frames`.
        // The door asks for no fence and no ranges, and `HeldBlocks` was taken out above.
        Answer::HeldBlocks { .. } | Answer::ReceivedRanges(_) | Answer::Fence => None,
    }
}

fn status(channel: Channel, document_id: DocumentId, standing: &DocumentStatus) -> Status {
    let Position { received, durable, length } = standing.position;
    // Of an upload without a length a client hears the largest that it may become.
    let filesize = length.bound();
    let (filename, folder) = names(&standing.path);
    Status {
        channel,
        document_id,
        status: standing.phase.to_string(),
        filename,
        folder,
        filesize,
        received,
        durable: told(durable),
        active: standing.is_active,
        held: held(standing.availability),
        blake3: standing.hash,
        created_at: standing.created_at,
        expires_at: standing.expires_at,
        reason: standing.reason.clone(),
    }
}

fn success(channel: Channel, receipt: &Receipt, existing: bool) -> Success {
    let (filename, folder) = names(receipt.path());
    Success {
        channel,
        document_id: receipt.document_id(),
        node_id: receipt.node_id(),
        filename,
        folder,
        filesize: receipt.filesize(),
        blake3: receipt.hash(),
        created_at: receipt.created_at(),
        durable: receipt.is_durable(),
        existing,
        copied: receipt.is_copy(),
        held: held(receipt.availability()),
        receipt: None,
    }
}

/// What a client may count on after any crash. It takes the catalog's own promise, so that no
/// other offset can be told.
const fn told(durable: DurableOffset) -> Offset {
    durable.get()
}

/// The name of a file and those of the folders above it.
fn names(path: &DocumentPath) -> (String, Vec<String>) {
    (path.filename().to_string(), path.folder().iter().map(ToString::to_string).collect())
}
