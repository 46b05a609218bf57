//! Users are added, found and removed; numbers and names are never given twice.

use crate::fixture::{Fixture, at, refusal, user};
use towline_state::catalog::{Refusal, User, UserRef};

#[test]
fn users_are_found_by_number_and_by_name() {
    let f = Fixture::new();
    let bob = f.catalog.add_user("bob", Some(user(45)), at(2)).wait().unwrap();
    let expected =
        User { user_id: user(45), name: "bob".to_owned(), created_at: at(2), removed_at: None };
    assert_eq!(bob, expected);
    assert_eq!(f.catalog.user(user(45)).wait().unwrap(), Some(bob.clone()));
    assert_eq!(f.catalog.user_named("bob").wait().unwrap(), Some(bob.clone()));
    assert_eq!(f.catalog.user_named("BOB").wait().unwrap(), None);
    assert_eq!(f.catalog.user(user(46)).wait().unwrap(), None);
    let all = f.catalog.users().wait().unwrap();
    let names: Vec<_> = all.into_iter().map(|user| user.unwrap().name).collect();
    assert_eq!(names, ["ann", "bob"]);
    assert_eq!(f.catalog.highest_user().wait().unwrap(), Some(user(45)));
    let next = f.catalog.add_user("cyd", None, at(3)).wait().unwrap();
    assert_eq!(next.user_id, user(46));
}

#[test]
fn names_that_a_command_line_could_mistake_are_refused() {
    let f = Fixture::new();
    let long = "x".repeat(65);
    for name in ["", ".a", "-a", "123", "a b", "a/b", "ä", "a\n", long.as_str()] {
        let refused = refusal(f.catalog.add_user(name, None, at(2)).wait());
        assert_eq!(refused, Refusal::BadUserName(name.to_owned()));
    }
    for name in ["a", "1a", "_", "a.b-c_d", &long[1..]] {
        f.catalog.add_user(name, None, at(2)).wait().unwrap();
    }
}

#[test]
fn taken_names_and_numbers_are_refused() {
    let f = Fixture::new();
    let taken = refusal(f.catalog.add_user("ann", None, at(2)).wait());
    assert_eq!(
        taken,
        Refusal::NameTaken { name: "ann".to_owned(), user_id: f.user, removed: false }
    );
    let taken = refusal(f.catalog.add_user("bob", Some(f.user), at(2)).wait());
    assert_eq!(taken, Refusal::UserIdTaken(f.user));
    let huge = user(i64::MAX as u64);
    let refused = refusal(f.catalog.add_user("bob", Some(huge), at(2)).wait());
    assert_eq!(refused, Refusal::BadUserId(huge));
}

#[test]
fn the_last_number_that_json_keeps_exactly_can_be_asked_for() {
    let f = Fixture::new();
    let last = (1 << 53) - 1;
    f.catalog.add_user("last", Some(user(last)), at(2)).wait().unwrap();
    let refused = refusal(f.catalog.add_user("beyond", Some(user(last + 1)), at(2)).wait());
    assert_eq!(refused, Refusal::BadUserId(user(last + 1)));
}

#[test]
fn a_removed_user_keeps_row_and_name() {
    let f = Fixture::new();
    let removed = f.catalog.remove_user(f.user, at(5)).wait().unwrap();
    assert_eq!(removed.removed_at, Some(at(5)));
    let again = f.catalog.remove_user(f.user, at(6)).wait().unwrap();
    assert_eq!(again.removed_at, Some(at(5)));
    assert_eq!(f.catalog.users().wait().unwrap().pop().unwrap().unwrap(), removed);
    let taken = refusal(f.catalog.add_user("ann", None, at(7)).wait());
    assert_eq!(
        taken,
        Refusal::NameTaken { name: "ann".to_owned(), user_id: f.user, removed: true }
    );
    assert!(taken.to_string().contains("belonged to user 1"), "{taken}");
    let missing = refusal(f.catalog.remove_user(user(9), at(5)).wait());
    assert_eq!(missing, Refusal::NoSuchUser);
}

#[test]
fn a_user_edited_by_hand_is_named_and_the_others_are_listed() {
    let f = Fixture::new();
    f.catalog.add_user("bob", None, at(2)).wait().unwrap();
    f.edit("UPDATE users SET name = '../ann' WHERE user_id = 1");
    let mut users = f.catalog.users().wait().unwrap();
    assert_eq!(users.pop().unwrap().unwrap().name, "bob");
    let error = users.pop().unwrap().unwrap_err().to_string();
    assert!(error.contains("user 1") && error.contains("name"), "{error}");
}

#[test]
fn a_number_has_one_spelling_and_a_name_is_one_that_a_user_can_have() {
    assert_eq!(UserRef::parse("7"), Some(UserRef::Number(user(7))));
    assert_eq!(UserRef::parse("ada.b-c"), Some(UserRef::Name("ada.b-c".to_owned())));
    for text in
        ["", "0", "07", "+7", "-7", " 7", "99999999999999999999", "a b", "1' OR 1=1", "../x"]
    {
        assert_eq!(UserRef::parse(text), None, "{text}");
    }
}
