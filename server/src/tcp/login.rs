//! From a stranger's first byte to a user, within ten seconds and 8 KiB.

use super::features;
use super::frame_reader::{FrameReader, Incoming, ReadError};
use super::joining::{self, Invited};
use super::{Arrival, Privacy, crowded};
use crate::access::{admitted, not_checked, refusal};
use crate::places::{NoPlace, Place};
use crate::shared::Shared;
use crate::token::{Identity, TokenError};
use tokio::io::AsyncRead;
use tokio::time::timeout_at;
use towline_protocol::frame::FrameError;
use towline_protocol::limits::{
    CHANNELS_MAX, CHUNK_BYTES_DEFAULT, CHUNK_BYTES_MAX, TOKEN_BYTES_MAX,
};
use towline_protocol::reply::Welcome;
use towline_protocol::request::{Hello, LOWEST_VERSION, Request, VERSION, common_version};
use towline_protocol::{Code, ErrorReply};
use towline_state::catalog::User;
use towline_types::block::BLOCK_SIZE_BYTES;

/// What became of a stranger.
pub(crate) enum Login {
    /// A user, and what the token says.
    User(User, Identity),
    /// A client with the secret of a good invitation, which is not used up yet.
    Invited(Invited),
    /// Tell them why not, and close.
    Refused(ErrorReply),
    /// They do not speak Towline: what they can read of that, and close.
    WrongDoor(&'static str),
    /// They are gone.
    Gone,
}

/// What a browser or `curl` is told: a whole response, or they would show an error of their
/// own instead of the sentence.
const NOT_HTTP: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 136\r\n\
    Connection: close\r\n\
    \r\n\
    This is a Towline server. It speaks its own protocol, not HTTP.\n\
    To send a file here: towline put FILE --to HOST:PORT --token-file TOKEN\n";

/// The message for a client that connects from another machine without TLS.
const NOT_PRIVATE: &str = "this server takes connections from other machines only with TLS: without \
                           it the token and the files could be read on the way";

/// Logs a stranger in.
pub(crate) async fn login<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    arrival: Arrival,
    shared: &Shared,
) -> Login {
    match timeout_at(arrival.login_until, ask(reader, arrival.privacy, shared)).await {
        Ok(login) => login,
        Err(_) => Login::Refused(ErrorReply::new(
            Code::AuthTimeout,
            format!("no hello within {} seconds", shared.timings.login.as_secs()),
        )),
    }
}

async fn ask<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    privacy: Privacy,
    shared: &Shared,
) -> Login {
    match reader.first_byte().await {
        // The token is not even looked at: everybody who reads the connection has it.
        Ok(Some(0)) if privacy == Privacy::Lost => return refused(Code::TlsRequired, NOT_PRIVATE),
        Ok(Some(0)) => {}
        Ok(Some(b'A'..=b'Z')) => {
            return Login::WrongDoor(NOT_HTTP);
        }
        Ok(Some(_)) => return Login::WrongDoor("This port speaks Towline.\r\n"),
        Ok(None) | Err(_) => return Login::Gone,
    }
    let bytes = match reader.next().await {
        Ok(Incoming::Control(bytes)) => bytes,
        // The frame limits before the login allow no other frame.
        Ok(_) | Err(ReadError::Cut | ReadError::Io(_)) => return Login::Gone,
        Err(ReadError::Frame(error)) => return Login::Refused(early(&error)),
    };
    let hello = match Request::parse(&bytes) {
        Ok(Request::Hello(hello)) => hello,
        Ok(_) => return refused(Code::AuthRequired, "say hello first"),
        Err(error) => return Login::Refused(error),
    };
    tracing::debug!(client = hello.client);
    check(&hello, privacy, shared).await
}

async fn check(hello: &Hello, privacy: Privacy, shared: &Shared) -> Login {
    // As long as there is one version, the common one is this, and welcome says it.
    if common_version(hello.version) != Some(VERSION) {
        let mut error = ErrorReply::new(
            Code::VersionUnsupported,
            format!(
                "this server speaks versions {LOWEST_VERSION} to {VERSION} of the protocol, and \
                 not version {}",
                hello.version
            ),
        );
        error.max = Some(u64::from(VERSION));
        return Login::Refused(error);
    }
    match (&hello.token, &hello.join) {
        (Some(token), None) => with_token(token, shared).await,
        (None, Some(_)) if privacy != Privacy::Kept => refused(Code::TlsRequired, NOT_PRIVATE),
        (None, Some(secret)) => match joining::look_up(secret, shared).await {
            Ok(invited) => Login::Invited(invited),
            Err(error) => Login::Refused(error),
        },
        _ => {
            let message = "hello needs either a token or the secret of an invitation";
            Login::Refused(ErrorReply::bad_field("token", message))
        }
    }
}

async fn with_token(token: &str, shared: &Shared) -> Login {
    if token.len() > TOKEN_BYTES_MAX {
        return Login::Refused(refusal(TokenError::Bad));
    }
    let token = match shared.tokens.check(token) {
        Ok(token) => token,
        Err(error) => return Login::Refused(refusal(error)),
    };
    match shared.engine.standing(token.user.clone(), token.token).await {
        Ok(standing) => match admitted(standing, &token) {
            Ok((user, identity)) => Login::User(user, identity),
            Err(error) => Login::Refused(error),
        },
        Err(error) => Login::Refused(not_checked(&error)),
    }
}

/// A user who is logged in and has a place.
pub(crate) struct LoggedIn {
    pub(crate) user: User,
    pub(crate) identity: Identity,
    /// The token itself, for a client that has exchanged a secret for it.
    pub(crate) token: Option<String>,
}

/// The last steps of a login: the user gets a place, and then an invitation is used up. A client that
/// is refused a place can come again with the same secret.
pub(crate) async fn admit(
    login: Login,
    place: &mut Place,
    shared: &Shared,
) -> Result<LoggedIn, Login> {
    let user = match &login {
        Login::User(user, _) | Login::Invited(Invited { user, .. }) => user.user_id,
        Login::Refused(_) | Login::WrongDoor(_) | Login::Gone => return Err(login),
    };
    place.belongs_to(user).map_err(|error| Login::Refused(no_place(error)))?;
    let logged_in = match login {
        Login::User(user, identity) => LoggedIn { user, identity, token: None },
        Login::Invited(invited) => {
            let (user, issued) = invited.accept(shared).await.map_err(Login::Refused)?;
            LoggedIn { user, identity: issued.identity, token: Some(issued.token) }
        }
        login => return Err(login),
    };
    shared.token_use.note(&shared.engine, &logged_in.identity);
    let has_joined = logged_in.token.is_some();
    tracing::debug!(user = logged_in.user.name, has_joined, "logged in");
    Ok(logged_in)
}

fn no_place(error: NoPlace) -> ErrorReply {
    match error {
        NoPlace::OfUser { max } => {
            let message = format!(
                "you have {max} connections, and a user may have no more; end some, or try again"
            );
            let mut error = ErrorReply::new(Code::TooMany, message);
            error.max = Some(max as u64);
            error
        }
        NoPlace::Crowded => crowded(),
    }
}

fn refused(code: Code, message: impl Into<String>) -> Login {
    Login::Refused(ErrorReply::new(code, message))
}

/// Binary frames before login are no framing mistakes but an order of things.
fn early(error: &FrameError) -> ErrorReply {
    match error {
        FrameError::UnknownKind(2 | 3) => ErrorReply::new(Code::AuthRequired, "say hello first"),
        error => super::error_code::broken_framing(error),
    }
}

/// What a user is told first, with the token that was exchanged for a secret.
pub(crate) fn welcome(user: &User, token: Option<String>, shared: &Shared) -> Welcome {
    Welcome {
        version: VERSION,
        server: concat!("towlined ", env!("CARGO_PKG_VERSION")).to_owned(),
        server_id: Some(shared.engine.store_id()),
        user_id: user.user_id,
        user: user.name.clone(),
        max_filesize: shared.engine.config().max_filesize,
        chunk_size: CHUNK_BYTES_DEFAULT,
        max_chunk_size: CHUNK_BYTES_MAX,
        block_size: BLOCK_SIZE_BYTES,
        max_channels: u32::try_from(CHANNELS_MAX).unwrap_or(u32::MAX),
        features: features::announced(shared).into_iter().map(str::to_owned).collect(),
        token,
    }
}
