//! The file has the user's schema, and keeps what it does not know.

use super::{entry, fresh, put};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use towline_state::UploadsState;
use towline_state::state_file::{EntryStatus, ModifiedNs, UploadEntry};
use towline_types::{Name, Timestamp};

/// The example of `seeds/004`, without its comments.
const SEED: &str = r#"{
   "uploads": {
     "123": {
       "filename": "lecture_notes.pdf",
       "total_size": 5242880,
       "offset": 3932160,
       "chunk_size": 65536,
       "user_id": 45,
       "start_time": 1705329400,
       "last_chunk_time": 1705329556,
       "status": "paused"
     },
     "124": {
       "filename": "project.zip",
       "total_size": 10485760,
       "offset": 6291456,
       "status": "paused"
     }
   }
 }"#;

#[test]
fn the_users_own_example_reads() {
    let (_folder, file) = fresh();
    put(&file, SEED);
    let state = file.read().unwrap();
    let notes = &state.uploads["123"];
    assert_eq!(notes.filename.as_str(), "lecture_notes.pdf");
    assert_eq!(notes.offset.get(), 3_932_160);
    assert_eq!(notes.chunk_size, Some(65536));
    assert_eq!(notes.user_id.map(u64::from), Some(45));
    assert_eq!(notes.start_time, Some(Timestamp::from_secs(1_705_329_400)));
    assert_eq!(notes.last_chunk_time, Some(Timestamp::from_secs(1_705_329_556)));
    assert_eq!(notes.status, EntryStatus::Paused);
    let project = &state.uploads["124"];
    assert_eq!((project.chunk_size, project.start_time), (None, None));
}

#[test]
fn the_written_file_has_the_users_words_in_a_stable_order() {
    let (_folder, file) = fresh();
    file.update(|state| {
        for key in ["1000", "9", "124"] {
            state.uploads.insert(key.to_owned(), entry("doc.pdf"));
        }
        let mut full = entry("notes.pdf");
        full.folder = vec![Name::new("lectures").unwrap()];
        full.chunk_size = Some(65536);
        full.user_id = Some(45.try_into().unwrap());
        full.start_time = Some(1_705_329_400_999.try_into().unwrap());
        full.last_chunk_time = Some(Timestamp::from_secs(1_705_329_556));
        full.status = EntryStatus::Uploading;
        full.path = Some("/home/ann/notes.pdf".into());
        full.server = Some("example.org:7400".to_owned());
        full.modified_ns = Some(ModifiedNs::from(1_705_329_399_123_456_789));
        assert_eq!(full.modified_ns.map(ModifiedNs::get), Some(1_705_329_399_123_456_789));
        state.uploads.insert("123".to_owned(), full);
    })
    .unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let short = |key: &str| {
        format!(
            r#"    "{key}": {{
      "filename": "doc.pdf",
      "total_size": 5242880,
      "offset": 3932160,
      "status": "paused"
    }}"#
        )
    };
    let expected = format!(
        r#"{{
  "version": 1,
  "uploads": {{
{},
    "123": {{
      "folder": [
        "lectures"
      ],
      "filename": "notes.pdf",
      "total_size": 5242880,
      "offset": 3932160,
      "chunk_size": 65536,
      "user_id": 45,
      "start_time": 1705329400,
      "last_chunk_time": 1705329556,
      "status": "uploading",
      "path": "/home/ann/notes.pdf",
      "server": "example.org:7400",
      "modified_ns": 1705329399123456789
    }},
{},
{}
  }}
}}
"#,
        short("9"),
        short("124"),
        short("1000"),
    );
    assert_eq!(text, expected);
}

#[test]
fn unknown_fields_survive_an_update() {
    let (_folder, file) = fresh();
    put(
        &file,
        r#"{"written_by":"a script","uploads":{"7":{"filename":"a","total_size":2,"offset":1,
            "status":"paused","label":{"colour":"red","weight":0.1}}}}"#,
    );
    file.update(|state| {
        state.uploads.get_mut("7").unwrap().offset = 2.try_into().unwrap();
    })
    .unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        written,
        json!({"version":1,"written_by":"a script","uploads":{"7":{"filename":"a","total_size":2,
            "offset":2,"status":"paused","label":{"colour":"red","weight":0.1}}}})
    );
}

#[test]
fn unknown_fields_survive_a_mirror_that_does_not_know_them() {
    let (_folder, file) = fresh();
    put(
        &file,
        r#"{"note":1,"uploads":{"7":{"filename":"a","total_size":2,"offset":1,"status":"paused","x":2},
            "8":{"filename":"b","total_size":2,"offset":1,"status":"paused"}}}"#,
    );
    let mut mirror = UploadsState::default();
    mirror.uploads.insert("7".to_owned(), entry("doc.pdf"));
    file.replace(&mirror).unwrap();
    let state = file.read().unwrap();
    assert_eq!(state.other["note"], json!(1));
    assert_eq!(state.uploads.keys().collect::<Vec<_>>(), ["7"]);
    assert_eq!(state.uploads["7"].filename.as_str(), "doc.pdf");
    assert_eq!(state.uploads["7"].other["x"], json!(2));
}

#[test]
fn nothing_is_written_where_nothing_changed() {
    let (_folder, file) = fresh();
    put(&file, SEED);
    assert_eq!(file.update(|state| state.uploads.len()).unwrap(), 2);
    file.replace(&file.read().unwrap()).unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), SEED);
}

fn arb_entry() -> impl Strategy<Value = UploadEntry> {
    let seconds = || proptest::option::of((0u64..1 << 40).prop_map(Timestamp::from_secs));
    let name = || "[a-zA-Zäöü][a-zA-Z0-9 äöü]{0,20}x".prop_map(|name| Name::new(name).unwrap());
    (
        (proptest::collection::vec(name(), 0..3), name(), 0..i64::MAX as u64, 0..i64::MAX as u64),
        (any::<Option<u32>>(), proptest::option::of(1..i64::MAX as u64), seconds(), seconds()),
        (any::<bool>(), any::<Option<String>>(), any::<Option<String>>(), any::<Option<i64>>()),
        proptest::collection::btree_map("x_[a-z]{1,5}", arb_value(), 0..3),
    )
        .prop_map(|(what, options, client, other)| {
            let status = if client.0 { EntryStatus::Paused } else { EntryStatus::Uploading };
            let (total_size, offset) = (what.2.try_into().unwrap(), what.3.try_into().unwrap());
            let mut entry = UploadEntry::new(what.1, total_size, offset, status);
            entry.folder = what.0;
            entry.chunk_size = options.0;
            entry.user_id = options.1.map(|id| id.try_into().unwrap());
            entry.start_time = options.2;
            entry.last_chunk_time = options.3;
            entry.path = client.1.map(Into::into);
            entry.server = client.2;
            entry.modified_ns = client.3.map(ModifiedNs::from);
            entry.other = Map::from_iter(other);
            entry
        })
}

fn arb_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        proptest::collection::vec(inner, 0..3).prop_map(Value::from)
    })
}

proptest! {
    // Each case syncs a file.
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_was_written_reads_back(
        uploads in proptest::collection::btree_map("[1-9][0-9]{0,8}(@[a-z.:]{1,9})?|[a-z]{1,4}", arb_entry(), 0..6),
        other in proptest::collection::btree_map("x_[a-z]{1,5}", arb_value(), 0..3),
    ) {
        let (_folder, file) = fresh();
        let mut state = UploadsState::default();
        state.uploads = BTreeMap::from_iter(uploads);
        state.other = Map::from_iter(other);
        file.replace(&state).unwrap();
        prop_assert_eq!(file.read().unwrap(), state);
    }
}
