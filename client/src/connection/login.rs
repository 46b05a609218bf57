//! From an address to a connection that is logged in.

use super::transport::Transport;
use super::{Connection, Incoming, Step, WaitFor};
use crate::attempt_end::AttemptEnd;
use crate::route::Route;
use crate::route::greeting::Greeting;
use crate::route::no_server::NoServer;
use crate::send_queue::SendQueue;
use crate::timeouts::Timeouts;
use crate::token::{TokenSource, TokenWatch};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use towline_protocol::frame::{Decoder, FrameLimits};
use towline_protocol::limits::CHUNK_BYTES_MAX;
use towline_protocol::reply::Welcome;
use towline_protocol::request::{Hello, VERSION};
use towline_protocol::{Code, ErrorReply, Reply, Request};
use towline_types::JoinSecret;
use towline_types::block::BLOCK_SIZE_BYTES;

impl Connection {
    /// Connects and logs in. `login` is how long the answer to the login may take.
    pub(crate) async fn open(
        route: &Route,
        token: &TokenSource,
        timeouts: Timeouts,
        login: Duration,
    ) -> Result<Self, AttemptEnd> {
        let shown = token.current();
        let hello = Hello::with_token(shown.reveal());
        let mut connection = Self::log_in(route, hello, timeouts, login).await?;
        if connection.knows("reauth") {
            connection.token = Some(TokenWatch::of(token, shown));
        }
        Ok(connection)
    }

    /// Connects, exchanges a secret for a token, and closes. The answer has the token.
    pub(crate) async fn join(
        route: &Route,
        secret: &JoinSecret,
        timeouts: Timeouts,
        login: Duration,
    ) -> Result<Welcome, AttemptEnd> {
        let join = Some(secret.reveal());
        let hello = Hello { token: None, join, ..Hello::with_token("") };
        Ok(Self::log_in(route, hello, timeouts, login).await?.welcome)
    }

    async fn log_in(
        route: &Route,
        hello: Hello,
        timeouts: Timeouts,
        login: Duration,
    ) -> Result<Self, AttemptEnd> {
        let stream = route.connect(timeouts.connect).await?;
        tune(&stream, timeouts)?;
        let opening = timeout(login, Transport::open(stream, route));
        let stream = opening.await.unwrap_or(Err(NoServer::Silent.into()))?;
        let mut connection = Self {
            stream,
            decoder: Decoder::new(FrameLimits::CLIENT),
            send_queue: SendQueue::default(),
            limit: route.limit(),
            is_throttled: false,
            timeouts,
            alive: Instant::now(),
            wrote: Instant::now(),
            heard_bytes: 0,
            greeting: Greeting::default(),
            pinged: false,
            is_closed: false,
            broken: None,
            channel: 0,
            token: None,
            welcome: nothing_said(),
            issuer: None,
            round_trip: Duration::ZERO,
        };
        connection.queue(&Request::Hello(Hello {
            client: Some(concat!("towline/", env!("CARGO_PKG_VERSION")).to_owned()),
            ..hello
        }));
        let asked = Instant::now();
        // `ask` would send a ping where the server is silent, which is an error before the login.
        let said = timeout(login, connection.next(WaitFor::Incoming)).await;
        match said
            .unwrap_or(Err(NoServer::Silent.into()))
            .map_err(|end| connection.at_login(end))?
        {
            Step::Incoming(Incoming::Reply(Reply::Welcome(welcome))) => {
                connection.welcome = checked(welcome)?;
                connection.round_trip = asked.elapsed();
                Ok(connection)
            }
            Step::Incoming(Incoming::Reply(Reply::Error(error))) => Err(AttemptEnd::refused(error)),
            other => Err(AttemptEnd::protocol(format!("'welcome' was expected, not {other:?}"))),
        }
    }

    /// What the end of a login means. Where the bytes that arrived are no frame, or no frame that a
    /// server may send, the other end is another service.
    fn at_login(&self, end: AttemptEnd) -> AttemptEnd {
        match end {
            AttemptEnd::Garbled(_) | AttemptEnd::Failed(_) => {
                NoServer::OtherService(self.greeting).into()
            }
            _ if self.greeting.is_foreign() => NoServer::OtherService(self.greeting).into(),
            AttemptEnd::Lost(_) if self.is_closed && self.heard_bytes == 0 => {
                NoServer::Closes.into()
            }
            end => end,
        }
    }
}

/// Makes the system notice within seconds that a link is gone, both while bytes wait for their
/// acknowledgement and while no bytes are sent.
fn tune(stream: &TcpStream, timeouts: Timeouts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The system takes whole seconds here, at least 1.
    let quiet = timeouts.ping_after.max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(quiet).with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    // Where a disk at the other end stalls, the receive window may stay closed for a while.
    socket.set_tcp_user_timeout(Some(timeouts.ping_answer * 2))?;
    Ok(())
}

/// The limits before the server has sent its own.
fn nothing_said() -> Welcome {
    Welcome {
        version: VERSION,
        server: String::new(),
        server_id: None,
        user_id: towline_types::UserId::MIN,
        user: String::new(),
        max_filesize: towline_types::FileSize::MIN,
        chunk_size: 1,
        max_chunk_size: 1,
        block_size: BLOCK_SIZE_BYTES,
        max_channels: 1,
        features: Vec::new(),
        token: None,
    }
}

/// The server's limits, if this client can work with them.
fn checked(mut welcome: Welcome) -> Result<Welcome, AttemptEnd> {
    if welcome.version != VERSION {
        let mut reply = ErrorReply::new(Code::VersionUnsupported, "");
        reply.max = Some(welcome.version.into());
        return Err(AttemptEnd::refused(reply));
    }
    if welcome.block_size != BLOCK_SIZE_BYTES {
        let bytes = welcome.block_size;
        return Err(AttemptEnd::protocol(format!("blocks of {bytes} bytes, and not of 1 MiB")));
    }
    if welcome.max_chunk_size == 0 || welcome.max_channels == 0 {
        return Err(AttemptEnd::protocol("a server that takes no chunk or no channel"));
    }
    welcome.max_chunk_size = welcome.max_chunk_size.min(CHUNK_BYTES_MAX);
    welcome.chunk_size = welcome.chunk_size.clamp(1, welcome.max_chunk_size);
    Ok(welcome)
}
