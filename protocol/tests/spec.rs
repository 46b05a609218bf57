//! `SPEC.md` and the code say the same. What the page shows (frames, messages,
//! tables, values) is read out of it and held against the code.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop where a test may")]

use std::collections::{BTreeMap, BTreeSet};
use towline_protocol::error::{Code, ErrorReply};
use towline_protocol::reply::{Change, Operation, Part};
use towline_protocol::{Node, Reply, Request, frame, limits};
use towline_types::block::{self, BLOCK_SIZE_BYTES};
use towline_types::file_hash;
use towline_types::limits as file_limits;
use towline_types::{BlockIndex, ChangeId, FileSize, Offset, Timestamp};

const SPEC: &str = include_str!("../SPEC.md");
const GOLDEN: &[&str] = &[
    include_str!("golden/requests.hex"),
    include_str!("golden/replies.hex"),
    include_str!("golden/binary.hex"),
    include_str!("golden/refused.hex"),
];

/// The fenced blocks of that language.
fn fenced(language: &str) -> Vec<&'static str> {
    let opening = format!("\n```{language}\n");
    let blocks = SPEC.split(&opening).skip(1);
    blocks.map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// The rows of the table whose head begins with that cell, without back-ticks.
fn table(first: &str, second: &str) -> Vec<Vec<String>> {
    let head = format!("\n| {first} | {second} |");
    let (_, table) = SPEC.split_once(&head).expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let row = row.trim_matches('|').replace('`', "");
        row.split('|').map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// The messages of one direction.
fn messages(arrow: &str) -> Vec<&'static str> {
    let lines = fenced("text").into_iter().flat_map(str::lines);
    lines.filter_map(|line| line.strip_prefix(arrow)).collect()
}

fn actions<'a>(messages: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let word = |message: &str| {
        let message: serde_json::Value = serde_json::from_str(message).unwrap();
        message["action"].as_str().unwrap().to_owned()
    };
    messages.into_iter().map(word).collect()
}

#[test]
fn its_frames_are_golden() {
    let shown = fenced("hex");
    for frame in &shown {
        let whole = format!("\n{frame}\n");
        assert!(GOLDEN.iter().any(|file| file.contains(&whole)), "no golden frame:\n{frame}");
    }
    for kind in ["# kind: control", "# kind: chunk", "# kind: block", "# kind: block list"] {
        let shows = |frame: &&str| frame.lines().any(|line| line.ends_with(kind));
        assert!(shown.iter().any(shows), "no frame with {kind}");
    }
}

#[test]
fn its_messages_are_what_the_code_says() {
    for text in messages("→ ") {
        let request = Request::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }
    for text in messages("← ") {
        let reply = Reply::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(serde_json::to_string(&reply).unwrap(), text);
        if let Reply::Error(error) = reply {
            let expected = (error.code.number(), error.code.can_retry());
            assert_eq!((error.number, error.retry), expected, "{text}");
        }
    }
}

#[test]
fn it_shows_every_action() {
    // The golden frames are complete (`golden/` sees to it), so the page is
    // complete if it shows what they show.
    let golden = |file: &'static str| {
        let lines = file.lines().filter_map(|line| line.split_once(r#"# {"action":""#));
        lines.map(|(_, rest)| rest.split('"').next().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(actions(messages("→ ")), golden(GOLDEN[0]));
    assert_eq!(actions(messages("← ")), golden(GOLDEN[1]));
}

#[test]
fn its_error_table_is_the_codes() {
    let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
    let rows: Vec<Vec<String>> =
        table("word", "number").into_iter().map(|row| row[..4].to_vec()).collect();
    let codes: Vec<Vec<String>> = Code::ALL
        .iter()
        .map(|code| {
            let number = code.number().to_string();
            vec![code.to_string(), number, yes(code.can_retry()), yes(code.closes())]
        })
        .collect();
    assert_eq!(rows, codes);
}

#[test]
fn its_errors_have_no_field_that_the_code_has_not() {
    let all = ErrorReply {
        expected: Some(Offset::ZERO),
        index: Some(BlockIndex::FIRST),
        max: Some(0),
        missing: Some(0),
        field: Some(String::new()),
        node: Some(Box::new(node())),
        count: Some(0),
        reason: Some(String::new()),
        ..ErrorReply::new(Code::Internal, "")
    };
    let all = serde_json::to_value(&all).unwrap();
    for row in table("word", "number") {
        let mut besides = row[4].split(", ").filter(|field| !field.is_empty());
        assert!(besides.all(|field| all.get(field).is_some()), "{row:?}");
        assert!(!row[5].is_empty(), "{row:?}");
    }
}

/// A node with every field.
fn node() -> Node {
    let text = concat!(
        r#"{"node_id":7,"parent_id":3,"kind":"link","name":"n","folder":["f"],"version":5,"size":5,"#,
        r#""blake3":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262","#,
        r#""held":"scanning","mtime_ms":-1,"mode":420,"target":"t","place_rev":1,"content_rev":1,"deleted_at":1}"#
    );
    let node: Node = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&node).unwrap(), text);
    node
}

/// The words of the first column of a table, without back-ticks and commas.
fn words(first: &str) -> BTreeSet<String> {
    let head = format!("\n| {first} | ");
    let (_, table) = SPEC.split_once(&head).expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split('|').next().unwrap().replace('`', ""));
    let words: Vec<String> = cells
        .flat_map(|cell| cell.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    let set: BTreeSet<String> = words.iter().cloned().collect();
    assert_eq!(set.len(), words.len(), "a word stands there twice: {words:?}");
    set
}

fn keys(value: &impl serde::Serialize) -> BTreeSet<String> {
    let value = serde_json::to_value(value).unwrap();
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn its_node_and_its_change_have_the_fields_of_the_code() {
    assert_eq!(words("in a node"), keys(&node()));
    let change = Change {
        change_id: ChangeId::MAX,
        op: Operation::Create,
        changed: vec![Part::Place],
        at: Some(Timestamp::MAX),
        node: node(),
    };
    assert_eq!(words("in a change"), keys(&change));
}

/// The table of fields in the chapter of each request says the same as the table of all fields.
#[test]
fn each_chapter_about_nodes_has_all_fields_of_its_request() {
    let all = table("request", "field");
    for request in
        ["list", "mkdir", "link", "move", "remove", "restore", "read", "delta", "download_url"]
    {
        let heading =
            if request == "read" { "\n## 12. Reading\n" } else { &format!("\n### {request}\n") };
        let (_, chapter) = SPEC.split_once(heading).expect("a chapter for each");
        let (_, table) = chapter.split_once("\n| field | | |\n").expect("a table in each");
        let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
        let cells =
            rows.map(|row| row.trim_matches('|').split('|').next().unwrap().replace('`', ""));
        let found: BTreeSet<String> = cells
            .flat_map(|cell| cell.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>())
            .collect();
        let expected: BTreeSet<String> =
            all.iter().filter(|row| row[0] == request).map(|row| row[1].clone()).collect();
        assert_eq!(found, expected, "{request}");
    }
}

macro_rules! values {
    ($($limits:ident: $($name:ident)*;)*) => {
        [$($((stringify!($name), $limits::$name as u64)),*),*]
    };
}

#[test]
fn its_limits_are_the_constants() {
    let mut constants: BTreeMap<String, String> = values![
        limits: LENGTH_PREFIX_BYTES CHUNK_HEADER_BYTES VALUE_BYTES CHUNK_BYTES_MAX CHUNK_BYTES_DEFAULT
        CONTROL_BYTES_MAX HELLO_BYTES_MAX MESSAGE_BYTES_MAX TOKEN_BYTES_MAX JSON_DEPTH_MAX
        BLOCK_LIST_VALUES_MAX FRAME_BYTES_MAX WITHDRAW_RANGES_MAX CHANNELS_MAX FRAME_STRETCH_BYTES
        READ_BYTES_MAX READS_MAX LIST_ENTRIES_MAX LIST_ENTRIES_DEFAULT DELTA_ITEMS_MAX
        DELTA_ITEMS_DEFAULT DELTA_WAIT_MS_MAX LINK_SECONDS_DEFAULT LINK_SECONDS_MAX
        CURSOR_BYTES_MAX;
        file_limits: NAME_BYTES FOLDER_DEPTH PATH_BYTES OPEN_BLOCKS_MAX WRITERS_MAX
        LINK_TARGET_BYTES;
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_string()))
    .collect();
    // The list above cannot forget one: the sources are asked.
    let sources =
        [include_str!("../src/limits.rs"), include_str!("../../types/src/limits.rs")].concat();
    let declared = sources.lines().filter_map(|line| line.strip_prefix("pub const "));
    let declared: BTreeSet<&str> = declared.map(|rest| rest.split(':').next().unwrap()).collect();
    assert_eq!(constants.keys().map(String::as_str).collect::<BTreeSet<_>>(), declared);

    constants.insert("BLOCK_SIZE_BYTES".to_owned(), BLOCK_SIZE_BYTES.to_string());
    let rows: BTreeMap<String, String> =
        table("name", "value").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(rows, constants);
}

#[test]
fn its_block_values_are_true() {
    let rows = table("filesize", "hash of the file");
    assert!(rows.len() >= 5);
    for row in rows {
        let filesize: FileSize = row[0].parse().unwrap();
        let bytes: Vec<u8> =
            (0..filesize.get()).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let values: Vec<_> = bytes
            .chunks(1 << 20)
            .zip(0..)
            .map(|(block, at)| block::hash_block(BlockIndex::new(at).unwrap(), filesize, block))
            .collect();
        let text: Vec<String> = values.iter().map(ToString::to_string).collect();
        let text = if text.is_empty() { "none".to_owned() } else { text.join(" ") };
        assert_eq!(row[2], text);
        assert_eq!(row[1], file_hash::hash_file(filesize, values).to_string());
        assert_eq!(row[1], blake3::hash(&bytes).to_hex().as_str(), "and b3sum says the same");
    }
}

#[test]
fn its_kinds_are_the_kinds() {
    use frame::Kind;
    let kinds = [Kind::Control, Kind::Chunk, Kind::Block, Kind::BlockList];
    let rows = table("kind", "name");
    assert_eq!(rows.len(), kinds.len());
    for (row, kind) in rows.iter().zip(kinds) {
        assert_eq!(row[0], (kind as u8).to_string());
        assert_eq!(row[1].replace(' ', ""), format!("{kind:?}").to_lowercase());
    }
}

/// The fields of each request, as its type has them: the word of the request, the field,
/// and whether a client may leave it out.
fn fields_in_the_code() -> Vec<[String; 3]> {
    let source = [
        include_str!("../src/request.rs"),
        include_str!("../src/request/tree.rs"),
        include_str!("../src/request/read.rs"),
        include_str!("../src/request/download_url.rs"),
        include_str!("../src/request/changes.rs"),
        include_str!("../src/request/receipts.rs"),
    ]
    .concat();
    let (_, requests) = source.split_once("\nrequests! {").unwrap();
    let (requests, _) = requests.split_once("\n}").unwrap();
    let mut fields = Vec::new();
    for line in requests.lines().filter(|line| line.ends_with("\",")) {
        let (name, word) = line.trim().split_once(' ').unwrap();
        let message = name.split_once('(').unwrap().1.trim_end_matches(')');
        let head = format!("\npub struct {message} {{\n");
        let (_, body) = source.split_once(&head).unwrap_or_else(|| panic!("{message}"));
        let (body, _) = body.split_once("\n}").unwrap();
        let mut needed = "MUST";
        for line in body.lines().map(str::trim) {
            if line.starts_with("#[serde(default") {
                needed = "MAY";
            } else if let Some(field) = line.strip_prefix("pub ") {
                let field = field.split(':').next().unwrap();
                fields.push([word.trim_matches(&['"', ','][..]), field, needed].map(str::to_owned));
                needed = "MUST";
            }
        }
    }
    fields
}

#[test]
fn its_fields_are_those_of_the_requests() {
    let said = |row: &Vec<String>| [row[0].clone(), row[1].clone(), row[2].clone()];
    let table: Vec<_> = table("request", "field").iter().map(said).collect();
    let (channels, fields): (Vec<_>, Vec<_>) =
        fields_in_the_code().into_iter().partition(|[_, field, _]| field == "channel");
    assert_eq!(table, fields);
    // The page says of `channel` once that any request may have it.
    assert!(channels.iter().all(|[_, _, needed]| needed == "MAY"), "{channels:?}");
    let words: BTreeSet<_> = channels.into_iter().map(|[word, ..]| word).collect();
    assert_eq!(words, actions(messages("→ ")));
}

#[test]
fn a_request_takes_its_fields_and_no_others() {
    let values = BTreeMap::from([
        ("version", "1"),
        ("token", "\"t\""),
        ("join", "\"j\""),
        ("client", "\"c\""),
        ("filename", "\"doc.pdf\""),
        ("folder", "[\"a\",\"b\"]"),
        ("filesize", "7"),
        ("user_id", "123"),
        ("chunk_size", "65536"),
        ("blake3", "\"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\""),
        ("on_conflict", "\"reject\""),
        ("blocks", "true"),
        ("new_only", "true"),
        ("grow", "true"),
        ("parent_id", "3"),
        ("node_id", "7"),
        ("base_version", "5"),
        ("mtime_ms", "-1"),
        ("mode", "420"),
        ("path", "[\"a\",\"b\"]"),
        ("to", "[\"a\",\"b\"]"),
        ("target", "\"b\""),
        ("recursive", "true"),
        ("trash", "true"),
        ("limit", "2"),
        ("after", "\"b\""),
        ("place_rev", "12"),
        ("seen", "15"),
        ("length", "7"),
        ("since", "\"latest\""),
        ("wait_ms", "7"),
        ("document_id", "5"),
        ("offset", "3"),
        ("lease", "9"),
        ("ranges", "[[0,1]]"),
        ("expires_in", "604800"),
    ]);
    let rows = table("request", "field");
    for request in actions(messages("→ ")) {
        let mine: BTreeMap<&str, &str> = rows
            .iter()
            .filter(|row| row[0] == request)
            .map(|row| (row[1].as_str(), row[2].as_str()))
            .collect();
        let with = |fields: &[&str]| {
            let text: String = fields.iter().map(|f| format!(",\"{f}\":{}", values[f])).collect();
            Request::parse(format!("{{\"action\":\"{request}\",\"channel\":4{text}}}").as_bytes())
        };
        let needed: Vec<&str> =
            mine.iter().filter(|(_, needed)| **needed == "MUST").map(|(field, _)| *field).collect();
        assert!(with(&needed).is_ok(), "{request} with {needed:?}");
        for left_out in &needed {
            let rest: Vec<&str> = needed.iter().copied().filter(|it| it != left_out).collect();
            let error = with(&rest).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::BadRequest, Some(*left_out)));
        }
        for field in values.keys() {
            let more = [needed.clone(), vec![*field]].concat();
            if needed.contains(field) {
                continue;
            }
            assert_eq!(with(&more).is_ok(), mine.contains_key(field), "{request} with {field}");
        }
    }
}

#[test]
fn its_links_lead_somewhere() {
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
    };
    let anchors: BTreeSet<String> =
        SPEC.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    for link in SPEC.split("](#").skip(1) {
        let link = link.split(')').next().unwrap();
        assert!(anchors.contains(link), "{link} is not among {anchors:?}");
    }
}
