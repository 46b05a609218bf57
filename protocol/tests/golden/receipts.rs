//! Receipts: what is asked and said of them, and the bytes that are signed.

use crate::values::*;
use towline_protocol::frame::Channel;
use towline_protocol::receipt::{BadLine, SignedReceipt, Statement};
use towline_protocol::reply::{ReceiptKey, ReceiptSignature, Reply, Success};
use towline_protocol::request::{Receipts, Request};

const SPEC: &str = include_str!("../../SPEC.md");

/// The fenced block of that language.
fn fenced(language: &str) -> &'static str {
    let (_, block) = SPEC.split_once(&format!("\n```{language}\n")).unwrap();
    block.split("\n```").next().unwrap()
}

/// The receipt that the specification shows.
fn shown() -> SignedReceipt {
    SignedReceipt::parse(fenced("json").as_bytes()).unwrap()
}

pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    vec![
        ("receipts", Request::Receipts(Receipts::default())),
        ("receipts-channel", Request::Receipts(Receipts { channel: Channel(7) })),
    ]
}

pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let SignedReceipt { statement, signature } = shown();
    let Statement { scheme, public_key, signed_at, .. } = statement;
    let success = Success {
        channel: Channel(7),
        document_id: document(124),
        node_id: None,
        filename: "Übung 3.pdf".into(),
        folder: lectures(),
        filesize: size(3_145_735),
        blake3: hash(HASH_OF_4_BLOCKS),
        created_at: moment(1_705_331_256_000),
        durable: true,
        existing: false,
        copied: false,
        held: None,
        receipt: Some(ReceiptSignature { scheme, signed_at, signature }),
    };
    vec![
        ("receipts", Reply::Receipts(ReceiptKey { channel: Channel(0), public_key })),
        ("success-receipt", Reply::Success(success)),
    ]
}

#[test]
fn the_signed_bytes_are_those_of_the_specification() {
    let mut expected = Vec::new();
    for line in fenced("signed").lines() {
        let (hex, _) = line.split_once('#').unwrap_or((line, ""));
        let byte = |digits| u8::from_str_radix(digits, 16).unwrap();
        expected.extend(hex.split_whitespace().map(byte));
    }
    assert!(expected.starts_with(b"towline receipt 1\n"));
    assert_eq!(shown().statement.signed_bytes(), expected);
    assert_eq!(shown().line(), fenced("json"));
}

#[test]
fn names_that_are_joined_elsewhere_are_other_bytes() {
    let statement = shown().statement;
    let moved = |folder: &[&str], filename: &str| {
        let folder = folder.iter().map(ToString::to_string).collect();
        Statement { folder, filename: filename.to_owned(), ..statement.clone() }.signed_bytes()
    };
    let all = [
        moved(&["a", "b"], "c"),
        moved(&["ab"], "c"),
        moved(&["a"], "bc"),
        moved(&["a"], "b/c"),
        moved(&[], "abc"),
        moved(&["a", "b", "c"], ""),
    ];
    for (number, bytes) in all.iter().enumerate() {
        assert!(!all[number + 1..].contains(bytes), "{number}");
    }
}

#[test]
fn a_line_with_another_field_or_of_another_format_is_no_receipt() {
    let line = fenced("json");
    let parse = |line: &str| SignedReceipt::parse(line.as_bytes());
    let newer = line.replacen("\"receipt\":1", "\"receipt\":2,\"colour\":3", 1);
    assert!(matches!(parse(&newer), Err(BadLine::Newer(2))));
    for bad in [
        line.replacen('{', "{\"note\":\"paid\",", 1),
        line.replacen('{', "{\"user\":\"eve\",", 1),
        line.replacen("\"user\":\"ada\",", "", 1),
        line.replacen(",\"signature\"", ",\"sign\"", 1),
        line.replacen("\"receipt\":1,", "", 1),
        line.replacen("\"filesize\":", "\"filesize\":-", 1),
        line[..line.len() - 20].to_owned(),
        String::new(),
    ] {
        assert!(matches!(parse(&bad), Err(BadLine::Unreadable(_))), "{bad}");
    }
}
