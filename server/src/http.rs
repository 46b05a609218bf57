//! The HTTP door: uploads and downloads for curl, browsers and phones, on the port of the TCP door.
//!
//! An upload that was begun at any door can go on at any other. The door translates requests into
//! the questions and commands of `towline_engine`; `docs/http.md` has the protocol. Nothing but
//! this module knows HTTP.

mod append;
mod assemblies;
mod byte_ranges;
mod caller;
mod changes;
mod client;
mod conditions;
mod connection;
mod content_digest;
mod content_range;
mod create;
mod cross_origin;
mod disposition;
mod download;
mod entity_tag;
mod extract;
mod files;
mod guarded_stream;
mod item;
mod json;
mod links;
mod monitor;
#[cfg(test)]
mod open_api;
mod problem;
mod request_body;
mod router;
mod rufh;
mod sender;
mod shared_writers;
mod shown;
mod state;
mod tus;
mod upload_headers;
mod uploads;

use crate::door::{Door, Serving, Stream};
use crate::places::Place;
use crate::shared::Shared;
use crate::tcp::Arrival;
pub(crate) use monitor::HttpMonitor;
use state::HttpState;
use std::sync::Arc;

/// The door of one server.
#[derive(Debug, Default)]
pub(crate) struct HttpDoor(Arc<HttpState>);

impl Door for HttpDoor {
    fn serve(
        &self,
        stream: Box<dyn Stream>,
        arrival: Arrival,
        place: Place,
        shared: Arc<Shared>,
    ) -> Serving {
        Box::pin(connection::serve(stream, arrival, place, shared, Arc::clone(&self.0)))
    }
}
