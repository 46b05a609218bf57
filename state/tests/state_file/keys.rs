//! Two servers may hand out the same number.

use super::entry;
use towline_state::UploadsState;
use towline_state::state_file::{KnownServer, Relation};
use towline_testkit::id;
use towline_types::StoreId;

const HERE: &str = "here:7400";
const THERE: &str = "there:7400";

fn at(address: &str) -> KnownServer {
    KnownServer::new(address, None)
}

fn store(digit: &str) -> StoreId {
    digit.repeat(32).parse().unwrap()
}

fn insert(state: &mut UploadsState, number: u64, server: Option<&str>, filename: &str) -> String {
    let key = state.key_for(id(number), server.map(at).as_ref());
    let mut entry = entry(filename);
    entry.server = server.map(str::to_owned);
    state.uploads.insert(key.clone(), entry);
    key
}

fn found(state: &UploadsState, number: u64, server: Option<&str>) -> Option<String> {
    state.find(id(number), server.map(at).as_ref()).map(|(_, entry)| entry.filename.to_string())
}

#[test]
fn the_second_server_with_a_number_gets_a_longer_key() {
    let mut state = UploadsState::default();
    assert_eq!(insert(&mut state, 123, Some(HERE), "a"), "123");
    assert_eq!(insert(&mut state, 123, Some(THERE), "b"), "123@there:7400");
    assert_eq!(insert(&mut state, 124, Some(THERE), "c"), "124");
    assert_eq!(state.key_for(id(123), Some(&at(HERE))), "123", "its own, the second time too");
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
    assert_eq!(state.key_for(id(123), Some(&at(THERE))), "123@there:7400");
    assert_eq!(state.key_for(id(123), Some(&at(HERE))), "123");
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

/// An entry of a server that has told its identity.
fn insert_with_id(state: &mut UploadsState, number: u64, server: &KnownServer, filename: &str) {
    let key = state.key_for(id(number), Some(server));
    let mut entry = entry(filename);
    entry.server = Some(server.address.clone());
    entry.server_id = server.id;
    assert_eq!(state.uploads.insert(key, entry), None, "nothing is overwritten");
}

#[test]
fn the_same_store_behind_another_address_is_the_same_server() {
    let mut state = UploadsState::default();
    let before = KnownServer::new(HERE, Some(store("a")));
    insert_with_id(&mut state, 7, &before, "moved");
    let after = KnownServer::new(THERE, Some(store("a")));
    assert_eq!(after.relation(&state.uploads["7"]), Relation::Same);
    assert_eq!(state.find(id(7), Some(&after)).unwrap().1.filename.to_string(), "moved");
    assert_eq!(state.key_for(id(7), Some(&after)), "7", "its own key");
    // Before a login nobody knows: the address is all there is, and it differs.
    assert_eq!(at(THERE).relation(&state.uploads["7"]), Relation::OtherAddress);
    assert_eq!(found(&state, 7, Some(THERE)), None);
    assert_eq!(found(&state, 7, Some(HERE)).as_deref(), Some("moved"));
}

#[test]
fn another_store_behind_the_same_address_is_another_server() {
    let mut state = UploadsState::default();
    for (digit, filename) in [("a", "first"), ("b", "second"), ("c", "third")] {
        let server = KnownServer::new(HERE, Some(store(digit)));
        assert_eq!(state.find(id(7), Some(&server)), None);
        insert_with_id(&mut state, 7, &server, filename);
    }
    for (digit, filename) in [("a", "first"), ("b", "second"), ("c", "third")] {
        let server = KnownServer::new(HERE, Some(store(digit)));
        assert_eq!(state.find(id(7), Some(&server)).unwrap().1.filename.to_string(), filename);
    }
    let long = format!("7@{}", store("c"));
    assert_eq!(state.uploads[&long].filename.to_string(), "third");
    assert_eq!(UploadsState::document_id_of(&long), Some(id(7)));
    assert_eq!(state.numbered(id(7)).count(), 3);
}

#[test]
fn where_one_side_knows_no_identity_the_address_decides() {
    let mut state = UploadsState::default();
    insert(&mut state, 7, Some(HERE), "of an older client");
    let told = KnownServer::new(HERE, Some(store("a")));
    assert_eq!(told.relation(&state.uploads["7"]), Relation::SameAddress);
    assert_eq!(state.key_for(id(7), Some(&told)), "7");
}
