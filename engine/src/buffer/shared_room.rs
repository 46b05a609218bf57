//! Room that users share, counted in units. One user has at most a part of it, and users take
//! turns: what is free next goes to the user whose turn it is. So one request of a user does not
//! wait for all requests of another.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;
use towline_types::UserId;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct SharedRoom {
    room: Mutex<Room>,
}

#[derive(Debug)]
struct Room {
    free_units: usize,
    /// How many units one user may have.
    user_units_max: usize,
    users: HashMap<UserId, UserRoom>,
    /// The users for whom a request waits. The next one whose turn it is comes first.
    turns: VecDeque<UserId>,
}

#[derive(Debug, Default)]
struct UserRoom {
    taken_units: usize,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    units: usize,
    granted: oneshot::Sender<RoomPermit>,
}

/// Units that are taken. When it is dropped, they are free.
#[derive(Debug)]
pub(crate) struct RoomPermit {
    room: Arc<SharedRoom>,
    user: UserId,
    units: usize,
}

/// A place in the queue for units; the units, when it is awaited. Dropped, the place is lost, and
/// with it the units, if they were granted already. Cancel-safe: a reference to it may be awaited
/// again and again.
#[derive(Debug)]
pub(crate) struct RoomRequest {
    granted: Granted,
}

#[derive(Debug)]
enum Granted {
    Now(Option<RoomPermit>),
    Later(oneshot::Receiver<RoomPermit>),
}

impl SharedRoom {
    /// Room of `units` units, of which one user may have `user_units_max`.
    pub(crate) fn new(units: usize, user_units_max: usize) -> Arc<Self> {
        let (users, turns) = (HashMap::new(), VecDeque::new());
        let room = Room { free_units: units, user_units_max, users, turns };
        Arc::new(Self { room: Mutex::new(room) })
    }

    /// That many units for the user, once they are free and it is the turn of the user.
    pub(crate) fn take(self: &Arc<Self>, user: UserId, units: usize) -> RoomRequest {
        let mut room = self.room();
        let granted = if room.grants(user, units) {
            Granted::Now(Some(self.permit(user, units)))
        } else {
            let (granted, receiver) = oneshot::channel();
            room.queue(user, Waiter { units, granted });
            Granted::Later(receiver)
        };
        RoomRequest { granted }
    }

    /// The same, if they are free now and no request waits for them.
    pub(crate) fn try_take(self: &Arc<Self>, user: UserId, units: usize) -> Option<RoomPermit> {
        let is_granted = self.room().grants(user, units);
        is_granted.then(|| self.permit(user, units))
    }

    pub(crate) fn free_units(&self) -> usize {
        self.room().free_units
    }

    /// How many units are free, and how many the user has.
    pub(crate) fn free_and_taken_by(&self, user: UserId) -> (usize, usize) {
        let room = self.room();
        (room.free_units, room.taken_by(user))
    }

    fn permit(self: &Arc<Self>, user: UserId, units: usize) -> RoomPermit {
        RoomPermit { room: Arc::clone(self), user, units }
    }

    /// Adds free units, and grants them to those whose turn it is.
    fn give_back(self: &Arc<Self>, user: UserId, units: usize) {
        let mut room = self.room();
        room.free(user, units);
        while let Some((user, Waiter { units, granted })) = room.next() {
            if let Err(mut permit) = granted.send(self.permit(user, units)) {
                // The request was given up.
                permit.units = 0;
                room.free(user, units);
            }
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Takes units for the user where that many are free, and no request waits for them.
    fn grants(&mut self, user: UserId, units: usize) -> bool {
        let may_have = units <= self.free_units
            && self.taken_by(user) + units <= self.user_units_max
            && self.first().is_none();
        if may_have {
            self.free_units -= units;
            self.users.entry(user).or_default().taken_units += units;
        }
        may_have
    }

    fn taken_by(&self, user: UserId) -> usize {
        self.users.get(&user).map_or(0, |user| user.taken_units)
    }

    /// The first user in turn who may have more: the place in the queue, and how many units the
    /// oldest request of that user needs.
    fn first(&self) -> Option<(usize, usize)> {
        let may_have_more = |user: &UserId| {
            let own = self.users.get(user)?;
            let units = own.waiting.front()?.units;
            (own.taken_units + units <= self.user_units_max).then_some(units)
        };
        self.turns.iter().enumerate().find_map(|(at, user)| Some((at, may_have_more(user)?)))
    }

    fn queue(&mut self, user: UserId, waiter: Waiter) {
        let own = self.users.entry(user).or_default();
        if own.waiting.is_empty() {
            self.turns.push_back(user);
        }
        own.waiting.push_back(waiter);
    }

    fn free(&mut self, user: UserId, units: usize) {
        self.free_units += units;
        if let Some(own) = self.users.get_mut(&user) {
            own.taken_units -= units;
            if own.taken_units == 0 && own.waiting.is_empty() {
                self.users.remove(&user);
            }
        }
    }

    /// Takes units for the oldest request of the user whose turn it is. Where it needs more units
    /// than are free, all wait for it.
    fn next(&mut self) -> Option<(UserId, Waiter)> {
        let (at, units) = self.first()?;
        if units > self.free_units {
            return None;
        }
        let user = self.turns.remove(at)?;
        let own = self.users.get_mut(&user)?;
        let waiter = own.waiting.pop_front()?;
        own.taken_units += units;
        self.free_units -= units;
        if !own.waiting.is_empty() {
            self.turns.push_back(user);
        }
        Some((user, waiter))
    }
}

impl RoomPermit {
    /// How many units it has.
    pub(crate) fn units(&self) -> usize {
        self.units
    }

    /// Keeps that number of units, and gives the others back.
    pub(crate) fn shrink(&mut self, kept: usize) {
        let left = self.units.saturating_sub(kept);
        self.units -= left;
        self.room.give_back(self.user, left);
    }
}

impl Drop for RoomPermit {
    fn drop(&mut self) {
        if self.units > 0 {
            self.room.give_back(self.user, self.units);
        }
    }
}

impl Future for RoomRequest {
    type Output = RoomPermit;

    /// # Panics
    /// Where the units were returned already.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<RoomPermit> {
        Poll::Ready(match &mut self.granted {
            Granted::Now(permit) => permit.take().expect("room is returned once"),
            Granted::Later(receiver) => {
                ready!(Pin::new(receiver).poll(context)).expect("the room drops no waiter")
            }
        })
    }
}
