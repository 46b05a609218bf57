//! Tokens are recorded, noted in use and revoked; the catalog never has the tokens themselves.

use crate::fixture::{Fixture, at, user};
use std::time::Duration;
use towline_state::catalog::{IssuedToken, Standing, TokenRow, UserRef};
use towline_types::{KeyId, TokenId};

const MINUTES: Duration = Duration::from_secs(300);

fn token(f: &Fixture, number: u8) -> IssuedToken {
    IssuedToken {
        token_id: TokenId::from_bytes([number; 16]),
        user_id: f.user,
        key_id: KeyId::from_bytes([7; 8]),
        issued_at: at(10),
        expires_at: at(1_000_000),
    }
}

fn rows(f: &Fixture) -> Vec<TokenRow> {
    f.catalog.tokens(None).wait().unwrap().into_iter().map(Result::unwrap).collect()
}

#[test]
fn tokens_are_listed_in_the_order_in_which_they_were_recorded() {
    let f = Fixture::new();
    let bob = f.catalog.add_user("bob", None, at(2)).wait().unwrap().user_id;
    let (first, second) = (token(&f, 9), IssuedToken { user_id: bob, ..token(&f, 3) });
    for token in [first, second, first] {
        f.catalog.record_token(token).wait().unwrap();
    }
    let plain = |token| TokenRow { token, last_used_at: None, revoked_at: None };
    assert_eq!(rows(&f), [plain(first), plain(second)]);
    let bobs = f.catalog.tokens(Some(bob)).wait().unwrap();
    assert_eq!(bobs.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [plain(second)]);
    assert!(f.catalog.tokens(Some(user(77))).wait().unwrap().is_empty());
    let nobodys = IssuedToken { user_id: user(77), ..token(&f, 4) };
    assert!(f.catalog.record_token(nobodys).wait().is_err());
}

#[test]
fn a_use_is_noted_once_in_that_time_and_makes_the_row_of_a_token_that_has_none() {
    let f = Fixture::new();
    let used = |ms| {
        f.catalog.note_token_use(token(&f, 1), at(ms), MINUTES).wait().unwrap();
        rows(&f)[0].last_used_at.unwrap()
    };
    assert_eq!(used(1000), at(1000));
    assert_eq!(used(1000 + 299_999), at(1000));
    assert_eq!(used(1000 + 300_000), at(301_000));
    // The clock was set back.
    assert_eq!(used(500), at(500));
    assert_eq!(rows(&f).len(), 1);
}

#[test]
fn one_look_tells_of_the_user_and_of_the_token() {
    let f = Fixture::new();
    let (one, other) = (token(&f, 1), token(&f, 2));
    f.catalog.record_token(one).wait().unwrap();
    let look = |token: IssuedToken| {
        let found =
            f.catalog.standing(f.user.into(), Some(token.token_id)).wait().unwrap().unwrap();
        let name = UserRef::Name("ann".to_owned());
        let next = f.catalog.standing_of_next(f.user, name, Some(token.token_id)).wait().unwrap();
        assert_eq!(next.as_ref(), Some(&found));
        found
    };
    let standing = |revoked| {
        let user = f.catalog.user(f.user).wait().unwrap().unwrap();
        Standing { user, token_revoked_at: revoked }
    };
    assert_eq!(look(one), standing(None));
    assert_eq!(look(other), standing(None), "a token without a row is not revoked");
    let revoked = f.catalog.revoke_token(one.token_id, at(50)).wait().unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(at(50)));
    let again = f.catalog.revoke_token(one.token_id, at(60)).wait().unwrap().unwrap();
    assert_eq!(again.revoked_at, Some(at(50)), "the first revocation counts");
    assert_eq!(f.catalog.revoke_token(other.token_id, at(50)).wait().unwrap(), None);
    assert_eq!(look(one), standing(Some(at(50))));
    // Its use is noted as before, and it stays revoked.
    f.catalog.note_token_use(one, at(70), MINUTES).wait().unwrap();
    assert_eq!(look(one), standing(Some(at(50))));
    f.catalog.remove_user(f.user, at(80)).wait().unwrap();
    assert_eq!(look(other).user.removed_at, Some(at(80)));
    assert_eq!(f.catalog.standing(user(77).into(), None).wait().unwrap(), None);
}

#[test]
fn a_row_that_does_not_read_concerns_that_token_alone() {
    let f = Fixture::new();
    for number in [1, 2] {
        f.catalog.record_token(token(&f, number)).wait().unwrap();
    }
    f.edit("UPDATE tokens SET token_id = 'x' WHERE row_id = 1");
    let rows = f.catalog.tokens(None).wait().unwrap();
    assert!(rows[0].is_err() && rows[1].is_ok(), "{rows:?}");
}
