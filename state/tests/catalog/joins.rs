//! A one-time secret is exchanged for one token, once and in time.

use crate::fixture::{Fixture, at};
use std::time::Duration;
use towline_state::catalog::{IssuedToken, NewInvitation};
use towline_types::{JoinHash, KeyId, TokenId};

const SECRET: JoinHash = JoinHash::from_bytes([1; 32]);
const TOKEN_TTL: Duration = Duration::from_secs(99);

fn invitation(f: &Fixture) -> NewInvitation {
    let (made_at, expires_at) = (at(1000), at(601_000));
    NewInvitation { secret: SECRET, user_id: f.user, token_ttl: TOKEN_TTL, made_at, expires_at }
}

fn token(f: &Fixture, number: u8) -> IssuedToken {
    IssuedToken {
        token_id: TokenId::from_bytes([number; 16]),
        user_id: f.user,
        key_id: KeyId::from_bytes([7; 8]),
        issued_at: at(10),
        expires_at: at(1_000_000),
    }
}

fn tokens(f: &Fixture) -> usize {
    f.catalog.tokens(None).wait().unwrap().len()
}

#[test]
fn of_two_clients_with_one_secret_one_gets_a_token() {
    let f = Fixture::new();
    f.catalog.invite(invitation(&f)).wait().unwrap();
    let found = f.catalog.invitation(SECRET, at(2000)).wait().unwrap().unwrap();
    assert_eq!((found.user.user_id, found.token_ttl), (f.user, TOKEN_TTL));
    // Both have looked; the two writes may even be of one transaction.
    let both =
        [1, 2].map(|number| f.catalog.accept_invitation(SECRET, token(&f, number), at(2001)));
    let accepted = both.map(|reply| reply.wait().unwrap());
    assert_eq!(accepted.iter().flatten().count(), 1, "{accepted:?}");
    assert_eq!(tokens(&f), 1);
    assert_eq!(f.catalog.invitation(SECRET, at(2002)).wait().unwrap(), None);
}

#[test]
fn an_invitation_ends_with_its_time_and_with_its_user() {
    let f = Fixture::new();
    f.catalog.invite(invitation(&f)).wait().unwrap();
    let look = |now| f.catalog.invitation(SECRET, at(now)).wait().unwrap().is_some();
    assert!(look(600_999) && !look(601_000));
    let late = f.catalog.accept_invitation(SECRET, token(&f, 1), at(601_000)).wait().unwrap();
    assert_eq!(late, None);
    let other = JoinHash::from_bytes([2; 32]);
    assert_eq!(f.catalog.invitation(other, at(2000)).wait().unwrap(), None);
    f.catalog.remove_user(f.user, at(3000)).wait().unwrap();
    assert!(!look(3001));
    let removed = f.catalog.accept_invitation(SECRET, token(&f, 1), at(3001)).wait().unwrap();
    assert_eq!((removed, tokens(&f)), (None, 0));
}

#[test]
fn rows_are_deleted_a_day_after_their_end() {
    let f = Fixture::new();
    let count = "SELECT count(*) FROM joins";
    let rows = || f.by_hand().query_row(count, [], |row| row.get::<_, i64>(0)).unwrap();
    f.catalog.invite(invitation(&f)).wait().unwrap();
    let next = |secret, made_at| {
        let (secret, made_at) = (JoinHash::from_bytes([secret; 32]), at(made_at));
        f.catalog.invite(NewInvitation { secret, made_at, ..invitation(&f) }).wait().unwrap();
    };
    next(2, 601_000 + 86_400_000);
    assert_eq!(rows(), 2);
    next(3, 601_001 + 86_400_000);
    assert_eq!(rows(), 1);
}
