//! A state file that can be read is written and read back the same, with every field that the
//! library does not know. A file that cannot be read is never overwritten, and a file of a newer
//! version is never changed. See `state/FORMAT.md` section 1.

use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use towline_state::state_file::{
    EntryStatus, STATE_VERSION, StateFile, StateFileError, UploadEntry, UploadsState,
};
use towline_types::{FileSize, Name, Offset, Timestamp};

/// The fields that the library knows; all others have to be kept.
const KNOWN: [&str; 12] = [
    "folder",
    "filename",
    "total_size",
    "offset",
    "chunk_size",
    "user_id",
    "start_time",
    "last_chunk_time",
    "status",
    "path",
    "server",
    "modified_ns",
];

/// The key of an entry that is added: the largest number, which sorts last.
const ADDED: &str = "9223372036854775807";

const MOMENT_SECS: u64 = 1_705_329_400;

/// The input is the content of the file.
pub fn body(data: &[u8]) {
    let folder = tempfile::Builder::new()
        .prefix("towline-fuzz-")
        .tempdir_in(super::fast_folder())
        .expect("a temporary folder");
    let path = folder.path().join("uploads_state.json");
    fs::write(&path, data).expect("the file is written");
    let file = StateFile::at(&path);
    // This parser is lenient: where a key occurs twice, the last one counts.
    let said = serde_json::from_slice::<Value>(data).ok();
    match file.read() {
        Ok(state) => {
            assert!(data.is_empty() || said.is_some(), "what reads is JSON");
            let object = said.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
            let version = object.get("version").and_then(Value::as_u64).unwrap_or(1);
            assert!((1..=STATE_VERSION).contains(&version));
            reads(&file, data, &state, &object);
        }
        Err(StateFileError::NewerVersion { found, known, .. }) => {
            // The library need not be able to hold the other fields of a newer version.
            let version = said.as_ref().map(|said| said["version"].as_u64());
            assert!(version.is_none_or(|version| version == Some(found)), "{found}");
            assert!(found > known && known == STATE_VERSION);
            is_newer(&file, data);
        }
        Err(StateFileError::Corrupt { .. }) => {
            let version = said.as_ref().and_then(|said| said.get("version"));
            let is_newer = version.and_then(Value::as_u64).is_some_and(|it| it > STATE_VERSION);
            let is_doubled = || holds_twice(data, b"\"version\"");
            assert!(!is_newer || is_doubled(), "a newer file is not taken for a damaged one");
            is_corrupt(&file, data);
        }
        Err(error) => panic!("{error:?}"),
    }
    let names = fs::read_dir(folder.path()).expect("the folder can be read");
    for name in names.map(|entry| entry.expect("an entry").file_name()) {
        let name = name.to_string_lossy();
        let is_known = name.starts_with("uploads_state.json") || name == "another.json.lock";
        assert!(is_known || name == "another.json", "{name} was left behind");
    }
}

fn reads(file: &StateFile, data: &[u8], state: &UploadsState, said: &Map<String, Value>) {
    file.update(|_| ()).expect("an update that changes nothing");
    assert!(on_disk(file.path()) == data, "where nothing changed nothing is written");
    let aside = file.set_aside(Timestamp::from_secs(MOMENT_SECS));
    assert!(matches!(aside, Ok(None)), "a good file stays: {aside:?}");

    let another = StateFile::at(file.path().with_file_name("another.json"));
    another.replace(state).expect("what was read can be written");
    // The comparison is between the written forms: a time outside the range of the format does not
    // stay in whole seconds when it is read.
    let again = another.read().expect("what is written reads");
    assert_eq!(written(&again), written(state), "a round trip");
    let first = on_disk(another.path());
    another.replace(state).expect("what was written can be written again");
    assert!(on_disk(another.path()) == first, "the same is written the same");

    let filename = Name::new("new.pdf").expect("a legal name");
    let size = FileSize::try_from(7).expect("a legal size");
    let entry = UploadEntry::new(filename, size, Offset::ZERO, EntryStatus::Paused);
    let change = |state: &mut UploadsState| state.uploads.insert(ADDED.to_owned(), entry.clone());
    file.update(change).expect("an entry can be added");
    let mut changed = state.clone();
    changed.uploads.insert(ADDED.to_owned(), entry.clone());
    let now: Value = serde_json::from_slice(&on_disk(file.path())).expect("what is written reads");
    assert_eq!(now, written(&changed), "nothing else has changed");
    assert_eq!(now["version"], STATE_VERSION, "the version is always written");
    keeps_unknown(said, now.as_object().expect("an object"), &["version", "uploads"]);
    for (key, before) in said.get("uploads").and_then(Value::as_object).into_iter().flatten() {
        if let (true, Some(before)) = (key != ADDED, before.as_object()) {
            keeps_unknown(before, now["uploads"][key].as_object().expect("it stays"), &KNOWN);
        }
    }
    in_order(&now["uploads"], &on_disk(file.path()));

    file.replace(&UploadsState::default()).expect("a mirror writes what its authority says");
    let emptied = file.read().expect("what is written reads");
    assert!(emptied.uploads.is_empty() && emptied.other == state.other, "the rest is carried over");
}

/// Checks that every field except the known ones is there with the same value.
fn keeps_unknown(before: &Map<String, Value>, now: &Map<String, Value>, known: &[&str]) {
    for (name, value) in before.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        assert_eq!(now.get(name), Some(value), "{name:?} is kept");
    }
    for name in now.keys().filter(|name| !known.contains(&name.as_str())) {
        assert!(before.contains_key(name), "{name:?} comes from nowhere");
    }
}

/// Checks that the entries are written in the order of their numbers.
fn in_order(uploads: &Value, bytes: &[u8]) {
    let text = str::from_utf8(bytes).expect("JSON is UTF-8");
    assert!(text.ends_with("}\n"), "it ends in a newline");
    let mut numbered: Vec<_> = uploads
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .filter_map(|key| Some((UploadsState::document_id_of(key)?, key)))
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    let mut from = text.find("\n  \"uploads\": {").expect("there are uploads");
    for (_, key) in numbered.chunk_by(|(one, _), (other, _)| one == other).map(|same| same[0]) {
        // Two keys may have the same number; it is enough that the first of them in the file is
        // found.
        let place = text[from..].find(&format!("\n    {}: {{", Value::from(key.as_str())));
        from += place.unwrap_or_else(|| panic!("{key:?} is not in its place"));
    }
}

fn is_newer(file: &StateFile, data: &[u8]) {
    let now = Timestamp::from_secs(MOMENT_SECS);
    let newer = |done: Result<(), StateFileError>| {
        assert!(matches!(done, Err(StateFileError::NewerVersion { .. })), "{done:?}");
        assert!(on_disk(file.path()) == data, "a newer file stays untouched");
    };
    newer(file.update(|state| state.uploads.clear()));
    newer(file.replace(&UploadsState::default()));
    newer(file.set_aside(now).map(drop));
}

fn is_corrupt(file: &StateFile, data: &[u8]) {
    let updated = file.update(|state| state.uploads.clear());
    assert!(matches!(updated, Err(StateFileError::Corrupt { .. })), "{updated:?}");
    assert!(on_disk(file.path()) == data, "a corrupt file is not written over");
    let now = Timestamp::from_secs(MOMENT_SECS);
    let mut set_aside = Vec::new();
    for _ in 0..2 {
        let aside = file.set_aside(now).expect("a corrupt file can be moved");
        set_aside.push(aside.expect("it was moved"));
        assert!(!file.path().exists());
        fs::write(file.path(), data).expect("the file is written");
    }
    assert_ne!(set_aside[0], set_aside[1], "no name is taken twice");
    for path in set_aside {
        assert!(on_disk(&path) == data, "evidence stays as it is");
    }
    file.replace(&UploadsState::default()).expect("a mirror writes over it");
    assert_eq!(file.read().ok(), Some(UploadsState::default()));
}

fn written(state: &UploadsState) -> Value {
    serde_json::to_value(state).expect("a state is JSON")
}

fn on_disk(path: &Path) -> Vec<u8> {
    fs::read(path).expect("the file is there")
}

fn holds_twice(data: &[u8], word: &[u8]) -> bool {
    data.windows(word.len()).filter(|window| *window == word).count() > 1
}
