//! The peer of one connection, which may send requests of several users one after another.

use super::state::HttpState;
use crate::places::{NoPlace, Place};
use crate::shared::Shared;
use crate::tcp::{Arrival, Privacy};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use towline_types::UserId;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) privacy: Privacy,
    pub(super) is_tls: bool,
    /// Cancelled when a caller of the connection may be here no longer.
    pub(super) cut: CancellationToken,
    place: Mutex<Place>,
}

/// What a handler needs to know of the server and of the peer.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) state: Arc<HttpState>,
    pub(super) client: Arc<Client>,
}

impl Client {
    pub(super) fn new(arrival: Arrival, place: Place) -> Self {
        let Arrival { peer, privacy, is_tls, .. } = arrival;
        let cut = CancellationToken::new();
        Self { peer, privacy, is_tls, cut, place: Mutex::new(place) }
    }

    /// Gives the connection's place to the user of the request.
    ///
    /// # Errors
    /// Where the user gets no place.
    pub(super) fn belongs_to(&self, user: UserId) -> Result<(), NoPlace> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).belongs_to(user)
    }

    /// Gives the connection's place to somebody who has a link of that user's.
    ///
    /// # Errors
    /// Where there are too many of these.
    pub(super) fn is_guest_of(&self, user: UserId) -> Result<(), NoPlace> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).is_guest_of(user)
    }

    /// Whether no request of this connection was authenticated up to now.
    pub(super) fn is_stranger(&self) -> bool {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).is_of_stranger()
    }
}
