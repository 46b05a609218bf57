//! The secret of an invitation is exchanged for a token.

use super::{Client, FIRST_LOGIN};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::token::Token;
use towline_types::{JoinSecret, StoreId};

/// What a client has after it has joined.
#[derive(Debug)]
pub struct Joined {
    /// The token for all later logins.
    pub token: Token,
    /// The name of the user that the client is from now on.
    pub user: String,
    /// The store that the server says it has, where the token says the same.
    pub store: Option<StoreId>,
}

impl Client {
    /// Exchanges the secret for a token. The secret is sent only after the server has shown the key
    /// that [`security`](Self::security) demands.
    ///
    /// # Errors
    /// Where the server cannot be reached (one attempt is made), has another key, or refuses the
    /// secret.
    ///
    /// # Cancel safety
    /// A call that is dropped may have used the secret up.
    pub async fn join(&mut self, secret: &JoinSecret) -> Result<Joined, Failure> {
        let joining = Connection::join(&self.route, secret, self.timeouts, FIRST_LOGIN);
        let welcome = match joining.await {
            Ok(welcome) => welcome,
            Err(end) => return Err(self.unanswered(end, None)),
        };
        let bad = || Failure::Protocol("a welcome without a token".to_owned());
        let token = welcome.token.as_deref().map(Token::new).ok_or_else(bad)?;
        let token = token.map_err(|_| bad())?;
        let store = welcome.server_id.filter(|store| token.store() == Some(*store));
        Ok(Joined { token, user: welcome.user, store })
    }
}
