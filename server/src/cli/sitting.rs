//! A server for one sitting: a store that a person takes everything out of as it arrives, and lines
//! with which others join, each as a user of its own. `towline receive` is around it.

mod arrivals;
mod lines;
#[cfg(test)]
mod tests;

use super::listen::ListenAddress;
use crate::listening::Listening;
use crate::{Config, RunError, Server};
pub use arrivals::{Arrivals, Page, Thing, ThingKind};
pub use lines::{Line, LineState, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::Instant;
use towline_engine::Engine;
pub use towline_engine::OpenFile;
use towline_types::StoreId;

/// How long the store may take to close that was opened for a last look.
const CLOSE: Duration = Duration::from_secs(3);

/// See the module's description.
pub struct Sitting {
    server: Server,
    listener: TcpListener,
    listen: SocketAddr,
}

impl Sitting {
    /// Opens the data folder, or makes it, and binds the port: the typed address, else the one that
    /// this data folder had before, so that senders find it again, else a free port.
    ///
    /// # Errors
    /// Where the folder cannot be used, or another server has it, or no port can be bound.
    pub async fn open(data_dir: &Path, listen: Option<&ListenAddress>) -> anyhow::Result<Self> {
        let before = Listening::of(data_dir).map(|before| before.listen);
        let listener = match listen {
            Some(typed) => typed.bind()?,
            None => bind(before)?,
        };
        let listener = TcpListener::from_std(listener)?;
        let listen = listener.local_addr()?;
        let server = Server::open(config(data_dir)).await?;
        let listening = Listening { listen, key: server.fingerprint(), audit_log: None };
        let place = data_dir.to_owned();
        tokio::task::spawn_blocking(move || listening.record_in(&place)).await?;
        Ok(Self { server, listener, listen })
    }

    /// Which store it is, for the last look.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.server.shared().engine.store_id()
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.listen.to_string()
    }

    /// What arrives, to be asked while the server serves.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        Arrivals::of(self.server.shared().engine.clone())
    }

    /// The lines for those who send.
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines::new(Arc::clone(self.server.shared()), self.listen, self.server.fingerprint())
    }

    /// Serves until `shutdown` is ready, then stops in order: what is under way is paused and durable.
    ///
    /// # Errors
    /// Where what is known at the end cannot be written down.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        self.server.serve(self.listener, shutdown).await
    }
}

/// The store of a sitting after its server has stopped. No port is open, so nothing more arrives: what
/// [`arrivals`](Self::arrivals) says of it is the last word.
pub struct ClosedSitting(Engine);

impl ClosedSitting {
    /// Opens the store for a last look, and locks it. None is made: of a new one nothing would be known
    /// but that nothing is in it, and that would be taken for the last word (P3).
    ///
    /// # Errors
    /// Where there is none, or it cannot be used, or another server has it.
    pub async fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let (mut engine, runtime) = (config(data_dir).engine, Handle::current());
        engine.require_store = true;
        let opening = tokio::task::spawn_blocking(move || Engine::open(engine, &runtime));
        Ok(Self(opening.await??))
    }

    /// Which store it is.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.0.store_id()
    }

    /// What is there, all of it from the beginning.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        Arrivals::of(self.0.clone())
    }

    /// Closes the store: nothing is written to it any more. Its lock is given back when this is
    /// dropped, so no server opens it before.
    ///
    /// # Errors
    /// Where it cannot be closed in good order. Nothing durable is lost.
    pub async fn close(&self) -> anyhow::Result<()> {
        Ok(self.0.clone().shut_down(Instant::now() + CLOSE).await?)
    }
}

/// The same for the server and for the last look.
fn config(data_dir: &Path) -> Config {
    let mut config = Config::new(data_dir);
    // Its keys and what is in it are for the person alone.
    config.engine.strict_modes = true;
    config
}

fn bind(before: Option<SocketAddr>) -> anyhow::Result<std::net::TcpListener> {
    if let Some(before) = before
        && let Ok(listener) = before.to_string().parse::<ListenAddress>()?.bind()
    {
        return Ok(listener);
    }
    "*:0".parse::<ListenAddress>()?.bind()
}
