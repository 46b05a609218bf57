//! Who a token speaks for, and until when.

use towline_state::catalog::{IssuedToken, UserRef};
use towline_types::{KeyId, Timestamp, TokenId, UserId};

/// What a token says whose signature and times are valid. Only the catalog knows whether there is
/// such a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The user.
    pub user: UserRef,
    /// When the token was issued, in seconds since 1970, where it says so.
    pub issued_at_secs: Option<u64>,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// The id of a token that this server has issued. A token of an earlier version, which does not
    /// say its id, has one that is made of its text. `None` for a token of an identity provider.
    pub token: Option<TokenId>,
    /// Whether the token says its id.
    pub says_id: bool,
    /// The key that has signed it.
    pub key: KeyId,
}

impl Verified {
    /// The same for the user that the catalog has found.
    #[must_use]
    pub const fn of(&self, user: UserId) -> Identity {
        let Self { issued_at_secs, expires_at, token, says_id, key, .. } = *self;
        Identity { user, issued_at_secs, expires_at, token, says_id, key }
    }
}

/// The user of a connection, and what its token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// As in [`Verified`].
    pub issued_at_secs: Option<u64>,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// As in [`Verified`].
    pub token: Option<TokenId>,
    /// As in [`Verified`].
    pub says_id: bool,
    /// The key that has signed it.
    pub key: KeyId,
}

impl Identity {
    /// The id of the token, where it may stand in a record: an id that is made of the text of a
    /// token is a hash of it.
    #[must_use]
    pub fn recorded_id(&self) -> Option<TokenId> {
        self.token.filter(|_| self.says_id)
    }

    /// What the catalog keeps of the token; `None` for a token of an identity provider.
    #[must_use]
    pub fn issued(&self) -> Option<IssuedToken> {
        Some(IssuedToken {
            token_id: self.token?,
            user_id: self.user,
            key_id: self.key,
            issued_at: Timestamp::from_secs(self.issued_at_secs?),
            expires_at: self.expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_a_hash_of_the_token_stands_in_no_record() {
        let id = TokenId::from_bytes([7; 16]);
        let verified = |says_id| Verified {
            user: UserRef::Number(towline_testkit::user(1)),
            issued_at_secs: Some(1),
            expires_at: Timestamp::from_secs(2),
            token: Some(id),
            says_id,
            key: "0123456789abcdef".parse().unwrap(),
        };
        let of = |says_id| verified(says_id).of(towline_testkit::user(1));
        assert_eq!((of(true).recorded_id(), of(false).recorded_id()), (Some(id), None));
        assert_eq!(of(false).issued().unwrap().token_id, id);
    }
}
