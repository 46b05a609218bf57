//! Commands that have not come to their end, beside the uploads.

use super::{entry, fresh, put};
use towline_state::UploadsState;
use towline_state::state_file::JobEntry;
use towline_types::{OnConflict, Timestamp};

fn job(text: &str) -> JobEntry {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_job_is_written_beside_the_uploads_and_read_back() {
    let (_folder, file) = fresh();
    let full = JobEntry {
        paths: vec!["/home/ann/photos".into(), "/home/ann/notes.txt".into()],
        folder: vec!["2024".to_owned().try_into().unwrap()],
        server: Some("example.org:8695".to_owned()),
        server_id: "0123456789abcdef0123456789abcdef".parse().ok(),
        on_conflict: Some(OnConflict::Reject),
        chunk_size: Some(4096),
        skip_refused: true,
        again: true,
        sent_again: vec!["0123456789abcdef".to_owned()],
        token_file: Some("/home/ann/ann.token".into()),
        start_time: Some(Timestamp::from_secs(1_705_329_400)),
        files: 5,
        done: 1,
        ..job(r#"{"paths":[]}"#)
    };
    file.update(|state| {
        state.uploads.insert("1".to_owned(), entry("a"));
        state.jobs.push(full.clone());
    })
    .unwrap();
    assert_eq!(file.read().unwrap().jobs, [full]);
    // Without a job the file looks as it did before there were any.
    file.update(|state| state.jobs.clear()).unwrap();
    assert!(!std::fs::read_to_string(file.path()).unwrap().contains("jobs"));
}

#[test]
fn what_a_later_towline_says_of_a_job_survives() {
    let (_folder, file) = fresh();
    put(&file, r#"{"uploads":{},"jobs":[{"paths":["/a"],"colour":"red","on_conflict":"rename"}]}"#);
    file.update(|state| state.jobs[0].done = 7).unwrap();
    let state = file.read().unwrap();
    assert_eq!(state.jobs[0].other["colour"], "red");
    assert_eq!((state.jobs[0].done, state.jobs[0].files), (7, 0));
    // A copy of another authority has no jobs.
    file.replace(&UploadsState::default()).unwrap();
    assert!(file.read().unwrap().jobs.is_empty());
}

#[test]
fn the_same_paths_to_the_same_place_are_one_command() {
    let one = job(r#"{"paths":["/a","/b"],"server":"h:1","files":3}"#);
    assert!(one.is_same_command(&job(r#"{"paths":["/a","/b"],"server":"h:1","done":2}"#)));
    for other in [
        r#"{"paths":["/a"],"server":"h:1"}"#,
        r#"{"paths":["/a","/b"],"server":"h:2"}"#,
        r#"{"paths":["/a","/b"],"server":"h:1","folder":["x"]}"#,
    ] {
        assert!(!one.is_same_command(&job(other)), "{other}");
    }
}

#[test]
fn the_identity_of_the_store_decides_where_both_know_one() {
    let at = |server: &str, digit: Option<&str>| JobEntry {
        server_id: digit.and_then(|digit| digit.repeat(32).parse().ok()),
        ..job(&format!(r#"{{"paths":["/a"],"server":"{server}"}}"#))
    };
    for (one, other, is_same) in [
        // The server has moved.
        (at("h:1", Some("a")), at("h:2", Some("a")), true),
        // Its data was made anew at the same address.
        (at("h:1", Some("a")), at("h:1", Some("b")), false),
        // As in the file of an older Towline, and before the server was reached.
        (at("h:1", Some("a")), at("h:1", None), true),
        (at("h:1", Some("a")), at("h:2", None), false),
    ] {
        assert_eq!(one.is_same_command(&other), is_same, "{one:?} {other:?}");
        assert_eq!(other.is_same_command(&one), is_same, "{one:?} {other:?}");
    }
}
