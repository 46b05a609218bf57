//! Keeps looks at the places of a user's documents and changes of these places apart.
//!
//! The catalog says where a file lies, and a move changes first the disk and then the catalog. A
//! thread that reads the place of a document in the catalog and then finds nothing there on the
//! disk would believe that the file was removed, and would end the document. So a thread that may
//! draw this conclusion holds a [`LookGuard`] from the reading of the row to the end of the
//! document, and a thread that moves holds a [`ChangeGuard`]. There are many looks at a time, and
//! one change for each user.
//!
//! A thread that makes a folder does it the other way round: first on the disk, then in the
//! catalog. If the folder above was moved in between, the row would tell of a folder that is not
//! there. So this thread holds a [`LookGuard`] over both.
//!
//! A publishing needs no lock of this kind. Its row says `publishing` from before the rename to
//! after it, and the catalog refuses to move a folder above such a row; while a move is recorded as
//! intended, the catalog refuses to reserve a name in its way. These two refusals also hold across
//! a crash.

use crate::active::lock_order::{Held, Rank};
use crate::may_block::MayBlock;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use towline_types::UserId;

/// See the module's description. It has entries only for users whose places are in use.
#[derive(Debug, Default)]
pub(crate) struct PlaceLocks {
    users: Mutex<HashMap<UserId, Uses>>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Uses {
    looks: u32,
    /// Threads that wait to change something: no new [`look`](PlaceLocks::look) goes before them. A
    /// [`try_look`](PlaceLocks::try_look) is short, and may.
    waiting: u32,
    is_changing: bool,
    /// A move was cut off by an error: the disk may be ahead of the catalog.
    is_unsettled: bool,
}

impl Uses {
    const fn is_needed(&self) -> bool {
        self.looks > 0 || self.waiting > 0 || self.is_changing || self.is_unsettled
    }
}

/// While it lives, no place of the user changes.
#[derive(Debug)]
pub(crate) struct LookGuard<'a> {
    locks: &'a PlaceLocks,
    user: UserId,
    _held: Held,
}

/// While it lives, no other thread looks at the places of the user or changes them.
#[derive(Debug)]
pub(crate) struct ChangeGuard<'a> {
    locks: &'a PlaceLocks,
    user: UserId,
    _held: Held,
}

impl PlaceLocks {
    /// Keeps the places of the user as they are. None where they are being changed, or where the
    /// disk may be ahead of the catalog. Does not wait.
    pub(crate) fn try_look(&self, user: UserId) -> Option<LookGuard<'_>> {
        let held = Held::before(Rank::Places);
        let mut users = self.users();
        let uses = users.entry(user).or_default();
        if uses.is_changing || uses.is_unsettled {
            return None;
        }
        uses.looks += 1;
        drop(users);
        Some(LookGuard { locks: self, user, _held: held })
    }

    /// Waits until no other thread changes the places of the user or waits to do so, and keeps them
    /// as they are from then on. Where a move was cut off, the catalog still keeps both of its
    /// places from other threads. Blocks.
    pub(crate) fn look(&self, user: UserId, _: MayBlock) -> LookGuard<'_> {
        let held = Held::before(Rank::Places);
        let mut users = self.wait_while(user, |uses| uses.is_changing || uses.waiting > 0);
        users.entry(user).or_default().looks += 1;
        drop(users);
        LookGuard { locks: self, user, _held: held }
    }

    /// Waits until no other thread looks at the places of the user or changes them. Blocks.
    pub(crate) fn change(&self, user: UserId, _: MayBlock) -> ChangeGuard<'_> {
        let held = Held::before(Rank::Places);
        self.users().entry(user).or_default().waiting += 1;
        let mut users = self.wait_while(user, |uses| uses.looks > 0 || uses.is_changing);
        let uses = users.entry(user).or_default();
        uses.waiting -= 1;
        uses.is_changing = true;
        drop(users);
        ChangeGuard { locks: self, user, _held: held }
    }

    fn wait_while(
        &self,
        user: UserId,
        is_in_the_way: impl Fn(&Uses) -> bool,
    ) -> MutexGuard<'_, HashMap<UserId, Uses>> {
        let is_in_the_way =
            |users: &mut HashMap<_, _>| users.get(&user).is_some_and(&is_in_the_way);
        let users = self.freed.wait_while(self.users(), is_in_the_way);
        users.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the catalog and the disk may differ about the places of the user just now.
    pub(crate) fn may_differ(&self, user: UserId) -> bool {
        self.users().get(&user).is_some_and(|uses| uses.is_changing || uses.is_unsettled)
    }

    /// Notes that a move of this user was cut off, for a thread that holds no guard: the start.
    pub(super) fn leave_unsettled(&self, user: UserId) {
        self.users().entry(user).or_default().is_unsettled = true;
    }

    fn release(&self, user: UserId, release: impl FnOnce(&mut Uses)) {
        let mut users = self.users();
        if let Some(uses) = users.get_mut(&user) {
            release(uses);
            if !uses.is_needed() {
                users.remove(&user);
            }
        }
        drop(users);
        self.freed.notify_all();
    }

    fn users(&self) -> MutexGuard<'_, HashMap<UserId, Uses>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeGuard<'_> {
    /// Whether an earlier move was cut off and is to be finished first.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.locks.users().get(&self.user).is_some_and(|uses| uses.is_unsettled)
    }

    /// Notes whether the disk may be ahead of the catalog.
    pub(super) fn set_unsettled(&self, is_unsettled: bool) {
        self.locks.users().entry(self.user).or_default().is_unsettled = is_unsettled;
    }
}

impl Drop for LookGuard<'_> {
    fn drop(&mut self) {
        self.locks.release(self.user, |uses| uses.looks -= 1);
    }
}

impl Drop for ChangeGuard<'_> {
    fn drop(&mut self) {
        self.locks.release(self.user, |uses| uses.is_changing = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use towline_testkit::user;

    #[test]
    fn looks_share_and_a_change_is_alone() {
        let locks = PlaceLocks::default();
        let (ada, bob) = (user(1), user(2));
        let look = locks.try_look(ada).unwrap();
        let (begun, has_begun) = mpsc::channel();
        let (end, may_end) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let locks = &locks;
            scope.spawn(move || drop(locks.try_look(ada).unwrap())).join().unwrap();
            scope.spawn(move || {
                let change = locks.change(ada, MayBlock::on_own_thread());
                begun.send(()).unwrap();
                may_end.recv().unwrap();
                drop(change);
            });
            assert!(has_begun.try_recv().is_err(), "the change waits for the look");
            drop(look);
            has_begun.recv().unwrap();
            assert!(locks.may_differ(ada));
            assert!(locks.try_look(ada).is_none());
            assert!(locks.try_look(bob).is_some(), "another user's places are not concerned");
            end.send(()).unwrap();
        });
        assert!(locks.try_look(ada).is_some());
        assert!(locks.users().is_empty());
    }

    #[test]
    fn a_change_that_waits_goes_before_the_looks_that_come_later() {
        let locks = PlaceLocks::default();
        let may_block = MayBlock::on_own_thread();
        let order = Mutex::new(Vec::new());
        let note = |what: &'static str| order.lock().unwrap().push(what);
        thread::scope(|scope| {
            let look = locks.look(user(1), may_block);
            let change = scope.spawn(|| {
                let _change = locks.change(user(1), may_block);
                note("change");
            });
            while locks.users()[&user(1)].waiting == 0 {
                thread::yield_now();
            }
            let later = scope.spawn(|| {
                let _look = locks.look(user(1), may_block);
                note("look");
            });
            drop(look);
            change.join().unwrap();
            later.join().unwrap();
        });
        assert_eq!(order.into_inner().unwrap(), ["change", "look"]);
        assert!(locks.users().is_empty());
    }

    #[test]
    fn where_a_move_was_cut_off_no_look_is_believed() {
        let locks = PlaceLocks::default();
        let change = locks.change(user(1), MayBlock::on_own_thread());
        assert!(!change.is_unsettled());
        change.set_unsettled(true);
        drop(change);
        assert!(locks.may_differ(user(1)) && locks.try_look(user(1)).is_none());
        let change = locks.change(user(1), MayBlock::on_own_thread());
        assert!(change.is_unsettled());
        change.set_unsettled(false);
        drop(change);
        assert!(locks.try_look(user(1)).is_some());
    }
}
