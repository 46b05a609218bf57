//! A server that follows a script, for tests of what the client accepts from it.

use super::Client;
use crate::address::ServerAddress;
use crate::document::Document;
use crate::events::Receipt;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::token::Token;
use crate::transfer::options::PutOptions;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use towline_protocol::Code;
use towline_protocol::frame::{self, Decoder, FrameLimits, Part};

/// A server that sends these replies, one after each control message that it receives. It does so
/// on every connection.
fn scripted(replies: &'static [&'static str]) -> ServerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || recite(stream, replies));
        }
    });
    address
}

fn recite(mut stream: TcpStream, replies: &[&str]) {
    let mut replies = replies.iter();
    let mut decoder = Decoder::new(FrameLimits::SERVER);
    loop {
        let heard = decoder.next_part().unwrap().map(|part| matches!(part, Part::Control(_)));
        match heard {
            Some(true) => {
                let Some(reply) = replies.next() else { return };
                let reply = match reply.strip_prefix("raw:") {
                    Some(raw) => raw.as_bytes().to_vec(),
                    None => {
                        let reply: serde_json::Value = serde_json::from_str(reply).unwrap();
                        frame::control(&reply)
                    }
                };
                if stream.write_all(&reply).is_err() {
                    return;
                }
            }
            Some(false) => {
                let mut payload = vec![0; decoder.payload_left()];
                let taken = decoder.take_payload(&mut payload);
                if stream.read_exact(&mut payload[taken..]).is_err() {
                    return;
                }
                decoder.payload_came(payload.len() - taken);
            }
            None => match stream.read(decoder.space()) {
                Ok(0) | Err(_) => return,
                Ok(count) => decoder.filled(count),
            },
        }
    }
}

const WELCOME: &str = r#"{"action":"welcome","version":1,"server":"x","user_id":1,"user":"u",
    "max_filesize":1000,"chunk_size":64,"max_chunk_size":1024,"block_size":1048576,
    "max_channels":16,"features":[]}"#;
const UNKNOWN: &str = r#"{"action":"find","channel":1,"same_size":false}"#;
const UNFINISHED: &str = r#"{"action":"find","channel":1,"same_size":false,
    "unfinished":{"document_id":7,"offset":3}}"#;
const GRANTED: &str = r#"{"action":"upload","channel":1,"document_id":7,"offset":0,"filesize":5}"#;
const RESUMED: &str = r#"{"action":"resume","channel":1,"document_id":7,"offset":3,"filesize":5}"#;

async fn put(replies: &'static [&'static str]) -> Result<Receipt, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "hello").unwrap();
    let document = Document::in_folder(path, Vec::new()).unwrap();
    let mut client = Client::new(scripted(replies), Token::new("t").unwrap()).retries(Some(2));
    let cancel = CancellationToken::new();
    client.put(&document, &PutOptions::default(), &cancel, &mut |_| {}).await
}

/// Where the token does not say which store it is for, the answer to it tells.
#[tokio::test]
async fn what_is_for_one_store_is_not_sent_to_another() {
    const OTHER: &str = r#"{"action":"welcome","version":1,"server":"x","user_id":1,"user":"u",
        "server_id":"22222222222222222222222222222222",
        "max_filesize":1000,"chunk_size":64,"max_chunk_size":1024,"block_size":1048576,
        "max_channels":16,"features":[]}"#;
    let store = "1".repeat(32).parse().unwrap();
    let client = Client::new(scripted(&[OTHER]), Token::new("t").unwrap());
    let asked = client.expected_store(Some(store)).status(7.try_into().unwrap()).await;
    let failure = asked.unwrap_err();
    assert!(matches!(failure, Failure::OtherServer { .. }), "{failure}");
    assert_eq!(failure.exit(), Exit::Refused);
}

#[tokio::test]
async fn an_honest_server_is_believed() {
    let receipt = put(&[
        WELCOME,
        UNKNOWN,
        GRANTED,
        r#"{"action":"SUCCESS","channel":1,"document_id":7,"filename":"a (1).txt","filesize":5,
            "blake3":"ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
            "created_at":1,"durable":true}"#,
    ])
    .await
    .unwrap();
    assert_eq!((receipt.document_id.get(), receipt.sent_bytes), (7, 5));
    assert_eq!(receipt.filename, "a (1).txt");
}

#[tokio::test]
async fn another_hash_is_no_success() {
    let failure = put(&[
        WELCOME,
        UNKNOWN,
        GRANTED,
        r#"{"action":"SUCCESS","channel":1,"document_id":7,"filename":"a.txt","filesize":5,
            "blake3":"0000000000000000000000000000000000000000000000000000000000000000",
            "created_at":1,"durable":true}"#,
    ])
    .await
    .unwrap_err();
    assert!(matches!(failure, Failure::OtherHash { .. }), "{failure}");
    assert_eq!(failure.exit(), Exit::Integrity);
}

#[tokio::test]
async fn what_no_server_may_say_ends_the_upload() {
    const BEYOND: &str =
        r#"{"action":"resume","channel":1,"document_id":7,"offset":6,"filesize":5}"#;
    const OTHER_SIZE: &str =
        r#"{"action":"upload","channel":1,"document_id":7,"offset":0,"filesize":4}"#;
    const OTHER_DOCUMENT: &str =
        r#"{"action":"resume","channel":1,"document_id":8,"offset":0,"filesize":5}"#;
    const TOO_FAR: &str = r#"{"action":"progress","channel":1,"document_id":7,"received":6,
        "durable":0,"filesize":5,"progress":""}"#;
    const NO_CHUNK: &str = r#"{"action":"welcome","version":1,"server":"x","user_id":1,
        "user":"u","max_filesize":1000,"chunk_size":0,"max_chunk_size":0,"block_size":1048576,
        "max_channels":16,"features":[]}"#;
    const COUNT: &str = r#"{"action":"blocks","channel":1,"document_id":7,"count":1}"#;
    // Two blocks for a file that has one, on channel 1.
    const LIST: &str = "raw:\0\0\0\x4d\x04\0\0\0\x01\0\0\0\0\0\0\0\0\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const HUGE: &str = "raw:\x7f\x7f\x7f\x7f\x01{";
    const CHUNK: &str = "raw:\0\0\0\x0e\x02\0\0\0\x01\0\0\0\0\0\0\0\0x";
    let scripts: [&'static [&'static str]; 9] = [
        &[NO_CHUNK],
        &[GRANTED],
        &[WELCOME, UNFINISHED, BEYOND],
        &[WELCOME, UNFINISHED, OTHER_DOCUMENT],
        &[WELCOME, UNKNOWN, OTHER_SIZE],
        &[WELCOME, UNKNOWN, GRANTED, TOO_FAR],
        &[WELCOME, UNFINISHED, RESUMED, COUNT],
        &[WELCOME, UNFINISHED, RESUMED, LIST],
        &[WELCOME, UNKNOWN, RESUMED],
    ];
    for script in scripts {
        let failure = put(script).await.unwrap_err();
        assert!(matches!(failure, Failure::Protocol(_)), "{script:?}: {failure}");
        assert_eq!(failure.exit(), Exit::Refused);
    }
    // A damaged link looks like this, too, so the client tries again, a limited number of times.
    // Before the first welcome such an answer means that there is no server of Towline.
    let scripts: [(&'static [&'static str], Exit); 2] =
        [(&[HUGE], Exit::Refused), (&[WELCOME, CHUNK], Exit::Resumable)];
    for (script, exit) in scripts {
        let failure = put(script).await.unwrap_err();
        assert_eq!(failure.exit(), exit, "{script:?}: {failure}");
        assert!(failure.to_string().contains("tried 3 times"), "{script:?}: {failure}");
    }
}

#[tokio::test]
async fn a_servers_words_cannot_upset_a_terminal() {
    let failure = put(&[r#"{"action":"error","code":"unauthorized","number":401,
        "message":"\u001b[2Jno\r\n","retry":false}"#])
    .await
    .unwrap_err();
    assert_eq!(failure.code(), Some(Code::Unauthorized));
    assert!(!failure.to_string().chars().any(char::is_control), "{failure}");
}

#[tokio::test]
async fn a_cancelled_upload_has_not_begun() {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let file = tempfile::NamedTempFile::with_suffix("a").unwrap();
    let name = towline_types::DocumentPath::parse("a").unwrap();
    let document = Document { local: file.path().to_owned(), remote: name };
    let mut client = Client::new("127.0.0.1:1".parse().unwrap(), Token::new("t").unwrap());
    let put = client.put(&document, &PutOptions::default(), &cancel, &mut |_| {}).await;
    assert!(matches!(put, Err(Failure::Interrupted(None))));
}
