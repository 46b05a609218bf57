//! Two servers may hand out the same number.

use super::entry;
use towline_protocol::DocumentId;
use towline_state::UploadsState;

const HERE: &str = "here:7400";
const THERE: &str = "there:7400";

fn id(number: u64) -> DocumentId {
    number.try_into().unwrap()
}

fn insert(state: &mut UploadsState, number: u64, server: Option<&str>, filename: &str) -> String {
    let key = state.key_for(id(number), server);
    let mut entry = entry(filename);
    entry.server = server.map(str::to_owned);
    state.uploads.insert(key.clone(), entry);
    key
}

fn found(state: &UploadsState, number: u64, server: Option<&str>) -> Option<String> {
    state.find(id(number), server).map(|(_, entry)| entry.filename.to_string())
}

#[test]
fn the_second_server_with_a_number_gets_a_longer_key() {
    let mut state = UploadsState::default();
    assert_eq!(insert(&mut state, 123, Some(HERE), "a"), "123");
    assert_eq!(insert(&mut state, 123, Some(THERE), "b"), "123@there:7400");
    assert_eq!(insert(&mut state, 124, Some(THERE), "c"), "124");
    assert_eq!(state.key_for(id(123), Some(HERE)), "123", "its own, the second time too");
    assert_eq!(found(&state, 123, Some(HERE)).as_deref(), Some("a"));
    assert_eq!(found(&state, 123, Some(THERE)).as_deref(), Some("b"));
    assert_eq!(found(&state, 124, Some(HERE)), None);
}

#[test]
fn a_document_keeps_its_key_when_the_plain_one_becomes_free() {
    let mut state = UploadsState::default();
    insert(&mut state, 123, Some(HERE), "a");
    insert(&mut state, 123, Some(THERE), "b");
    state.uploads.remove("123");
    assert_eq!(state.key_for(id(123), Some(THERE)), "123@there:7400");
    assert_eq!(state.key_for(id(123), Some(HERE)), "123");
    assert_eq!(found(&state, 123, Some(THERE)).as_deref(), Some("b"));
}

#[test]
fn an_entry_without_a_server_is_anyones_to_find_and_nobodys_to_overwrite() {
    let mut state = UploadsState::default();
    insert(&mut state, 123, None, "by hand");
    assert_eq!(found(&state, 123, Some(HERE)).as_deref(), Some("by hand"));
    assert_eq!(insert(&mut state, 123, Some(HERE), "mine"), "123@here:7400");
    assert_eq!(found(&state, 123, Some(HERE)).as_deref(), Some("mine"));
    assert_eq!(found(&state, 123, None).as_deref(), Some("by hand"));
}

#[test]
fn keys_tell_their_document() {
    assert_eq!(UploadsState::document_id_of("123"), Some(id(123)));
    assert_eq!(UploadsState::document_id_of("123@here:7400"), Some(id(123)));
    assert_eq!(UploadsState::document_id_of("0"), None);
    assert_eq!(UploadsState::document_id_of("notes"), None);
}
