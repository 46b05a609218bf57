//! A server that does what a test says, and files to upload to it.

use crate::address::ServerAddress;
use crate::client::Client;
use crate::document::Document;
use crate::events::{Event, Receipt};
use crate::failure::Failure;
use crate::token::Token;
use crate::transfer::options::PutOptions;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};

/// What a server does about a request.
pub(super) enum Deed {
    Say(Value),
    /// Sends the message again and again, as fast as the client reads, and reads nothing more.
    Flood(Value),
    /// Sends the messages one after another, with this time before each.
    Slowly(Vec<Value>, Duration),
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends nothing.
    Keep,
    /// Closes the connection.
    Close,
}

/// A server that runs `does` for each request, with the number of the connection, from 0, and the
/// request. It reads and drops everything else.
pub(super) struct Rogue {
    pub(super) address: ServerAddress,
    pub(super) connections: Arc<AtomicU32>,
}

impl Rogue {
    pub(super) fn that(does: impl Fn(u32, &Value) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let (counter, does) = (Arc::clone(&connections), Arc::new(does));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let does = Arc::clone(&does);
                std::thread::spawn(move || serve(stream, |request| does(number, request)));
            }
        });
        Self { address, connections }
    }

    pub(super) fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.address.clone(), Token::new("t").unwrap())
    }
}

pub(super) fn serve(mut stream: TcpStream, does: impl Fn(&Value) -> Deed) {
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    loop {
        let request = match decoder.next_part().unwrap() {
            Some(Part::Control(json)) => serde_json::from_slice(json).unwrap(),
            Some(_) => {
                let mut payload = vec![0; decoder.payload_left()];
                let taken = decoder.take_payload(&mut payload);
                if stream.read_exact(&mut payload[taken..]).is_err() {
                    return;
                }
                decoder.payload_came(payload.len() - taken);
                continue;
            }
            None => match stream.read(decoder.space()) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    decoder.filled(count);
                    continue;
                }
            },
        };
        let said = match does(&request) {
            Deed::Say(value) => stream.write_all(&frame::control(&value)),
            Deed::Flood(value) => {
                let words = frame::control(&value).repeat(100);
                while stream.write_all(&words).is_ok() {}
                return;
            }
            Deed::Slowly(values, pause) => values.iter().try_for_each(|value| {
                std::thread::sleep(pause);
                stream.write_all(&frame::control(value))
            }),
            Deed::Send(frames) => stream.write_all(&frames),
            Deed::Keep => Ok(()),
            Deed::Close => return,
        };
        if said.is_err() {
            return;
        }
    }
}

pub(super) fn welcome() -> Value {
    json!({"action": "welcome", "version": 1, "server": "x", "user_id": 1, "user": "u",
        "max_filesize": 1_000_000, "chunk_size": 64, "max_chunk_size": 1024,
        "block_size": 1_048_576, "max_channels": 16, "features": ["new_only"]})
}

pub(super) fn error(request: &Value, code: Code) -> Value {
    json!({"action": "error", "channel": request["channel"], "code": code,
        "number": code.number(), "message": "so it is", "retry": code.can_retry()})
}

pub(super) fn unknown(request: &Value) -> Value {
    json!({"action": "find", "channel": request["channel"], "same_size": false})
}

pub(super) fn granted(request: &Value, document_id: u64) -> Value {
    json!({"action": request["action"], "channel": request["channel"],
        "document_id": document_id, "offset": 0, "filesize": 5})
}

/// The receipt for `hello`.
pub(super) fn success(request: &Value, name: &str) -> Value {
    json!({"action": "SUCCESS", "channel": request["channel"], "document_id": 7,
        "filename": name, "filesize": 5, "created_at": 1, "durable": true,
        "blake3": blake3::hash(b"hello").to_hex().as_str()})
}

/// What a correct server does about a file of this name that is uploaded alone.
pub(super) fn honest(request: &Value, name: &str) -> Deed {
    Deed::Say(match request["action"].as_str().unwrap() {
        "hello" => welcome(),
        "find" => unknown(request),
        "upload" => granted(request, 7),
        "complete" => success(request, name),
        "ping" => json!({"action": "ping"}),
        other => panic!("{other}"),
    })
}

/// The same for files on several channels, whatever their names are.
#[derive(Default)]
pub(super) struct Names(Mutex<BTreeMap<u64, String>>);

impl Names {
    pub(super) fn honest(&self, request: &Value) -> Deed {
        let mut names = self.0.lock().unwrap();
        let channel = request["channel"].as_u64().unwrap_or(0);
        if let (Some("upload"), Some(name)) =
            (request["action"].as_str(), request["filename"].as_str())
        {
            names.insert(channel, name.to_owned());
        }
        honest(request, names.get(&channel).map_or("", String::as_str))
    }
}

/// Files to upload, each with the content `hello`.
pub(super) struct Files {
    pub(super) folder: TempDir,
    pub(super) jobs: Vec<(Document, PutOptions)>,
}

pub(super) fn files(names: &[&str]) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let job = |name: &&str| {
        let path: PathBuf = folder.path().join(name);
        std::fs::write(&path, "hello").unwrap();
        // A file with a chunk size of its own is not sent in a batch.
        let options = PutOptions { chunk_bytes: Some(64), ..PutOptions::default() };
        (Document::in_folder(path, Vec::new()).unwrap(), options)
    };
    let jobs = names.iter().map(job).collect();
    Files { jobs, folder }
}

/// Uploads one file. Returns how that ended, and the number of notices on the way.
pub(super) async fn put(mut client: Client) -> (Result<Receipt, Failure>, usize) {
    let files = files(&["a"]);
    let (document, options) = &files.jobs[0];
    let mut notices = 0;
    let cancel = CancellationToken::new();
    let mut listener = |event| notices += usize::from(matches!(event, Event::Notice { .. }));
    let ended = client.put(document, options, &cancel, &mut listener).await;
    (ended, notices)
}
