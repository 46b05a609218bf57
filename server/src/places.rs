//! The places for connections, and which connections get them. No client can take all places (P6).
//!
//! Before its login a connection belongs to a *stranger*. An address may have a limited number of
//! strangers. One more makes the oldest stranger of that address leave. So a client that logs in
//! within a moment gets in, however many slow connections come from its address. When all places
//! for strangers are taken, the oldest stranger of the address with the most strangers leaves.
//!
//! After its login a connection belongs to its user, and the number for each user is limited too.
//! The last twentieth of all places is for users who have no connection yet.
//!
//! The rule for strangers is the one of `MaxStartups` and `PerSourceMaxStartups` of OpenSSH, with
//! one difference: there the newest connection is refused, here the oldest one leaves.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use towline_types::UserId;

/// How many connections there may be at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceLimits {
    /// All connections together.
    pub all: usize,
    /// Connections of one address that have not logged in.
    pub strangers_per_address: usize,
    /// Connections of one user.
    pub per_user: usize,
}

impl PlaceLimits {
    /// How many strangers there may be at the same time: a quarter of all places, but at least 256,
    /// or all places where there are fewer than 256.
    const fn strangers(self) -> usize {
        let quarter = self.all / 4;
        let few = if self.all < 256 { self.all } else { 256 };
        if quarter > few { quarter } else { few }
    }

    /// The number of places that are kept for users who have no connection.
    const fn for_newcomers(self) -> usize {
        self.all / 20
    }
}

impl Default for PlaceLimits {
    /// The default has room for an office behind one address, where hundreds of clients log in at
    /// the same moment.
    fn default() -> Self {
        Self { all: 16_384, strangers_per_address: 512, per_user: 1024 }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Places {
    limits: PlaceLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The strangers of each address, the oldest first.
    strangers: HashMap<Address, VecDeque<Stranger>>,
    strangers_count: usize,
    users: HashMap<UserId, usize>,
    users_count: usize,
    /// Connections of people who have a link, by the user whose link it is.
    guests: HashMap<UserId, usize>,
    guests_count: usize,
}

#[derive(Debug)]
struct Stranger {
    number: u64,
    leave: CancellationToken,
}

/// The part of an address that usually belongs to one person: all of an IPv4 address, the first 64
/// bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Address(IpAddr);

impl Address {
    fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => {
                let [a, b, c, d, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            ip => ip,
        })
    }
}

/// Who has the places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections that have not logged in.
    pub(crate) strangers: u64,
    /// Connections of users.
    pub(crate) users: u64,
    /// Users who have one.
    pub(crate) connected_users: u64,
    /// All places.
    pub(crate) all: u64,
    /// The users with the most connections, and how many these are, the largest number first.
    pub(crate) top: Vec<(UserId, u64)>,
}

/// The place of one connection. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    of: Owner,
}

#[derive(Debug)]
enum Owner {
    Stranger { address: Address, number: u64, leave: CancellationToken },
    User(UserId),
    Guest(UserId),
}

/// How many connections there may be of people who have links of one user. Whoever has a link has it
/// from that user, and must not take the user's own places.
const GUESTS_PER_USER: usize = 32;

/// Why a user gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The user has as many connections as one user may have.
    OfUser {
        /// The most connections of one user.
        max: usize,
    },
    /// The places that are left are for others: for users who have no connection, or, where somebody
    /// has a link, for people who have none of that user's.
    Crowded,
}

impl Places {
    pub(crate) fn new(limits: PlaceLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// The number of all places.
    pub(crate) fn all(&self) -> usize {
        self.limits.all
    }

    /// A place for a connection from that address; `None` where all places are taken. Another
    /// stranger may have to leave for it.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        self.enter_among(Address::of(ip), self.limits.strangers_per_address)
    }

    /// The same for a connection from a trusted proxy, which has clients of many addresses behind
    /// it: it has no limit of its own.
    pub(crate) fn enter_from_proxy(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        self.enter_among(Address::of(ip), usize::MAX)
    }

    /// A place for a stranger of an address that may have so many of them.
    fn enter_among(self: &Arc<Self>, address: Address, max: usize) -> Option<Place> {
        let mut state = self.state();
        let of_address = state.strangers.get(&address).map_or(0, VecDeque::len);
        if of_address >= max {
            state.make_oldest_leave(address);
        } else if state.strangers_count >= self.limits.strangers() {
            let most = state.strangers.iter().max_by_key(|(_, strangers)| strangers.len());
            if let Some(&most) = most.map(|(address, _)| address) {
                state.make_oldest_leave(most);
            }
        }
        if state.strangers_count + state.users_count + state.guests_count >= self.limits.all {
            return None;
        }
        let (number, leave) = (state.next, CancellationToken::new());
        state.next += 1;
        let stranger = Stranger { number, leave: leave.clone() };
        state.strangers.entry(address).or_default().push_back(stranger);
        state.strangers_count += 1;
        drop(state);
        Some(Place { places: Arc::clone(self), of: Owner::Stranger { address, number, leave } })
    }

    /// Who has the places, and which users have the most, `top` of them at most.
    pub(crate) fn shares(&self, top: usize) -> Shares {
        let state = self.state();
        let mut users: Vec<_> =
            state.users.iter().map(|(user, count)| (*user, *count as u64)).collect();
        users.sort_unstable_by_key(|(user, count)| (Reverse(*count), *user));
        users.truncate(top);
        Shares {
            strangers: state.strangers_count as u64,
            users: (state.users_count + state.guests_count) as u64,
            connected_users: state.users.len() as u64,
            all: self.limits.all as u64,
            top: users,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_oldest_leave(&mut self, address: Address) {
        let oldest = self.strangers.get(&address).and_then(VecDeque::front).map(|one| one.number);
        if let Some(stranger) = oldest.and_then(|number| self.take_stranger(address, number)) {
            stranger.leave.cancel();
        }
    }

    /// Removes a stranger; `None` where it was made to leave before.
    fn take_stranger(&mut self, address: Address, number: u64) -> Option<Stranger> {
        let strangers = self.strangers.get_mut(&address)?;
        // The strangers of an address are in the order of their numbers.
        let at = strangers.binary_search_by_key(&number, |one| one.number).ok()?;
        let stranger = strangers.remove(at);
        if strangers.is_empty() {
            self.strangers.remove(&address);
        }
        self.strangers_count -= 1;
        stranger
    }
}

impl State {
    /// Removes a connection of that user.
    fn take_user(&mut self, user: UserId) {
        self.users_count -= 1;
        if let Some(count) = self.users.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user);
            }
        }
    }
}

impl State {
    /// Removes a connection of a guest of that user.
    fn take_guest(&mut self, user: UserId) {
        self.guests_count -= 1;
        if let Some(count) = self.guests.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.guests.remove(&user);
            }
        }
    }
}

impl Place {
    /// Waits until the connection has to leave because others want to log in. After the login it
    /// never has to leave. Cancel-safe.
    pub(crate) async fn has_to_leave(&self) {
        match &self.of {
            Owner::Stranger { leave, .. } => leave.cancelled().await,
            Owner::User(_) | Owner::Guest(_) => std::future::pending().await,
        }
    }

    /// Cancelled when the connection has to leave because others want to log in; none once it
    /// belongs to a user.
    pub(crate) fn leave_token(&self) -> Option<CancellationToken> {
        match &self.of {
            Owner::Stranger { leave, .. } => Some(leave.clone()),
            Owner::User(_) | Owner::Guest(_) => None,
        }
    }

    /// Whether nobody has logged in at it.
    pub(crate) const fn is_of_stranger(&self) -> bool {
        matches!(self.of, Owner::Stranger { .. })
    }

    /// Gives the place to the user who has logged in. It may be the place of another user, or of
    /// this one already.
    ///
    /// # Errors
    /// Where the user gets no place. Then it stays the place of a stranger.
    pub(crate) fn belongs_to(&mut self, user: UserId) -> Result<(), NoPlace> {
        if matches!(self.of, Owner::User(owner) if owner == user) {
            return Ok(());
        }
        let limits = self.places.limits;
        let mut state = self.places.state();
        let count = state.users.get(&user).copied().unwrap_or(0);
        if count >= limits.per_user {
            return Err(NoPlace::OfUser { max: limits.per_user });
        }
        if count > 0
            && state.users_count + state.guests_count + limits.for_newcomers() >= limits.all
        {
            return Err(NoPlace::Crowded);
        }
        match self.of {
            // The stranger may have been made to leave a moment ago. It has logged in by now, and
            // stays.
            Owner::Stranger { address, number, .. } => {
                let _ = state.take_stranger(address, number);
            }
            Owner::User(earlier) => state.take_user(earlier),
            Owner::Guest(host) => state.take_guest(host),
        }
        *state.users.entry(user).or_default() += 1;
        state.users_count += 1;
        drop(state);
        self.of = Owner::User(user);
        Ok(())
    }

    /// Gives the place to somebody who has a link of that user's. A connection of a user stays one.
    ///
    /// # Errors
    /// Where there are too many of these. Then it stays the place of a stranger.
    pub(crate) fn is_guest_of(&mut self, user: UserId) -> Result<(), NoPlace> {
        let (address, number) = match self.of {
            Owner::User(_) => return Ok(()),
            Owner::Guest(host) if host == user => return Ok(()),
            Owner::Guest(_) => return Err(NoPlace::Crowded),
            Owner::Stranger { address, number, .. } => (address, number),
        };
        let limits = self.places.limits;
        let mut state = self.places.state();
        if state.guests.get(&user).is_some_and(|count| *count >= GUESTS_PER_USER) {
            return Err(NoPlace::Crowded);
        }
        if state.users_count + state.guests_count + limits.for_newcomers() >= limits.all {
            return Err(NoPlace::Crowded);
        }
        let _ = state.take_stranger(address, number);
        *state.guests.entry(user).or_default() += 1;
        state.guests_count += 1;
        drop(state);
        self.of = Owner::Guest(user);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        match self.of {
            Owner::Stranger { address, number, .. } => {
                let _ = state.take_stranger(address, number);
            }
            Owner::User(user) => state.take_user(user),
            Owner::Guest(host) => state.take_guest(host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_testkit::user;

    fn places(all: usize, strangers_per_address: usize, per_user: usize) -> Arc<Places> {
        Places::new(PlaceLimits { all, strangers_per_address, per_user })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn leaves(place: &Place) -> bool {
        matches!(&place.of, Owner::Stranger { leave, .. } if leave.is_cancelled())
    }

    #[test]
    fn the_oldest_stranger_of_a_busy_address_leaves_and_no_other() {
        let places = places(100, 3, 10);
        let other = places.enter(ip("10.0.0.2")).unwrap();
        let mut crowd: Vec<_> = (0..5).map(|_| places.enter(ip("10.0.0.1")).unwrap()).collect();
        assert_eq!(crowd.iter().map(leaves).collect::<Vec<_>>(), [true, true, false, false, false]);
        assert!(!leaves(&other));
        // Those that have logged in are strangers no longer.
        crowd[2].belongs_to(user(1)).unwrap();
        let more = places.enter(ip("10.0.0.1")).unwrap();
        assert!(!crowd.iter().skip(2).any(leaves) && !leaves(&more));
        drop((crowd, more, other));
        let state = places.state();
        assert!(state.strangers.is_empty() && state.users.is_empty());
        assert_eq!((state.strangers_count, state.users_count), (0, 0));
    }

    #[test]
    fn people_who_have_a_link_take_no_place_of_its_user() {
        let places = places(1000, 500, 40);
        let guest = || {
            let mut place = places.enter(ip("10.0.0.9")).unwrap();
            place.is_guest_of(user(1)).map(|()| place)
        };
        let guests: Vec<_> = (0..GUESTS_PER_USER).map(|_| guest().unwrap()).collect();
        assert_eq!(guest().unwrap_err(), NoPlace::Crowded);
        let mut own: Vec<_> = (0..40).map(|_| places.enter(ip("10.0.0.1")).unwrap()).collect();
        assert!(own.iter_mut().all(|place| place.belongs_to(user(1)).is_ok()));
        drop((guests, own));
        let state = places.state();
        assert_eq!((state.users_count, state.guests_count, state.guests.len()), (0, 0, 0));
    }

    #[test]
    fn a_trusted_proxy_has_no_limit_of_its_own() {
        let places = places(100, 3, 10);
        let proxied: Vec<_> =
            (0..20).map(|_| places.enter_from_proxy(ip("10.0.0.1")).unwrap()).collect();
        assert!(!proxied.iter().any(leaves));
    }

    #[test]
    fn where_strangers_have_all_their_places_the_address_with_the_most_gives_one_up() {
        let places = places(2048, 256, 10);
        let many: Vec<_> = (0..200).map(|_| places.enter(ip("10.0.0.1")).unwrap()).collect();
        let others: Vec<_> = (0..312)
            .map(|n| places.enter(Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 1).into()).unwrap())
            .collect();
        assert!(!many.iter().chain(&others).any(leaves));
        let newcomer = places.enter(ip("10.9.9.9")).unwrap();
        assert!(leaves(&many[0]) && !leaves(&many[1]) && !leaves(&newcomer));
        assert!(!others.iter().any(leaves));
    }

    #[test]
    fn neighbours_of_ipv6_are_one_address() {
        let places = places(100, 1, 10);
        let one = places.enter(ip("2001:db8:1:2:3::1")).unwrap();
        let _other = places.enter(ip("2001:db8:1:2:4::1")).unwrap();
        assert!(leaves(&one));
        let (mapped, _plain) =
            (places.enter(ip("::ffff:192.0.2.9")).unwrap(), places.enter(ip("192.0.2.9")));
        assert!(leaves(&mapped));
    }

    #[test]
    fn a_user_has_a_limit_and_the_last_places_are_for_users_who_have_none() {
        let places = places(40, 40, 30);
        let enter = || places.enter(ip("10.0.0.1"));
        let login = |number| {
            let mut place = enter().unwrap();
            place.belongs_to(user(number)).map(|()| place)
        };
        let mut held: Vec<_> = (0..30).map(|_| login(1).unwrap()).collect();
        assert_eq!(login(1).unwrap_err(), NoPlace::OfUser { max: 30 });
        held.extend((0..8).map(|_| login(2).unwrap()));
        assert_eq!(login(2).unwrap_err(), NoPlace::Crowded);
        let shares = places.shares(1);
        assert_eq!((shares.users, shares.strangers, shares.connected_users), (38, 0, 2));
        assert_eq!((shares.all, shares.top), (40, vec![(user(1), 30)]));
        held.push(login(3).unwrap());
        held.push(login(4).unwrap());
        assert!(enter().is_none(), "all are taken");
        held.pop();
        assert!(enter().is_some());
    }
}
