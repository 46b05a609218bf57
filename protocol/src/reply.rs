//! What a server says to a client. Unknown fields are passed over, so that a
//! later server may say more to an earlier client.

mod changes;
mod download_url;
mod read;
mod receipts;
mod tree;
mod uploads;

pub use changes::{Change, ChangeNotice, Delta, DeltaEnd, Operation, Part};
pub use download_url::DownloadUrl;
pub use read::{Read, ReadBegin, ReadEnd, True};
pub use receipts::{ReceiptKey, ReceiptSignature};
pub use tree::{Listing, NodeAnswer, Version, Versions};
pub use uploads::{UploadState, Uploads};

use crate::error::ErrorReply;
use crate::frame::Channel;
use crate::node::Held;
use crate::request::is_default;
use serde::{Deserialize, Serialize};
use towline_types::{
    DocumentId, FileHash, FileSize, Generation, NodeId, Offset, StoreId, Timestamp, UserId,
};

/// A control message from a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action")]
pub enum Reply {
    /// Logged in.
    #[serde(rename = "welcome")]
    Welcome(Welcome),
    /// The connection goes on with the other token.
    #[serde(rename = "reauth")]
    Reauth(Reauthenticated),
    /// The upload is made; send its chunks.
    #[serde(rename = "upload")]
    Upload(Granted),
    /// Continue from there.
    #[serde(rename = "resume")]
    Resume(Granted),
    /// This channel writes, too.
    #[serde(rename = "join")]
    Join(Granted),
    /// The bytes that the server has.
    #[serde(rename = "progress")]
    Progress(Progress),
    /// The document is complete, in its place and safe.
    #[serde(rename = "SUCCESS")]
    Success(Success),
    /// How a document stands.
    #[serde(rename = "status")]
    Status(Status),
    /// The end of the block lists.
    #[serde(rename = "blocks")]
    Blocks(Blocks),
    /// The blocks are taken back.
    #[serde(rename = "withdraw")]
    Withdraw(Granted),
    /// The upload is given up.
    #[serde(rename = "cancel")]
    Cancel(Cancelled),
    /// What is known of these bytes.
    #[serde(rename = "find")]
    Find(Found),
    /// The uploads that are not complete.
    #[serde(rename = "uploads")]
    Uploads(Uploads),
    /// What lies in a folder.
    #[serde(rename = "list")]
    List(Listing),
    /// A node as it is.
    #[serde(rename = "stat")]
    Stat(NodeAnswer),
    /// The folder is there.
    #[serde(rename = "mkdir")]
    Mkdir(NodeAnswer),
    /// The link is there.
    #[serde(rename = "link")]
    Link(NodeAnswer),
    /// The node has its new place.
    #[serde(rename = "move")]
    Move(NodeAnswer),
    /// The node is in the trash.
    #[serde(rename = "remove")]
    Remove(NodeAnswer),
    /// The node, or the version, is back.
    #[serde(rename = "restore")]
    Restore(NodeAnswer),
    /// The versions of a file.
    #[serde(rename = "versions")]
    Versions(Versions),
    /// Bytes of a file come, or have come.
    #[serde(rename = "read")]
    Read(Read),
    /// The address at which others fetch a document.
    #[serde(rename = "download_url")]
    DownloadUrl(DownloadUrl),
    /// What has changed.
    #[serde(rename = "delta")]
    Delta(Delta),
    /// Something has changed.
    #[serde(rename = "change")]
    Change(ChangeNotice),
    /// Every SUCCESS is signed from now on.
    #[serde(rename = "receipts")]
    Receipts(ReceiptKey),
    /// No.
    #[serde(rename = "error")]
    Error(ErrorReply),
    /// Still here.
    #[serde(rename = "ping")]
    Ping(Pong),
}

/// `{"action":"welcome","version":1, …}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that will be spoken.
    pub version: u32,
    /// The server's name and version, for people.
    pub server: String,
    /// The identity of the server's store; older servers do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_id: Option<StoreId>,
    /// Who the token says the client is.
    pub user_id: UserId,
    /// The name of that user.
    pub user: String,
    /// The largest file that is taken, in bytes.
    pub max_filesize: FileSize,
    /// The payload that the server proposes for a chunk, in bytes.
    pub chunk_size: u32,
    /// The largest payload of a chunk, in bytes.
    pub max_chunk_size: u32,
    /// The length of a block, in bytes.
    pub block_size: u64,
    /// How many channels may be in use at the same time.
    pub max_channels: u32,
    /// What else the server can do, as words.
    pub features: Vec<String>,
    /// The token that was exchanged for a secret; only in the answer to `hello` with `join`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// `{"action":"reauth","channel":0,"expires_at":1705934256000}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reauthenticated {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// When the token ends.
    pub expires_at: Timestamp,
}

/// The answer to `upload`, `resume`, `join` and `withdraw`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The upload's channel.
    #[serde(default)]
    pub channel: Channel,
    /// The upload.
    pub document_id: DocumentId,
    /// The first byte that is missing.
    pub offset: Offset,
    /// The whole length in bytes.
    pub filesize: FileSize,
    /// The lease under which the channel writes; not in the answer to `withdraw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Generation>,
}

/// `{"action":"progress","received":65536,"durable":0,"progress":"65536/1048576 bytes", …}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The upload's channel.
    #[serde(default)]
    pub channel: Channel,
    /// The upload.
    pub document_id: DocumentId,
    /// The bytes that the server holds without a gap.
    pub received: Offset,
    /// The bytes that survive a power cut.
    pub durable: Offset,
    /// The whole length in bytes.
    pub filesize: FileSize,
    /// The same for people.
    pub progress: String,
    /// How many bytes of a complete file the server has copied to the file system of its
    /// folder, while it does that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<Offset>,
}

impl Progress {
    /// The words for people: `65536/1048576 bytes`.
    #[must_use]
    pub fn words(received: Offset, filesize: FileSize) -> String {
        format!("{received}/{filesize} bytes")
    }

    /// The same where the length is not known yet: `65536 bytes`.
    #[must_use]
    pub fn words_of_open(received: Offset) -> String {
        format!("{received} bytes")
    }
}

/// `{"action":"SUCCESS","document_id":123, …}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// The upload's channel.
    #[serde(default)]
    pub channel: Channel,
    /// The document.
    pub document_id: DocumentId,
    /// The file whose version it is; servers without `tree` do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The name it got.
    pub filename: String,
    /// The folders around it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// Its length in bytes.
    pub filesize: FileSize,
    /// Its hash.
    pub blake3: FileHash,
    /// When it was completed, in ms since 1970.
    pub created_at: Timestamp,
    /// The document survives a power cut.
    pub durable: bool,
    /// The document was there already: this place, and these bytes. Nothing was sent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub existing: bool,
    /// The server made the document from another one with the same bytes. Nothing was
    /// sent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copied: bool,
    /// Why its bytes are not given out yet; none where they are. They are safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The signature of a receipt, on a connection that has asked for receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptSignature>,
}

/// `{"action":"status","document_id":123,"status":"uploading", …}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The document.
    pub document_id: DocumentId,
    /// `uploading`, `publishing`, `completed`, `failed`, `cancelled` or `expired`.
    pub status: String,
    /// Its name; once completed, the one it got.
    pub filename: String,
    /// The folders around it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// The whole length in bytes.
    pub filesize: FileSize,
    /// The bytes that the server holds without a gap.
    pub received: Offset,
    /// The bytes that survive a power cut.
    pub durable: Offset,
    /// Whether a connection is sending it just now.
    pub active: bool,
    /// Why its bytes are not given out, once completed; none where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Its hash, once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<FileHash>,
    /// When it was completed, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it will be given up if no byte comes, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `{"action":"blocks","document_id":123,"count":5}`, after the block lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The upload.
    pub document_id: DocumentId,
    /// How many values the lists held.
    pub count: u64,
}

/// `{"action":"cancel","document_id":123,"status":"cancelled"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The upload.
    pub document_id: DocumentId,
    /// Always `cancelled`.
    pub status: String,
}

/// `{"action":"find","same_size":true, …}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The channel that asked.
    #[serde(default)]
    pub channel: Channel,
    /// The user has a completed document of this size: worth hashing.
    pub same_size: bool,
    /// The completed document at this place with these very bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// A completed document elsewhere has these very bytes, so that the server may make
    /// this one without being sent any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub known: bool,
    /// The unfinished upload under this name with this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
}

/// An upload that waits for the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The upload.
    pub document_id: DocumentId,
    /// The bytes that survive a power cut.
    pub offset: Offset,
}

/// `{"action":"ping"}`, the answer to the like. Unlike the question it may say more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pong {
    /// The channel that asked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
}

impl Reply {
    /// Reads a control message.
    ///
    /// # Errors
    /// Where the server says what this client cannot understand.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::Value::Object(crate::json::object(bytes)?))
    }

    /// The channel it is for.
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self {
            Self::Welcome(_) => Channel::default(),
            Self::Reauth(m) => m.channel,
            Self::Upload(m) | Self::Resume(m) | Self::Join(m) | Self::Withdraw(m) => m.channel,
            Self::Progress(m) => m.channel,
            Self::Success(m) => m.channel,
            Self::Status(m) => m.channel,
            Self::Blocks(m) => m.channel,
            Self::Cancel(m) => m.channel,
            Self::Find(m) => m.channel,
            Self::Uploads(m) => m.channel,
            Self::List(m) => m.channel,
            Self::Stat(m)
            | Self::Mkdir(m)
            | Self::Link(m)
            | Self::Move(m)
            | Self::Remove(m)
            | Self::Restore(m) => m.channel,
            Self::Versions(m) => m.channel,
            Self::Read(m) => m.channel(),
            Self::DownloadUrl(m) => m.channel,
            Self::Delta(m) => m.channel,
            Self::Change(m) => m.channel,
            Self::Receipts(m) => m.channel,
            Self::Error(m) => m.channel,
            Self::Ping(m) => m.channel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_welcome_of_an_earlier_server_names_no_store() {
        let text = br#"{"action":"welcome","version":1,"server":"x","user_id":1,"user":"u","max_filesize":1,
            "chunk_size":1,"max_chunk_size":1,"block_size":1,"max_channels":1,"features":[]}"#;
        let Ok(Reply::Welcome(welcome)) = Reply::parse(text) else { panic!("a welcome") };
        assert_eq!(welcome.server_id, None);
    }

    #[test]
    fn what_a_later_server_says_besides_is_passed_over() {
        let text = br#"{"action":"ping","channel":7,"server_time":1}"#;
        let pong = Pong { channel: Channel(7) };
        assert_eq!(Reply::parse(text).ok(), Some(Reply::Ping(pong)));
    }
}
