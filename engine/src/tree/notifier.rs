//! Wakes those who wait for a change of a user's tree.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
}

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

    #[tokio::test]
    async fn users_without_listeners_are_forgotten() {
        let notifier = ChangeNotifier::default();
        drop(notifier.listen(user(1)));
        notifier.raise(user(1));
        assert!(notifier.users().is_empty());
    }
}
