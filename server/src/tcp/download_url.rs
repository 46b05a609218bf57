//! The address at which others fetch a document by HTTP, as a client of frames asks for it.

use super::{error_code, translate};
use crate::http_config::HttpAt;
use crate::links::{Link, LinkMaker, LinkTime};
use towline_engine::{Rejection, RejectionKind};
use towline_protocol::limits::LINK_SECONDS_MAX;
use towline_protocol::reply::DownloadUrl as Address;
use towline_protocol::request::DownloadUrl;
use towline_protocol::{ErrorReply, Reply};

/// The answer. It has no host: that is the one to which the client has connected, unless the operator
/// has said by which name clients reach the server.
///
/// Cancel-safe: it changes nothing.
pub(super) async fn answer(request: &DownloadUrl, maker: &LinkMaker<'_>) -> Reply {
    match made(request, maker).await {
        Ok(link) => Reply::DownloadUrl(address(request, link, maker)),
        Err(rejection) => {
            let error: ErrorReply = error_code::of(&rejection);
            Reply::Error(error.on(request.channel, request.document_id))
        }
    }
}

async fn made(request: &DownloadUrl, maker: &LinkMaker<'_>) -> Result<Link, Rejection> {
    let time = LinkTime::of_seconds(request.expires_in).ok_or_else(|| {
        let (field, max) = (Some("expires_in".to_owned()), Some(LINK_SECONDS_MAX));
        let kind = RejectionKind::BadRequest { field, max };
        Rejection::new(kind, LinkTime::out_of_range("expires_in"))
    })?;
    maker.make(translate::read_target(request.target())?, time).await
}

fn address(request: &DownloadUrl, link: Link, maker: &LinkMaker<'_>) -> Address {
    let Link { document_id, path, expires_at } = link;
    let origin = maker.shared.http.url.as_ref().map(ToString::to_string);
    let port = match maker.shared.http_at.get() {
        Some(HttpAt::OwnPort(port)) if origin.is_none() => Some(*port),
        // Without HTTP there is no such request.
        Some(HttpAt::OwnPort(_) | HttpAt::SamePort) | None => None,
    };
    Address { channel: request.channel, document_id, path, origin, port, expires_at }
}
