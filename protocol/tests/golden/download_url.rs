//! What is asked and said of addresses at which others fetch a document.

use crate::tree::names;
use crate::values::*;
use towline_protocol::frame::Channel;
use towline_protocol::reply::{DownloadUrl as Address, Reply};
use towline_protocol::request::{DownloadUrl, Request};

pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let of_path =
        DownloadUrl { path: Some(names(&["proj", "report.csv"])), ..DownloadUrl::default() };
    let of_node = DownloadUrl { node_id: Some(node(7)), ..DownloadUrl::default() };
    let full = DownloadUrl {
        channel: Channel(7),
        document_id: Some(document(124)),
        expires_in: Some(604_800),
        ..DownloadUrl::default()
    };
    vec![
        ("download-url", Request::DownloadUrl(of_path)),
        ("download-url-node", Request::DownloadUrl(of_node)),
        ("download-url-full", Request::DownloadUrl(full)),
    ]
}

pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let same_port = Address {
        channel: Channel(0),
        document_id: document(123),
        path: format!("/d/123/report.csv?token={TOKEN}"),
        origin: None,
        port: None,
        expires_at: moment(1_705_334_856_000),
    };
    let own_port = Address { port: Some(8080), ..same_port.clone() };
    let told = Address {
        channel: Channel(7),
        document_id: document(124),
        path: format!("/d/124/%C3%9Cbung%203.pdf?token={TOKEN}"),
        origin: Some("https://files.example.com".into()),
        port: None,
        expires_at: moment(1_705_936_056_000),
    };
    vec![
        ("download-url", Reply::DownloadUrl(same_port)),
        ("download-url-port", Reply::DownloadUrl(own_port)),
        ("download-url-origin", Reply::DownloadUrl(told)),
    ]
}
