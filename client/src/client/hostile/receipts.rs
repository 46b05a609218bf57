//! Servers that do not sign what they promise to sign.

use super::rogue::{Deed, Rogue, honest, put, success, welcome};
use crate::events::Receipt;
use crate::failure::{Failure, ReceiptFailure};
use crate::receipts::{BadReceipt, Issuer, Statement};
use crate::security::Security;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use towline_protocol::reply::{Reply, Success, Welcome};
use towline_protocol::{EncodedBytes, frame};
use towline_types::Fingerprint;

/// The beginning of a `SubjectPublicKeyInfo` of Ed25519; its 32 bytes follow (RFC 8410).
const SPKI_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn public_key() -> EncodedBytes {
    EncodedBytes([&SPKI_HEAD[..], key().public_key().as_ref()].concat())
}

fn signing_welcome() -> Value {
    let mut welcome = welcome();
    welcome["features"] = json!(["new_only", "receipts"]);
    welcome["server_id"] = json!("5f1c0a9e7b3d42688e21c4f09d6ab735");
    welcome
}

fn key_reply(request: &Value) -> Value {
    json!({"action": "receipts", "channel": request["channel"], "public_key": public_key()})
}

fn parsed(reply: &Value) -> Reply {
    Reply::parse(reply.to_string().as_bytes()).unwrap()
}

/// SUCCESS with the signature of the statement that `change` makes of the right one.
fn signed(request: &Value, change: impl FnOnce(&mut Statement)) -> Value {
    let (Reply::Welcome(welcome), Reply::Success(mut success)) =
        (parsed(&signing_welcome()), parsed(&success(request, "a")))
    else {
        panic!("these replies")
    };
    let mut statement = statement(&welcome, &success);
    change(&mut statement);
    let signature = EncodedBytes(key().sign(&statement.signed_bytes()).as_ref().to_vec());
    let scheme = "ed25519".to_owned();
    let signed_at = success.created_at;
    success.receipt =
        Some(towline_protocol::reply::ReceiptSignature { scheme, signed_at, signature });
    serde_json::to_value(Reply::Success(success)).unwrap()
}

fn statement(welcome: &Welcome, success: &Success) -> Statement {
    Statement {
        scheme: "ed25519".to_owned(),
        public_key: public_key(),
        server_id: welcome.server_id.unwrap(),
        user_id: welcome.user_id,
        user: welcome.user.clone(),
        document_id: success.document_id,
        folder: success.folder.clone(),
        filename: success.filename.clone(),
        filesize: success.filesize,
        blake3: success.blake3,
        created_at: success.created_at,
        durable: success.durable,
        signed_at: success.created_at,
    }
}

/// Puts a file to a server that ends it with this answer to `complete`.
async fn put_with(ends: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Receipt {
    let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
        Some("hello") => Deed::Say(signing_welcome()),
        Some("receipts") => Deed::Say(key_reply(request)),
        Some("complete") => Deed::Say(ends(request)),
        _ => honest(request, "a"),
    });
    put(rogue.client().receipts(true)).await.0.unwrap()
}

#[tokio::test]
async fn a_right_signature_is_kept() {
    let receipt = put_with(|request| signed(request, |_| {})).await;
    let signed = receipt.signed.unwrap().unwrap();
    assert_eq!(signed.statement.blake3, receipt.blake3);
    assert!(crate::receipts::verify(&signed).is_ok());
}

#[tokio::test]
async fn what_is_not_signed_as_it_is_said_is_no_receipt_and_the_file_is_there_all_the_same() {
    let wrong = |change: fn(&mut Statement)| put_with(move |request| signed(request, change));
    for receipt in [
        wrong(|statement| statement.filename = "b".to_owned()).await,
        wrong(|statement| statement.filesize = towline_types::FileSize::MIN).await,
        wrong(|statement| statement.durable = false).await,
        wrong(|statement| statement.user = "v".to_owned()).await,
        wrong(|statement| statement.folder = vec![String::new()]).await,
    ] {
        assert_eq!(receipt.signed, Some(Err(BadReceipt::WrongSignature)));
        assert_eq!(receipt.document_id.get(), 7);
    }
    let none = put_with(|request| success(request, "a")).await;
    assert_eq!(none.signed, Some(Err(BadReceipt::Missing)));
    let unknown = put_with(|request| {
        let mut success = signed(request, |_| {});
        success["receipt"]["scheme"] = json!("rsa_pkcs1_md5\u{1b}[2J");
        success
    });
    let Some(Err(bad)) = unknown.await.signed else { panic!("a scheme that nobody knows") };
    assert!(!bad.to_string().chars().any(char::is_control), "{bad}");
    // Who has not asked for receipts does not look at them.
    let rogue = Rogue::that(|_, request| match request["action"].as_str() {
        Some("complete") => Deed::Say(signed(request, |statement| statement.durable = false)),
        _ => honest(request, "a"),
    });
    assert_eq!(put(rogue.client()).await.0.unwrap().signed, None);
}

#[tokio::test]
async fn a_server_that_signs_nothing_is_sent_nothing() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let rogue = Rogue::that(move |_, request| {
        counter.fetch_add(u32::from(request["action"] != "hello"), Ordering::SeqCst);
        honest(request, "a")
    });
    let failure = put(rogue.client().receipts(true)).await.0.unwrap_err();
    let is_it = matches!(failure, Failure::Receipt(ReceiptFailure::NotSigned { .. }));
    assert!(is_it, "{failure:?}");
    assert_eq!((asked.load(Ordering::SeqCst), rogue.connections()), (0, 1));
}

#[tokio::test]
async fn answers_that_are_no_key_end_it_before_anything_is_sent() {
    let answers: [fn(&Value) -> Deed; 3] = [
        |request| Deed::Say(json!({"action": "receipts", "channel": request["channel"]})),
        |request| {
            let mut reply = key_reply(request);
            reply["public_key"] = json!("no base64");
            Deed::Say(reply)
        },
        |request| Deed::Say(success(request, "a")),
    ];
    for answer in answers {
        let rogue = Rogue::that(move |_, request| match request["action"].as_str() {
            Some("hello") => Deed::Say(signing_welcome()),
            Some("receipts") => answer(request),
            other => panic!("{other:?}"),
        });
        put(rogue.client().receipts(true).retries(Some(1))).await.0.unwrap_err();
    }
    // A key that is none signs nothing that passes.
    let receipt = {
        let rogue = Rogue::that(|_, request| match request["action"].as_str() {
            Some("hello") => Deed::Say(signing_welcome()),
            Some("receipts") => Deed::Send(frame::control(&json!({"action": "receipts",
                "channel": request["channel"], "public_key": "AAAA"}))),
            Some("complete") => Deed::Say(signed(request, |_| {})),
            _ => honest(request, "a"),
        });
        put(rogue.client().receipts(true)).await.0.unwrap()
    };
    assert_eq!(receipt.signed, Some(Err(BadReceipt::WrongSignature)));
}

#[tokio::test]
async fn a_server_that_does_not_say_which_it_is_signs_no_receipts() {
    let Reply::Welcome(mut welcome) = parsed(&signing_welcome()) else { panic!("a welcome") };
    assert!(Issuer::new(&welcome, public_key()).is_some());
    welcome.server_id = None;
    assert!(Issuer::new(&welcome, public_key()).is_none());
}

#[test]
fn receipts_of_another_key_than_that_of_the_connection_are_told_apart() {
    let Reply::Welcome(welcome) = parsed(&signing_welcome()) else { panic!("a welcome") };
    let issuer = Issuer::new(&welcome, public_key()).unwrap();
    assert!(issuer.is_known_by(Security::Plaintext));
    assert!(issuer.is_known_by(Security::Key(issuer.fingerprint())));
    assert!(!issuer.is_known_by(Security::Key(Fingerprint::from_bytes([0; 32]))));
}
