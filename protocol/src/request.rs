//! What a client asks of a server.

mod changes;
mod download_url;
mod read;
mod receipts;
mod tree;

pub use changes::{Delta, Watch};
pub use download_url::DownloadUrl;
pub use read::{Read, ReadTarget};
pub use receipts::Receipts;
pub use tree::{
    BadTarget, Link, List, Listed, Mkdir, Move, Remove, Restore, Stat, Target, Versions,
};

use crate::error::{Code, ErrorReply};
use crate::frame::Channel;
use crate::json;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use towline_types::{
    BadName, BlockIndex, DocumentId, DocumentPath, FileHash, FileSize, Generation, ModifiedTime,
    Name, NodeId, Offset, OnConflict, PermissionBits, UserId,
};

/// The highest version of the protocol that is spoken here.
pub const VERSION: u32 = 1;

/// The lowest.
pub const LOWEST_VERSION: u32 = 1;

/// The version to speak with a client whose highest is `highest`; none where it is below
/// the lowest. A later client thus gets an answer at once, and need not come again.
#[must_use]
pub fn common_version(highest: u32) -> Option<u32> {
    (highest >= LOWEST_VERSION).then_some(highest.min(VERSION))
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident($message:ty) $word:literal,)*) => {
        /// A control message from a client.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(tag = "action")]
        pub enum Request {
            $($(#[$doc])* #[serde(rename = $word)] $name($message),)*
        }

        impl Request {
            /// Reads a control message.
            ///
            /// # Errors
            /// The answer to give: `bad_json`, `unknown_action` or `bad_request`
            /// with the field, on the channel that the message named, if any.
            pub fn parse(bytes: &[u8]) -> Result<Self, ErrorReply> {
                let mut object = json::object(bytes)
                    .map_err(|error| ErrorReply::new(Code::BadJson, format!("not a control message: {error}")))?;
                let channel = object.get("channel").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
                let parsed = match object.remove("action") {
                    Some(Value::String(word)) => match word.as_str() {
                        $($word => fields(object).map(Self::$name),)*
                        _ => Err(unknown_action(&word)),
                    },
                    _ => Err(ErrorReply::bad_field("action", "a control message needs an \"action\"")),
                };
                parsed.map_err(|error| error.on(Channel(channel.unwrap_or(0)), None))
            }

            /// The channel that the answer goes to.
            #[must_use]
            pub fn channel(&self) -> Channel {
                match self { $(Self::$name(message) => message.channel,)* }
            }

            /// The answer of a server that does not have the feature: that of one which has
            /// never heard of the action.
            #[must_use]
            pub fn unknown_action(&self) -> ErrorReply {
                let word = match self { $(Self::$name(_) => $word,)* };
                unknown_action(word).on(self.channel(), None)
            }
        }
    };
}

requests! {
    /// Login; must be the first.
    Hello(Hello) "hello",
    /// Another token of the same user, for the connection as it is.
    Reauth(Reauth) "reauth",
    /// Begins a new upload.
    Upload(Upload) "upload",
    /// Continues an upload.
    Resume(Resume) "resume",
    /// Writes beside the connection that has the lease.
    Join(Join) "join",
    /// All bytes are sent.
    Complete(Complete) "complete",
    /// How does a document stand?
    Status(DocumentRef) "status",
    /// Which blocks are held?
    Blocks(DocumentRef) "blocks",
    /// Takes blocks back, to send them again with other content.
    Withdraw(Withdraw) "withdraw",
    /// Gives an upload up.
    Cancel(DocumentRef) "cancel",
    /// Does this user have these bytes, or an upload of them, already?
    Find(Find) "find",
    /// Which uploads are not complete?
    Uploads(Uploads) "uploads",
    /// What lies in a folder?
    List(List) "list",
    /// What is known of a node?
    Stat(Stat) "stat",
    /// Makes a folder.
    Mkdir(Mkdir) "mkdir",
    /// Makes a link.
    Link(Link) "link",
    /// Gives a node another place.
    Move(Move) "move",
    /// Puts a node into the trash.
    Remove(Remove) "remove",
    /// Takes a node out of the trash, or an old version back.
    Restore(Restore) "restore",
    /// Which versions does a file have?
    Versions(Versions) "versions",
    /// Bytes of a file.
    Read(Read) "read",
    /// At which address do others fetch this document?
    DownloadUrl(DownloadUrl) "download_url",
    /// What has changed?
    Delta(Delta) "delta",
    /// Says from now on that something has changed.
    Watch(Watch) "watch",
    /// Signs every SUCCESS from now on.
    Receipts(Receipts) "receipts",
    /// Nothing; answered by the like.
    Ping(Ping) "ping",
}

/// `{"action":"hello","version":1,"token":"…"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Always 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// The highest version that the client speaks.
    pub version: u32,
    /// A JSON web token; absent, `join` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A one-time secret that is exchanged for a token, instead of `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// The client's name and version, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Hello {
    /// The `hello` of a client that has a token.
    #[must_use]
    pub fn with_token(token: impl Into<String>) -> Self {
        let channel = Channel::default();
        Self { channel, version: VERSION, token: Some(token.into()), join: None, client: None }
    }
}

/// `{"action":"reauth","token":"…"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reauth {
    /// Of the answer; nothing else on the channel is concerned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// A JSON web token.
    pub token: String,
}

/// `{"action":"upload","filename":"doc.pdf","filesize":1048576,"user_id":123}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// The channel of everything about this upload.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// One path component.
    pub filename: String,
    /// The folders around it, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// The folder around it, by its number, instead of `folder`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<NodeId>,
    /// The file of which it is to be the next version, wherever that lies by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Only if this is the current version of the file that is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_version: Option<DocumentId>,
    /// The whole length in bytes; absent, `complete` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesize: Option<FileSize>,
    /// When the file was modified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime_ms: Option<ModifiedTime>,
    /// Its permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PermissionBits>,
    /// Whose it is; where given, it must be the token's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The payload that the client means to send in one chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<u32>,
    /// The hash of the file, where the client knows it: if the user has these
    /// bytes already, the answer is `SUCCESS` at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<FileHash>,
    /// What to do where the name is taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_conflict: OnConflict,
    /// The client announces the value of every block in a block frame. Its
    /// blocks may then come in any order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blocks: bool,
    /// Begin only where no upload of the same name and size waits for the rest: else
    /// the answer is that of `find`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub new_only: bool,
}

/// `{"action":"resume","document_id":123,"offset":200000,"filename":"doc.pdf"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The channel of everything about this upload.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Which upload.
    pub document_id: DocumentId,
    /// Where the client believes it stands; absent, it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// Where given, it must be the upload's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Where given, it must be the upload's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesize: Option<FileSize>,
    /// Whose it is; where given, it must be the token's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// As in `upload`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blocks: bool,
    /// The file has become longer since: `filesize` is its length now.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grow: bool,
}

/// `{"action":"join","document_id":123,"lease":1705331250000}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The channel that is to write, too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Which upload.
    pub document_id: DocumentId,
    /// The lease that was granted for it, on another channel.
    pub lease: Generation,
}

/// `{"action":"complete","blake3":"…"}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// The upload's channel.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Which upload, where the channel does not say it: after a lost `SUCCESS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// The whole length in bytes, where `upload` did not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesize: Option<FileSize>,
    /// The hash of the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<FileHash>,
    /// Overrides what `upload` said, after `exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_conflict: Option<OnConflict>,
}

/// `{"action":"uploads"}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uploads {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// The most uploads in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Go on from there: what the answer before said in `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// `{"action":"status","document_id":123}`, and `blocks` and `cancel` alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentRef {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// Which document.
    pub document_id: DocumentId,
}

/// `{"action":"withdraw","ranges":[[3,1],[7,2]]}`: block 3, blocks 7 and 8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// The upload's channel.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// First block and number of blocks, each.
    pub ranges: Vec<(BlockIndex, u64)>,
}

/// `{"action":"find","filename":"doc.pdf","filesize":1048576}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Find {
    /// The channel that the answer goes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
    /// One path component.
    pub filename: String,
    /// The folders around it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folder: Vec<String>,
    /// The whole length in bytes.
    pub filesize: FileSize,
    /// The hash of the file: asks whether these very bytes are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<FileHash>,
}

/// `{"action":"ping"}`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// Sent back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Channel,
}

impl Upload {
    /// Where the document is to lie.
    ///
    /// # Errors
    /// Says why a name is refused.
    pub fn path(&self) -> Result<DocumentPath, BadName> {
        path(&self.folder, &self.filename)
    }
}

impl Find {
    /// Where the document would lie.
    ///
    /// # Errors
    /// Says why a name is refused.
    pub fn path(&self) -> Result<DocumentPath, BadName> {
        path(&self.folder, &self.filename)
    }
}

fn path(folder: &[String], filename: &str) -> Result<DocumentPath, BadName> {
    let folder = folder.iter().map(Name::new).collect::<Result<Vec<_>, _>>()?;
    DocumentPath::new(folder, Name::new(filename)?)
}

fn fields<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, ErrorReply> {
    // Otherwise it would depend on the field whether null passes for its absence.
    if let Some((field, _)) = object.iter().find(|(_, value)| value.is_null()) {
        return Err(ErrorReply::bad_field(field, "null is no value; leave the field out"));
    }
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // For a missing or unknown field the path ends above it; the field's
        // name then stands in the reason, between back-ticks.
        let named = reason.split('`').nth(1).filter(|_| reason.contains(" field `"));
        let field = if path == "." { named.unwrap_or("") } else { &path };
        ErrorReply::bad_field(field, &reason)
    })
}

fn unknown_action(word: &str) -> ErrorReply {
    ErrorReply::new(Code::UnknownAction, format!("no such action: {word:?}"))
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn refusal(text: &str) -> (Code, Option<String>) {
        let error = Request::parse(text.as_bytes()).unwrap_err();
        (error.code, error.field)
    }

    #[test]
    fn the_users_own_words_are_understood() {
        let text = r#"{"action":"upload","filename":"doc.pdf","filesize":1048576,"user_id":123}"#;
        let Ok(Request::Upload(upload)) = Request::parse(text.as_bytes()) else { panic!() };
        assert_eq!(upload.filesize.map(FileSize::get), Some(1_048_576));
        assert_eq!(serde_json::to_string(&Request::Upload(upload)).unwrap(), text);

        let text = r#"{"action":"resume","document_id":123,"offset":200000,"filename":"doc.pdf"}"#;
        let Ok(Request::Resume(resume)) = Request::parse(text.as_bytes()) else { panic!() };
        assert_eq!(resume.offset.map(Offset::get), Some(200_000));
    }

    #[test]
    fn the_common_version_is_the_highest_that_both_speak() {
        assert_eq!(common_version(0), None);
        for highest in [1, 2, 7, u32::MAX] {
            assert_eq!(common_version(highest), Some(VERSION));
        }
    }

    #[test]
    fn what_is_no_json_object_is_bad_json() {
        let deep = format!(r#"{{"action":"ping","x":{}1{}}}"#, "[".repeat(16), "]".repeat(16));
        for text in [
            "",
            "{",
            "[]",
            "1",
            "null",
            "{}{}",
            r#"{"action":"ping"} x"#,
            "{'a':1}",
            r#"{"action":"ping","action":"ping"}"#,
            r#"{"action":"upload","filename":"a","filename":"b","filesize":1}"#,
            r#"{"action":"ping","x":{"y":1,"y":2}}"#,
            r#"{"action":"upload","filename":"a","filesize":1e999}"#,
            &deep,
        ] {
            assert_eq!(refusal(text).0, Code::BadJson, "{text}");
        }
        let error = Request::parse(b"{\"action\":\"\xff\"}").unwrap_err();
        assert_eq!(error.code, Code::BadJson);
    }

    /// Level 16 may hold what has nothing inside, and nothing may stand on level 17.
    #[test]
    fn an_empty_list_and_an_empty_object_are_as_deep_as_they_stand() {
        for (inner, deep) in
            [("[]", false), ("{}", false), ("1", false), ("[1]", true), ("[[]]", true)]
        {
            let nested = format!("{}{inner}{}", "[".repeat(14), "]".repeat(14));
            let text = format!(r#"{{"action":"ping","x":{nested}}}"#);
            let code = if deep { Code::BadJson } else { Code::BadRequest };
            assert_eq!(refusal(&text).0, code, "{text}");
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        for (text, field) in [
            ("{}", "action"),
            (r#"{"action":7}"#, "action"),
            (r#"{"action":"upload","filesize":1}"#, "filename"),
            (r#"{"action":"upload","filename":"a","filesize":1,"colour":"red"}"#, "colour"),
            (r#"{"action":"upload","filename":7,"filesize":1}"#, "filename"),
            (r#"{"action":"upload","filename":"a","filesize":-1}"#, "filesize"),
            (r#"{"action":"upload","filename":"a","filesize":1.5}"#, "filesize"),
            (r#"{"action":"upload","filename":"a","filesize":1e30}"#, "filesize"),
            (r#"{"action":"upload","filename":"a","filesize":9007199254740993.0}"#, "filesize"),
            (r#"{"action":"upload","filename":"a","filesize":9223372036854775808}"#, "filesize"),
            (r#"{"action":"upload","filename":"a","filesize":"1"}"#, "filesize"),
            (r#"{"action":"upload","filename":"a","filesize":1,"folder":["b",7]}"#, "folder[1]"),
            (
                r#"{"action":"upload","filename":"a","filesize":1,"on_conflict":"overwrite"}"#,
                "on_conflict",
            ),
            (r#"{"action":"resume","document_id":0}"#, "document_id"),
            (
                &format!(
                    r#"{{"action":"upload","filename":"a","filesize":1,"blake3":"{}"}}"#,
                    "A".repeat(64)
                ),
                "blake3",
            ),
            (r#"{"action":"upload","filename":"a","filesize":1,"user_id":null}"#, "user_id"),
            (r#"{"action":"complete","blake3":null}"#, "blake3"),
            (r#"{"action":"ping","channel":null}"#, "channel"),
            (r#"{"action":"join","document_id":1}"#, "lease"),
            (r#"{"action":"join","document_id":1,"lease":0}"#, "lease"),
            (r#"{"action":"complete","blake3":"abc"}"#, "blake3"),
        ] {
            assert_eq!(refusal(text), (Code::BadRequest, Some(field.to_owned())), "{text}");
        }
        assert_eq!(refusal(r#"{"action":"fly"}"#).0, Code::UnknownAction);
    }

    #[test]
    fn a_block_beyond_any_file_is_a_bad_field() {
        let text = r#"{"action":"withdraw","ranges":[[8796093022207,1],[8796093022208,1]]}"#;
        assert_eq!(refusal(text), (Code::BadRequest, Some("ranges[1][0]".to_owned())));
        let text = r#"{"action":"withdraw","ranges":[[8796093022207,1]]}"#;
        assert!(Request::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn a_refusal_stays_short_whatever_it_quotes() {
        let long = "\u{200b}".repeat(10_000);
        for text in [
            format!(r#"{{"action":"{long}"}}"#),
            format!(r#"{{"action":"ping","{long}":1}}"#),
            format!(r#"{{"action":"ping","{long}":1,"{long}":2}}"#),
            format!(r#"{{"action":"upload","filename":"a","filesize":"{long}"}}"#),
        ] {
            let error = Request::parse(text.as_bytes()).unwrap_err();
            assert!(error.message.len() <= limits::MESSAGE_BYTES_MAX, "{}", error.message.len());
            let field = error.field.clone().unwrap_or_default();
            assert!(field.len() <= limits::MESSAGE_BYTES_MAX, "{}", field.len());
            let reply = crate::frame::control(&crate::Reply::Error(error));
            assert!(reply.len() <= limits::CONTROL_BYTES_MAX as usize);
        }
    }

    #[test]
    fn a_refusal_goes_to_the_channel_that_asked() {
        let error = Request::parse(br#"{"action":"upload","channel":7}"#).unwrap_err();
        assert_eq!(error.channel, Channel(7));
    }
}
