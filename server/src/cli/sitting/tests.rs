//! The lines of a sitting, with a clock that is set.

use super::{Arrivals, ClosedSitting, LineState, Lines, config};
use crate::Server;
use crate::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use towline_engine::Clock;
use towline_state::catalog::IssuedToken;
use towline_types::{KeyId, Timestamp, TokenId, UserId};

const TEN_MINUTES_MS: u64 = 600_000;

async fn use_up(shared: &Arc<Shared>, line: &super::Line, number: u8) {
    let now = shared.engine.clock().now();
    let token = IssuedToken {
        token_id: TokenId::from_bytes([number; 16]),
        user_id: line.user_id(),
        key_id: KeyId::from_bytes([1; 8]),
        issued_at: now,
        expires_at: Timestamp::MAX,
    };
    let secret = line.secret();
    assert!(shared.engine.accept_invitation(secret, token).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_has_a_user_and_one_that_no_sender_has_used_gives_it_to_the_next() {
    let home = tempfile::tempdir().unwrap();
    let start = towline_state::clock::now().get();
    let now = Arc::new(AtomicU64::new(start));
    let mut config = config(home.path());
    let told = Arc::clone(&now);
    config.engine.clock =
        Clock::new(move || Timestamp::try_from(told.load(Ordering::Relaxed)).unwrap());
    let server = Server::open(config).await.unwrap();
    let shared = server.shared();
    let listen = "127.0.0.1:1".parse().unwrap();
    let lines = Lines::new(Arc::clone(shared), listen, server.fingerprint());

    let first = lines.next(None).await.unwrap().unwrap();
    assert_eq!(lines.state(&first).await.unwrap(), LineState::Good);
    use_up(shared, &first, 1).await;
    assert_eq!(lines.state(&first).await.unwrap(), LineState::Used);
    let second = lines.next(None).await.unwrap().unwrap();
    assert_ne!(first.user_id(), second.user_id());
    now.store(start + TEN_MINUTES_MS - 1, Ordering::Relaxed);
    assert_eq!(lines.state(&second).await.unwrap(), LineState::Good);
    now.store(start + TEN_MINUTES_MS, Ordering::Relaxed);
    assert_eq!(lines.state(&second).await.unwrap(), LineState::Expired);
    assert_eq!(lines.state(&first).await.unwrap(), LineState::Used, "once and for all");
    let user = second.user_id();
    let third = lines.next(Some(&second)).await.unwrap().unwrap();
    assert_eq!(third.user_id(), user);
    assert_eq!(lines.state(&third).await.unwrap(), LineState::Good);
    // Each user is asked what it has sent.
    let mut arrivals = Arrivals::of(shared.engine.clone());
    assert!(arrivals.page().await.unwrap().is_none());
    assert_eq!(arrivals.senders(), [UserId::MIN, user]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_look_makes_no_store() {
    let home = tempfile::tempdir().unwrap();
    let Err(refused) = ClosedSitting::open(home.path()).await else { panic!("a new store") };
    assert!(refused.to_string().contains("there is no Towline store"), "{refused:#}");
    assert!(home.path().read_dir().unwrap().next().is_none());
}
