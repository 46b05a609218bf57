//! Wakes those who wait for a change of a user's tree.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use towline_types::UserId;

/// It is raised after a commit that has written a change, and never inside the transaction: a
/// transaction that waits for listeners would make every other change wait, and a listener that
/// asks before the commit would find nothing. It says only that there is something: the change log
/// says what, so that raising it twice, or for nothing, is harmless.
#[derive(Debug, Default)]
pub(crate) struct ChangeNotifier {
    /// Only users whom a listener has asked about.
    users: Mutex<HashMap<UserId, watch::Sender<()>>>,
    /// The users for whose changes blocking threads wait.
    waits: Mutex<HashMap<UserId, Wait>>,
    raised: Condvar,
}

#[derive(Debug, Default)]
struct Wait {
    threads: u32,
    /// How many changes there were since the first of these threads came.
    changes: u64,
}

/// A blocking thread that waits until something else that is under way in a user's tree is over.
/// It is woken by the changes after its [`ChangeNotifier::wait_for`].
#[derive(Debug)]
pub(crate) struct ChangeWait<'a> {
    notifier: &'a ChangeNotifier,
    user: UserId,
    /// The number of changes that it has heard of.
    heard: u64,
}

/// Changes within this time after each other wake a thread once: an upload of many small files
/// would wake it a thousand times a second.
const TOGETHER: Duration = Duration::from_millis(2);

/// Is woken by the changes after its [`ChangeNotifier::listen`].
#[derive(Debug)]
pub(crate) struct ChangeListener(watch::Receiver<()>);

impl ChangeNotifier {
    /// A change of this user was committed. Does not wait.
    pub(crate) fn raise(&self, user: UserId) {
        let mut users = self.users();
        let is_heard = users.get(&user).map(|sender| sender.send(()).is_ok());
        if is_heard == Some(false) {
            users.remove(&user);
        }
        drop(users);
        if let Some(wait) = self.waits().get_mut(&user) {
            wait.changes += 1;
            self.raised.notify_all();
        }
    }

    /// Waits for the changes that are committed from now on, on this thread. To miss none, a
    /// caller calls this first and looks then.
    pub(crate) fn wait_for(&self, user: UserId) -> ChangeWait<'_> {
        let mut waits = self.waits();
        let wait = waits.entry(user).or_default();
        wait.threads += 1;
        ChangeWait { notifier: self, user, heard: wait.changes }
    }

    fn waits(&self) -> MutexGuard<'_, HashMap<UserId, Wait>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens for the changes that are committed from now on. To miss none, a caller listens
    /// first and asks the change log then.
    pub(crate) fn listen(&self, user: UserId) -> ChangeListener {
        let mut users = self.users();
        ChangeListener(users.entry(user).or_insert_with(|| watch::Sender::new(())).subscribe())
    }

    fn users(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<()>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeWait<'_> {
    /// Waits for a change since the last call, or that long: some things end without a change.
    /// Blocks.
    pub(crate) fn change_or(&mut self, at_most: Duration) {
        std::thread::sleep(TOGETHER.min(at_most));
        let changes = |waits: &HashMap<UserId, Wait>| {
            waits.get(&self.user).map_or(u64::MAX, |wait| wait.changes)
        };
        let is_old = |waits: &mut HashMap<UserId, Wait>| changes(waits) == self.heard;
        let waited =
            self.notifier.raised.wait_timeout_while(self.notifier.waits(), at_most, is_old);
        let (waits, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let now = changes(&waits);
        drop(waits);
        self.heard = now;
    }
}

impl Drop for ChangeWait<'_> {
    fn drop(&mut self) {
        let mut waits = self.notifier.waits();
        if let Some(wait) = waits.get_mut(&self.user) {
            wait.threads -= 1;
            if wait.threads == 0 {
                waits.remove(&self.user);
            }
        }
    }
}

impl ChangeListener {
    /// Waits for a change since the last call, or since it listens. Cancel-safe: a change that
    /// came is noticed by the next call.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The notifier is gone: no change follows.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;
    use towline_testkit::user;

    #[tokio::test]
    async fn listeners_hear_of_their_user_alone_and_of_many_changes_at_once() {
        let notifier = ChangeNotifier::default();
        notifier.raise(user(1));
        let mut ada = notifier.listen(user(1));
        let mut bob = notifier.listen(user(2));
        let none = Duration::from_millis(10);
        assert!(timeout(none, ada.changed()).await.is_err(), "that was before it listened");
        for _ in 0..3 {
            notifier.raise(user(1));
        }
        ada.changed().await;
        assert!(timeout(none, ada.changed()).await.is_err(), "they came together");
        assert!(timeout(none, bob.changed()).await.is_err());
    }

    #[test]
    fn a_thread_is_woken_by_a_change_of_its_user_and_of_no_other() {
        const NEVER: Duration = Duration::from_secs(60);
        let notifier = ChangeNotifier::default();
        let mut wait = notifier.wait_for(user(1));
        // One that came between the two calls.
        notifier.raise(user(1));
        wait.change_or(NEVER);
        let began = std::time::Instant::now();
        notifier.raise(user(2));
        wait.change_or(Duration::from_millis(30));
        assert!(began.elapsed() >= Duration::from_millis(30), "that was another user's");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !notifier.waits().is_empty() {
                    notifier.raise(user(1));
                    std::thread::yield_now();
                }
            });
            wait.change_or(NEVER);
            drop(wait);
        });
        assert!(notifier.waits().is_empty());
    }

    #[tokio::test]
    async fn users_without_listeners_are_forgotten() {
        let notifier = ChangeNotifier::default();
        drop(notifier.listen(user(1)));
        notifier.raise(user(1));
        assert!(notifier.users().is_empty());
    }
}
