//! The lines of a sitting. Each is for one sender, who is a user of the store: no sender sees or changes
//! what another one has sent.

use crate::cli::join::usual_addresses;
use crate::shared::Shared;
use crate::token::{new_invitation, secret_hash};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use towline_protocol::JoinLine;
use towline_state::catalog::User;
use towline_types::{Fingerprint, JoinHash, Timestamp, UserId};

/// How long a line is good, if no one uses it.
const LINE_TTL: Duration = Duration::from_secs(600);

/// How long a sender can go on with what was interrupted: as long as an upload waits for its next byte.
const TOKEN_TTL: Duration = Duration::from_secs(7 * 86_400);

/// See the module's description.
pub struct Lines {
    shared: Arc<Shared>,
    listen: SocketAddr,
    key: Fingerprint,
}

/// A line for one sender.
pub struct Line {
    line: JoinLine,
    user: User,
    secret: JoinHash,
    expires_at: Timestamp,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    /// It can be used.
    Good,
    /// A sender has used it.
    Used,
    /// No sender has used it, and its time has passed.
    Expired,
}

impl Line {
    /// The line, with its secret.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.line.reveal()
    }

    #[cfg(test)]
    pub(super) fn user_id(&self) -> UserId {
        self.user.user_id
    }

    #[cfg(test)]
    pub(super) fn secret(&self) -> JoinHash {
        self.secret
    }
}

impl Lines {
    pub(super) fn new(shared: Arc<Shared>, listen: SocketAddr, key: Fingerprint) -> Self {
        Self { shared, listen, key }
    }

    /// A new line, for a user of its own: the one of a line that has expired, else a new one. `None` where
    /// this machine has no address that others could use; it may have one in a moment.
    ///
    /// # Errors
    /// Where the line cannot be recorded.
    pub async fn next(&self, expired: Option<&Line>) -> anyhow::Result<Option<Line>> {
        let host = self.listen.ip().to_string();
        let Ok(addresses) = usual_addresses(Some(&host), self.listen.port()) else {
            return Ok(None);
        };
        let user = match expired {
            Some(line) => line.user.clone(),
            None => self.new_user().await?,
        };
        let engine = &self.shared.engine;
        let now = engine.clock().now();
        let (secret, row) = new_invitation(&user, LINE_TTL, TOKEN_TTL, now)?;
        let expires_at = row.expires_at;
        engine.invite(row).await?;
        let line = JoinLine { addresses, fingerprint: self.key, secret };
        let secret = secret_hash(&line.secret);
        Ok(Some(Line { line, user, secret, expires_at }))
    }

    async fn new_user(&self) -> anyhow::Result<User> {
        let engine = &self.shared.engine;
        // The users of a sitting are numbered from one on, and none is ever removed.
        let mut number = UserId::MIN;
        while engine.standing(number.into(), None).await?.is_some() {
            number = UserId::try_from(number.get() + 1)?;
        }
        Ok(engine.add_user(format!("sender-{number}")).await?)
    }

    /// What became of a line.
    ///
    /// # Errors
    /// Where the catalog cannot be asked.
    pub async fn state(&self, line: &Line) -> anyhow::Result<LineState> {
        let engine = &self.shared.engine;
        if engine.invitation(line.secret).await?.is_some() {
            return Ok(LineState::Good);
        }
        // A sender gets its token in the transaction that uses the line up, so from the end of the
        // line on this does not change.
        let is_used = !engine.tokens(line.user.user_id).await?.is_empty();
        let is_over = engine.clock().now() >= line.expires_at;
        Ok(if is_used || !is_over { LineState::Used } else { LineState::Expired })
    }

    /// Whether the server has begun to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.stopping.is_cancelled()
    }

    /// Whether a sender is connected.
    #[must_use]
    pub fn has_sender(&self) -> bool {
        self.shared.places.shares(0).connected_users > 0
    }
}
