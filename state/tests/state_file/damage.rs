//! Files that are torn, foreign, newer or missing.

use super::{entry, fresh, put};
use towline_state::{StateFileError, UploadsState};
use towline_types::Timestamp;

fn is_corrupt(result: Result<UploadsState, StateFileError>) -> bool {
    matches!(result, Err(StateFileError::Corrupt { .. }))
}

#[test]
fn missing_and_empty_mean_no_uploads() {
    let (_folder, file) = fresh();
    assert_eq!(file.read().unwrap(), UploadsState::default());
    put(&file, "");
    assert_eq!(file.read().unwrap(), UploadsState::default());
}

#[test]
fn what_cannot_be_read_is_not_missing() {
    let (_folder, file) = fresh();
    std::fs::create_dir_all(file.path()).unwrap();
    assert!(matches!(file.read(), Err(StateFileError::Io { .. })));
}

#[test]
fn a_file_cut_anywhere_is_seen_to_be_cut() {
    let (_folder, file) = fresh();
    file.update(|state| {
        for id in 1..=3 {
            state.uploads.insert(id.to_string(), entry("Übung.pdf"));
        }
    })
    .unwrap();
    let whole = file.read().unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    for length in 0..bytes.len() {
        put(&file, &bytes[..length]);
        match file.read() {
            Ok(state) if length == 0 => assert_eq!(state, UploadsState::default()),
            // Only the newline is missing.
            Ok(state) => assert_eq!((length, state), (bytes.len() - 1, whole.clone())),
            Err(error) => assert!(matches!(error, StateFileError::Corrupt { .. }), "{error}"),
        }
        // What a power cut can leave: the right length, and zeros from somewhere on.
        let mut zeroed = bytes.clone();
        zeroed[length..].fill(0);
        put(&file, &zeroed);
        assert!(is_corrupt(file.read()) || length == bytes.len() - 1, "zeros from {length}");
    }
}

#[test]
fn content_that_breaks_the_schema_is_corrupt() {
    let (_folder, file) = fresh();
    let with = |fields: &str| format!(r#"{{"uploads":{{"1":{{{fields}}}}}}}"#);
    for content in [
        "null".to_owned(),
        "[]".to_owned(),
        "[2]".to_owned(),
        "{}".to_owned(),
        r#"{"uploads":[]}"#.to_owned(),
        r#"{"version":0,"uploads":{}}"#.to_owned(),
        r#"{"version":"1","uploads":{}}"#.to_owned(),
        with(""),
        with(r#""filename":"../x","total_size":2,"offset":1,"status":"paused""#),
        with(r#""filename":"x","total_size":-2,"offset":1,"status":"paused""#),
        with(r#""filename":"x","total_size":2,"offset":1.5,"status":"paused""#),
        with(r#""filename":"x","total_size":2,"offset":1,"status":"asleep""#),
        with(r#""filename":"x","total_size":2,"offset":1,"status":"paused","user_id":0"#),
    ] {
        put(&file, &content);
        assert!(is_corrupt(file.read()), "{content}");
        assert!(file.update(|state| state.uploads.clear()).is_err(), "{content}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), content);
    }
}

#[test]
fn a_newer_version_is_refused_and_stays_untouched() {
    let (_folder, file) = fresh();
    let newer = r#"{"version":2,"uploads":["not", "our", "schema"]}"#;
    put(&file, newer);
    for result in [
        file.read().map(drop),
        file.update(|state| state.uploads.clear()),
        file.replace(&UploadsState::default()),
        file.set_aside(Timestamp::MIN).map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, StateFileError::NewerVersion { found: 2, known: 1, .. }));
        let text = error.to_string();
        assert!(text.contains(&file.path().display().to_string()), "{text}");
        assert!(text.contains('2') && text.contains('1'), "{text}");
    }
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), newer);
}

#[test]
fn a_corrupt_file_is_set_aside_and_none_is_ever_overwritten() {
    let (_folder, file) = fresh();
    let now = Timestamp::from_secs(1_705_329_400);
    let mut names = Vec::new();
    for content in ["first", "second", "third"] {
        put(&file, content);
        let aside = file.set_aside(now).unwrap().unwrap();
        assert!(!file.path().exists());
        assert_eq!(std::fs::read_to_string(&aside).unwrap(), content);
        names.push(aside.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(names[0], "uploads_state.json.corrupt-1705329400");
    assert_eq!(names[1], "uploads_state.json.corrupt-1705329400-1");
    assert_eq!(names[2], "uploads_state.json.corrupt-1705329400-2");
}

#[test]
fn a_sound_file_is_not_set_aside() {
    let (_folder, file) = fresh();
    assert_eq!(file.set_aside(Timestamp::MIN).unwrap(), None);
    file.update(|state| state.uploads.insert("1".to_owned(), entry("a"))).unwrap();
    assert_eq!(file.set_aside(Timestamp::MIN).unwrap(), None);
    assert_eq!(file.read().unwrap().uploads.len(), 1);
}

#[test]
fn a_mirror_writes_over_a_corrupt_copy() {
    let (_folder, file) = fresh();
    put(&file, "torn");
    file.replace(&UploadsState::default()).unwrap();
    assert_eq!(file.read().unwrap(), UploadsState::default());
}

#[cfg(unix)]
#[test]
fn a_local_path_that_json_cannot_express_is_refused_and_harms_nothing() {
    use std::os::unix::ffi::OsStringExt as _;
    let (_folder, file) = fresh();
    file.update(|state| state.uploads.insert("1".to_owned(), entry("a"))).unwrap();
    let error = file
        .update(|state| {
            let path = std::ffi::OsString::from_vec(b"/caf\xe9".to_vec());
            state.uploads.get_mut("1").unwrap().path = Some(path.into());
        })
        .unwrap_err();
    assert!(matches!(error, StateFileError::Unwritable { .. }));
    assert_eq!(file.read().unwrap().uploads["1"], entry("a"));
}
